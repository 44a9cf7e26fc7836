"""How well does a denoiser trained on one corruption remove the others, at equal damage?

    python experiments/corruptions.py                                                               # MNIST
    python experiments/corruptions.py --dataset digits --seeds 0 1 --epochs 20 --corruptions gaussian masking speckle

Sets the level of every corruption so that its noisy images have the same mean PSNR; trains denoisers of each with
several seeds as one run, resumed if it was stopped; selects each one's best epoch by its validation loss on held-out
training images; and measures each on all corruptions. Writes results/corruptions/.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import _baselines as classical
import _figures as figures
import _report as report
import _shell as shell
import _tables as tables
import jax.numpy as jnp
import numpy as np
import pandas as pd
from _tables import Row, pick

import jaxdae
from jaxdae import evaluation, metrics
from jaxdae.data.source import to_unit
from jaxdae.errors import require_name
from jaxdae.noise import CORRUPTIONS

MATCHED_ON = 1_000
"""The levels are set on the first training images."""
LEAST_DAMAGE = 60
"""In dB: a quarter of a grey level."""
HIGHEST_LEVEL = 16.0
"""Of a corruption whose level has no bound."""


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    """Corruptions to train and to test on."""
    damage: float = 15.0
    """Mean PSNR of the noisy images (dB), the same for all corruptions."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of each."""
    epochs: int = 3
    """Passes over the training images, without the sixth of them that is held out."""
    baselines: tuple[str, ...] = classical.BASELINES
    """Classical denoisers to compare with, on the first 1,000 test images."""
    run: Path = Path("runs/corruptions")
    """Run folder; a run in it is resumed."""
    out: Path = Path("results/corruptions")
    """Results folder: table, figures and README."""


def experiment(options: Options) -> None:
    """Sets the levels, trains, measures and writes the table."""
    for name in options.corruptions:
        require_name("corruption", name, CORRUPTIONS)
    if len(set(options.corruptions)) < max(2, len(options.corruptions)):
        raise jaxdae.InputError(f"corruptions {options.corruptions} must be at least two different ones")
    classical.require_installed(options.baselines)
    data = options.load()
    noises = [matched_noise(name, data.train[:MATCHED_ON], options.damage) for name in options.corruptions]
    preset, holdout = jaxdae.PRESETS["fast"], len(data.train) // 6
    members = jaxdae.grid(preset.member, {"noise": noises, "seed": options.seeds})
    training = shell.Training(members, data, options.run, options.epochs, preset.batch_size, holdout)
    [run] = shell.train_or_resume([training])
    measured_since = time.perf_counter()
    denoisers = run.select(weights="best")
    trained = shell.member_indices(run.members, lambda member: member.noise.corruption)
    rows = rows_of_tests(options, noises, trained, denoisers, data)
    tables.write_table(options.out, tables.make_table("corruptions", rows))
    save_strip(options, noises, [denoisers[of[0]] for of in trained.values()], data)
    duration = report.duration(report.training_seconds(run, len(data.train) - holdout), measured_since)
    report.write_about(
        options.out,
        report.provenance(duration, report.model_seeds(options.seeds)),
        dataset=options.dataset,
        seeds=options.seeds,
        damage=options.damage,
        matched_on=min(MATCHED_ON, len(data.train)),
        holdout=holdout,
    )


def matched_noise(corruption: str, images: np.ndarray, damage: float, steps: int = 20) -> jaxdae.Noise:
    """The corruption at the level, to three digits, of noisy images with that mean PSNR, by bisection.

    Raises:
        InputError: no level does that much, or that little, damage.
    """
    low, high = 0.0, min(HIGHEST_LEVEL, CORRUPTIONS[corruption].highest)
    most = noisy_psnr(images, jaxdae.Noise(corruption, high))
    if not most < damage <= LEAST_DAMAGE:
        raise jaxdae.InputError(
            f"damage {damage:g} dB is out of range: {corruption} noise takes from {most:.1f} to {LEAST_DAMAGE} dB"
        )
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if noisy_psnr(images, jaxdae.Noise(corruption, middle)) < damage else (middle, high)
    return jaxdae.Noise(corruption, float(f"{low:.3g}"))


def noisy_psnr(images: np.ndarray, noise: jaxdae.Noise) -> float:
    """The mean PSNR (dB) of 8-bit images made noisy."""
    return float(jnp.mean(metrics.psnr(classical.training_noise(noise, images), to_unit(images))))


