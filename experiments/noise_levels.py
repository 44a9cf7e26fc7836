"""How well does a denoiser generalize beyond its noise level, and what does one denoiser for all levels cost?

    python experiments/noise_levels.py                                          # MNIST
    python experiments/noise_levels.py --dataset digits --seeds 0 1 --epochs 20 --levels 0.25 0.5 1.0 \
        --test-levels 0.25 0.5 1.0 --baselines identity gaussian linear_mmse    # a quick try
    python experiments/noise_levels.py --dataset photos/ --patch 64 --out results/photos --run runs/photos

Trains specialists (one level each) and a generalist (blind: a range of levels) with several seeds as one run, resumed
if it was stopped; selects each one's best epoch by its validation loss on held-out training images; and measures each
at every test level on the same noisy test images, beside classical baselines. Writes results/noise_levels/. Of one's
own pictures the last epoch counts: those that are held out are measured, and may not choose it.
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
import numpy as np
import pandas as pd
from _tables import Row, pick

import jaxdae
from jaxdae import evaluation
from jaxdae.data import Data
from jaxdae.data.source import to_unit
from jaxdae.noise import check_noise, format_level, level_range


@dataclasses.dataclass(frozen=True)
class Options(shell.OwnOptions):
    """Settings of the experiment."""

    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    """Training levels of the specialists."""
    generalist: str = "0:1"
    """Range of the generalist's training levels."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of each."""
    epochs: int = 5
    """Passes over the training images, without the sixth of them that is held out."""
    test_levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.2)
    """Noise levels of the test images."""
    baselines: tuple[str, ...] = classical.BASELINES
    """Classical denoisers to compare with, on the first 1,000 test images."""
    run: Path = Path("runs/noise_levels")
    """Run folder; a run in it is resumed."""
    out: Path = Path("results/noise_levels")
    """Results folder: table, figures and README."""


def experiment(options: Options) -> None:
    """Trains, measures and writes the table."""
    check(options)
    data = options.load_any()
    preset, holdout = jaxdae.PRESETS["fast"], 0 if options.own else len(data.train) // 6
    members = jaxdae.grid(preset.member, {"noise.level": [*options.levels, options.generalist], "seed": options.seeds})
    training = shell.Training(members, data, options.run, options.epochs, preset.batch_size, holdout)
    [run] = shell.train_or_resume([training])
    measured_since = time.perf_counter()
    denoisers = run.select(weights="last" if options.own else "best")
    trained = shell.member_indices(run.members, lambda member: format_level(member.noise.level))
    rows = rows_of_tests(options, trained, denoisers, data)
    tables.write_table(options.out, tables.make_table("noise_levels", rows))
    save_strip(options, [denoisers[of[0]] for of in trained.values()], data)
    duration = report.duration(report.training_seconds(run, data.sources(holdout)[0].examples), measured_since)
    report.write_about(
        options.out,
        report.provenance(duration, report.model_seeds(options.seeds)),
        dataset=options.dataset,
        seeds=options.seeds,
        generalist=options.generalist,
        epochs=options.epochs,
        holdout=holdout,
        own=options.own,
        reference=report.reference_scores(denoisers[trained["0.5"][0]], data)
        if isinstance(data, jaxdae.ImageData) and data.name == "mnist" and 0.5 in options.levels
        else None,
    )


def check(options: Options) -> None:
    """Raises InputError for settings that would fail, or answer nothing, after the training."""
    for level in (*options.levels, *options.test_levels, options.generalist):
        check_noise(jaxdae.Noise(level=level))
    low, high = level_range(options.generalist)
    if low == high:
        raise jaxdae.InputError(f"generalist {options.generalist} is not a range of levels; write low:high, as 0:1")
    if not set(options.levels) & set(options.test_levels):
        raise jaxdae.InputError(f"no training level {options.levels} is among the test levels {options.test_levels}")
    if len(options.levels) < 2:
        raise jaxdae.InputError(f"levels {options.levels} must be at least two, for a comparison")
    classical.require_installed(options.baselines)


