"""What does it cost to draw the noise once, as the classic script does, instead of again in every epoch?

    python experiments/fixed_or_fresh.py                                                            # MNIST
    python experiments/fixed_or_fresh.py --dataset digits --sizes 100 1500 --passes 20 --seeds 0 1  # a quick try

Trains the classic experiment's model with both kinds of noise on increasing numbers of training images, with several
seeds and the same number of images seen; one run for each size, resumed if it was stopped. Writes
results/fixed_or_fresh/.
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
from _filters import TUNING_IMAGES
from _tables import Row, pick

import jaxdae
from jaxdae import evaluation

DRAWS = ("fixed", "fresh")


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    level: float = 0.5
    """Noise level."""
    sizes: tuple[int, ...] = (1_000, 10_000, 60_000)
    """Numbers of training images, the first of the dataset."""
    passes: int = 4
    """Passes over the largest number of images. Over a smaller one there are more, for as many images in all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of each."""
    curve_images: int = 1_000
    """Number of first test images to measure after every epoch; all are measured after the last one."""
    baselines: tuple[str, ...] = classical.BASELINES
    """Classical denoisers to compare with, on the first 1,000 test images."""
    runs: Path = Path("runs/fixed_or_fresh")
    """Folder of the run folders; runs in it are resumed."""
    out: Path = Path("results/fixed_or_fresh")
    """Results folder: table, figure and README."""


def experiment(options: Options) -> None:
    """Trains, measures and writes the table."""
    data = options.load()
    check(options, data)
    preset = jaxdae.PRESETS["classic"]
    member = dataclasses.replace(preset.member, noise=jaxdae.Noise(level=options.level))
    members = jaxdae.grid(member, {"noise.redraw": [False, True], "seed": options.seeds})
    wanted = [
        shell.Training(
            members,
            jaxdae.ImageData(data.train[:size], data.test[: options.curve_images]),
            options.runs / str(size),
            epochs=max(1, round(options.passes * max(options.sizes) / size)),
            batch_size=preset.batch_size,
        )
        for size in options.sizes
    ]
    runs = dict(zip(options.sizes, shell.train_or_resume(wanted), strict=True))
    measured_since = time.perf_counter()
    rows = [row for size, run in runs.items() for row in curve_rows(options, run, size, len(data.test))]
    rows += [row for size, run in runs.items() for row in final_rows(options, run, size, data)]
    rows += classical_rows(options, data)
    tables.write_table(options.out, tables.make_table("fixed_or_fresh", rows))
    seconds = sum(report.training_seconds(run, size) for size, run in runs.items())
    report.write_about(
        options.out,
        report.provenance(report.duration(seconds, measured_since), report.model_seeds(options.seeds)),
        dataset=options.dataset,
        seeds=options.seeds,
        level=options.level,
    )


def check(options: Options, data: jaxdae.ImageData) -> None:
    """Raises InputError for settings that would fail after some of the training."""
    if not options.sizes or not 1 <= min(options.sizes) <= max(options.sizes) <= len(data.train):
        raise jaxdae.InputError(f"sizes {options.sizes} must lie from 1 to the {len(data.train)} images of --dataset")
    for name in ("passes", "curve_images"):
        if getattr(options, name) < 1:
            raise jaxdae.InputError(f"{name} {getattr(options, name)} must be at least 1")
    classical.require_installed(options.baselines)


def by_draw(run: jaxdae.Run) -> dict[str, list[int]]:
    """The indices of the members with fixed and with fresh noise."""
    return shell.member_indices(run.members, lambda member: DRAWS[member.noise.redraw])


def curve_rows(options: Options, run: jaxdae.Run, size: int, test_images: int, points: int = 30) -> list[Row]:
    """The logged losses at that many epochs, evenly spaced."""
    shown = sorted({round(epoch) for epoch in np.linspace(1, run.loop.epochs, min(points, run.loop.epochs))})
    parts = (("train", "train_bce", size), ("test", "val_bce", min(options.curve_images, test_images)))
    logged = {(line["epoch"], line["member"]): line for line in run.history}
    rows = []
    for draw, indices in by_draw(run).items():
        for epoch in shown:
            for images_of, loss, images in parts:
                losses = np.array([[logged[epoch, index][loss]] for index in indices])
                keys = {"kind": "curve", "model": draw, "train_images": size, "epoch": epoch, "images_of": images_of}
                found = tables.summarize(keys, {"bce": losses}, [1], options.seeds)
                rows += [row | {"images": images} for row in found]
    return rows


def final_rows(options: Options, run: jaxdae.Run, size: int, data: jaxdae.ImageData) -> list[Row]:
    """The scores after the last epoch, and the differences of fixed and fresh noise."""
    counts = classical.image_counts(data)
    scores, _ = evaluation.measure(run.denoisers, data.test, jaxdae.Noise(), [options.level])
    values = tables.by_model(scores, 0, by_draw(run))
    shared = {"train_images": size, "images_of": "test", "epoch": run.loop.epochs}
    rows = []
    for draw in DRAWS:
        rows += tables.summarize(shared | {"kind": "final", "model": draw}, values[draw], counts, options.seeds)
    keys = shared | {"kind": "difference", "model": "fixed - fresh"}
    return rows + tables.summarize(keys, tables.difference(values["fixed"], values["fresh"]), counts[-1:])


def classical_rows(options: Options, data: jaxdae.ImageData) -> list[Row]:
    """The noisy images and the baselines, of which only linear MMSE is fitted on more than the tuning images."""
    counts, noise = classical.image_counts(data), jaxdae.Noise(level=options.level)
    _, identity = evaluation.measure([], data.test, noise, [options.level])
    shared = {"train_images": None, "images_of": "test", "epoch": None}
    rows = tables.summarize(shared | {"kind": "identity", "model": "identity"}, identity, counts)
    [scores] = classical.baseline_scores(options.baselines, data, [noise])
    for name, values in scores.items():
        fitted_on = len(data.train) if name.startswith("linear_mmse") else TUNING_IMAGES
        keys = shared | {"kind": "baseline", "model": name, "train_images": fitted_on}
        rows += tables.summarize(keys, values, counts[:1])
    return rows


def publish(options: Options) -> None:
    """Draws the figure and writes the README, from the files in the results folder."""
    table = tables.read_table(options.out, "fixed_or_fresh")
    figures.save_figures(options.out, {"curves": figures.learning_curves(table)})
    report.write_readme(options.out, "fixed_or_fresh", **facts(table))


def facts(table: pd.DataFrame) -> dict[str, Any]:
    """The tables and numbers of the README."""
    means = table[table["seed"].isna()]
    finals, curves = pick(means, kind="final"), pick(means, kind="curve")
    gaps = pick(means, kind="difference").set_index(["metric", "train_images"])
    tested, compared = finals["images"].max(), finals["images"].min()
    at_end = curves.sort_values("epoch").groupby(["images_of", "model", "train_images"])["mean"].last()
    final = finals.set_index(["images", "metric", "model", "train_images"])["mean"].sort_index()
    specs = {"bce": "+.4f", "psnr": "+.3f"}
    differences = {metric: tables.mean_and_error(gaps.loc[metric], spec) for metric, spec in specs.items()}
    summary = {
        "epochs": gaps.loc["bce"]["epoch"].map("{:,}".format),
        **{f"train BCE, {draw}": at_end["train", draw].map("{:.4f}".format) for draw in DRAWS},
        **{f"test BCE, {draw}": final[tested, "bce", draw].map("{:.4f}".format) for draw in DRAWS},
        "BCE, fixed - fresh": differences["bce"],
        **{f"PSNR, {draw} (dB)": final[tested, "psnr", draw].map("{:.2f}".format) for draw in DRAWS},
        "PSNR, fixed - fresh (dB)": differences["psnr"],
    }
    others = means[means["kind"].isin(["identity", "baseline"])]
    classical_psnr = pick(others, metric="psnr", images=compared).set_index("model")["mean"]
    networks = final[compared, "psnr"].swaplevel().sort_index()
    networks.index = [f"{draw} noise, {size:,} training images" for size, draw in networks.index]
    sizes = {"few": gaps.loc["psnr"].index.min(), "many": gaps.loc["psnr"].index.max()}
    return {
        **{name: {"train_images": size, "psnr": differences["psnr"][size]} for name, size in sizes.items()},
        "summary": pd.DataFrame(summary).sort_index().rename("{:,}".format).rename_axis("training images"),
        "beside": tables.as_text({"PSNR (dB)": pd.concat([classical_psnr, networks])}, ".2f"),
        "tested": tested,
        "compared": compared,
        "curve_images": pick(curves, images_of="test")["images"].max(),
    }


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