def rows_of_tests(
    options: Options,
    noises: list[jaxdae.Noise],
    trained: dict[str, list[int]],
    denoisers: list[jaxdae.Denoiser],
    data: jaxdae.ImageData,
) -> list[Row]:
    """Every denoiser on every corruption, its difference to the denoiser of that corruption, and the baselines."""
    counts, baselines = classical.image_counts(data), classical.baseline_scores(options.baselines, data, noises)
    rows: list[Row] = []
    for noise, classical_scores in zip(noises, baselines, strict=True):
        test, level = noise.corruption, noise.level
        keys = {"test_corruption": test, "test_level": level}
        scores, identity = evaluation.measure(denoisers, data.test, noise, [level])
        by_model = tables.by_model(scores, 0, trained)
        rows += tables.summarize(keys | {"kind": "identity", "model": "identity"}, identity, counts)
        for name, values in classical_scores.items():
            rows += tables.summarize(keys | {"kind": "baseline", "model": name}, values, counts[:1])
        for name, values in by_model.items():
            rows += tables.summarize(keys | {"kind": "denoiser", "model": name}, values, counts, options.seeds)
            if name != test:
                named = keys | {"kind": "difference", "model": f"{name} - {test}"}
                rows += tables.summarize(named, tables.difference(values, by_model[test]), counts)
    return rows


def save_strip(
    options: Options,
    noises: list[jaxdae.Noise],
    denoisers: list[jaxdae.Denoiser],
    data: jaxdae.ImageData,
    digits: int = 2,
) -> None:
    """Keeps the images of the strip, denoised by each corruption's own denoiser and by the first one's, of one seed."""
    noisy = [np.asarray(jaxdae.noisy_examples(data.test[:digits], noise)) for noise in noises]
    images = {
        "noisy": noisy,
        "own": [denoiser(images) for denoiser, images in zip(denoisers, noisy, strict=True)],
        "first": [denoisers[0](images) for images in noisy],
    }
    shell.save_strip(options.out, images, clean=data.test[:digits, ..., 0], corruptions=np.array(options.corruptions))


def publish(options: Options) -> None:
    """Draws the figures and writes the README, from the files in the results folder."""
    table, images = tables.read_table(options.out, "corruptions"), shell.load_strip(options.out)
    names = [figures.spelled(str(name)) for name in images["corruptions"]]
    rows = {
        "noisy": images["noisy"],
        "trained on it": images["own"],
        f"trained on\n{names[0]}": images["first"],
        "clean": np.stack([images["clean"]] * len(names)),
    }
    drawn = {"matrix": figures.corruption_matrix(table), "strip": figures.strip(rows, names)}
    figures.save_figures(options.out, drawn)
    report.write_readme(options.out, "corruptions", **facts(table))


def facts(table: pd.DataFrame) -> dict[str, Any]:
    """The tables and numbers of the README."""
    psnr = pick(table, metric="psnr", seed=None)
    most, fewest = tables.of_most_images(psnr), tables.of_fewest_images(psnr)
    names = list(pick(psnr, kind="denoiser")["model"].unique())
    denoisers = pick(most, kind="denoiser")
    means = by_corruption(denoisers, "mean").loc[names, names]
    noisy, levels = (by_corruption(pick(most, kind="identity"), column)[names] for column in ("mean", "test_level"))
    matrix = by_corruption(denoisers.assign(text=tables.mean_and_error(denoisers, ".2f")), "text").loc[names, names]
    inputs = pd.concat([tables.as_text(noisy, ".2f"), tables.as_text(levels, "g")])
    gaps = pick(most, kind="difference")
    gaps = gaps.assign(text=tables.mean_and_error(gaps, "+.2f"), model=gaps["model"].str.split(" - ").str[0])
    behind = gaps.groupby("model")["mean"].mean()
    few = fewest[fewest["kind"] != "difference"]
    trained = few["model"].where(few["kind"] != "denoiser", "trained on " + few["model"])
    return {
        "names": names,
        "at_home": sum(means[name].idxmax() == name for name in names),
        "closest": {"name": behind.idxmax(), "behind": behind.max()},
        "farthest": {"name": behind.idxmin(), "behind": behind.min()},
        "matrix": pd.concat([matrix, inputs.set_axis(["noisy images", "level"])]).rename_axis("trained on"),
        "gaps": by_corruption(gaps, "text").loc[names, names].rename_axis("trained on"),
        "beside": tables.as_text(by_corruption(few.assign(model=trained), "mean").loc[trained.unique(), names], ".2f"),
        "most": most["images"].max(),
        "fewest": fewest["images"].max(),
    }


def by_corruption(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of the table as models x test corruptions."""
    return rows.pivot(index="model", columns="test_corruption", values=column).rename_axis(index=None, columns=None)


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