def rows_of_tests(
    options: Options, trained: dict[str, list[int]], denoisers: list[jaxdae.Denoiser], data: Data
) -> list[Row]:
    """Every denoiser at every test level, the generalist's differences to the specialists, and the baselines."""
    counts, generalist = classical.image_counts(data), list(trained)[-1]
    noises = [jaxdae.Noise(level=level) for level in options.test_levels]
    scores, identity = evaluation.measure(denoisers, data.test, noises[0], options.test_levels, noisy=data.noisy_test)
    baselines = classical.baseline_scores(classical.usable(options.baselines, data), data, noises)
    rows: list[Row] = []
    for i, level in enumerate(options.test_levels):
        by_model = tables.by_model(scores, i, trained)
        for name, values in by_model.items():
            kind = "generalist" if name == generalist else "specialist"
            rows += tables.summarize({"kind": kind, "model": name, "test_level": level}, values, counts, options.seeds)
        noisy = {metric: values[[i]] for metric, values in identity.items()}
        rows += tables.summarize({"kind": "identity", "model": "identity", "test_level": level}, noisy, counts)
        for name, found in baselines[i].items():
            rows += tables.summarize({"kind": "baseline", "model": name, "test_level": level}, found, counts[:1])
        if (specialist := format_level((level, level))) in by_model:
            keys = {"kind": "difference", "model": f"{generalist} - {specialist}", "test_level": level}
            rows += tables.summarize(keys, tables.difference(by_model[generalist], by_model[specialist]), counts)
    return rows


def save_strip(options: Options, denoisers: list[jaxdae.Denoiser], data: Data, digits: int = 2) -> None:
    """Keeps the images of the strip, denoised by each level's specialist and by the generalist, of the first seed."""
    *specialists, generalist = denoisers
    clean = data.test[:digits]
    noisy = [np.asarray(jaxdae.noisy_examples(clean, jaxdae.Noise(level=level))) for level in options.levels]
    images = {
        "noisy": noisy,
        "specialist": [denoiser(images) for denoiser, images in zip(specialists, noisy, strict=True)],
        "generalist": [generalist(images) for images in noisy],
    }
    shell.save_strip(
        options.out, images, clean=shell.as_shown(np.asarray(to_unit(clean))), levels=np.array(options.levels)
    )


def publish(options: Options) -> None:
    """Draws the figures and writes the README, from the files in the results folder."""
    table, images = tables.read_table(options.out, "noise_levels"), shell.load_strip(options.out)
    rows = {name: images[name] for name in ("noisy", "specialist", "generalist")}
    rows["clean"] = np.stack([images["clean"]] * len(images["levels"]))
    drawn = {
        "matrix": figures.level_matrix(table),
        "curves": figures.level_curves(table),
        "strip": figures.strip(rows, [f"level {level:g}" for level in images["levels"]]),
    }
    figures.save_figures(options.out, drawn)
    report.write_readme(options.out, "noise_levels", **facts(table))


def facts(table: pd.DataFrame) -> dict[str, Any]:
    """The tables and numbers of the README."""
    psnr = pick(table, metric="psnr", seed=None)
    most, fewest = tables.of_most_images(psnr), tables.of_fewest_images(psnr)
    specialists = figures.models_of(psnr, "specialist")
    trained = [*specialists, *figures.models_of(psnr, "generalist")]
    means, few = by_level(most, most["mean"]), by_level(fewest, fewest["mean"])
    others = ["identity", *pick(psnr, kind="baseline")["model"].unique()]
    gaps = pick(most, kind="difference").sort_values("test_level").set_index("model").rename_axis(None)
    at_home = {float(name): name for name in specialists if float(name) in means}
    falls = [
        {"level": level, "far": float(far), "behind": means.loc[home, level] - means.loc[far, level]}
        for level, home in at_home.items()
        for far in specialists
    ]
    matrix = by_level(most, tables.mean_and_error(most, ".2f")).loc[trained].rename_axis("trained at")
    beside = few.loc[[*others, *trained]].rename(index={name: f"trained at {name}" for name in trained})
    errors = {"s.e. over seeds": gaps["se_seeds"], "s.e. over images": gaps["se_images"]}
    return {
        "wins": sum(means.loc[specialists, level].idxmax() == home for level, home in at_home.items()),
        "at_home": at_home,
        "fall": max(falls, key=lambda fall: fall["behind"]),
        "best": gaps.loc[gaps["mean"].idxmax()].to_dict(),
        "worst": gaps.loc[gaps["mean"].idxmin()].to_dict(),
        "matrix": matrix.rename(columns="{:g}".format),
        "gaps": tables.as_text({"difference (dB)": gaps["mean"]}, "+.3f").join(tables.as_text(errors, ".3f")),
        "beside": tables.as_text(beside, ".2f").rename(columns="{:g}".format),
        "beaten": [f"{level:g}" for level in few if few.loc[others, level].max() > few.loc[trained, level].max()],
        "most": most["images"].max(),
        "fewest": fewest["images"].max(),
    }


def by_level(rows: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """Values of rows as models x test levels."""
    scores = rows.assign(value=values)[rows["kind"] != "difference"]
    return scores.pivot(index="model", columns="test_level", values="value").rename_axis(index=None, columns=None)


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
