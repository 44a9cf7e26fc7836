"""How far does a denoiser carry beyond the noise level that it was trained at, and what does one for all levels cost?

    python experiments/noise_levels.py                                          # MNIST
    python experiments/noise_levels.py --dataset digits --seeds 0 1 --epochs 20 --levels 0.25 0.5 1.0 \
        --test-levels 0.25 0.5 1.0 --baselines identity gaussian linear_mmse    # two minutes

Trains specialists and a generalist with several seeds as one population (resumed if it was stopped), chosen by their
validation loss on held-out training images, and measures each at every test level on the same noisy test images, beside
classical baselines. Writes results/noise_levels/.
"""

# ruff: noqa: E402
from jaxdae.cli import cores_as_devices

cores_as_devices()  # before JAX is imported

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _baselines import BASELINES, baseline_scores, image_counts, require_installed
from _report import command_line, duration, markdown_table, mean_and_error, provenance, training_seconds
from _shell import run_script, train_or_resume

import jaxdae
from jaxdae import comparisons, evaluation, reports, tables
from jaxdae.config import check_level, level_range, preset
from jaxdae.tables import Row, pick


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the experiment."""

    dataset: str = "mnist"
    """The images."""
    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    """Training levels of the specialists."""
    generalist: str = "0:1"
    """The range of the generalist's levels."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of each."""
    epochs: int = 5
    """Passes over the training images, less a sixth of them that is held out."""
    test_levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.2)
    """Levels that every model is measured at."""
    baselines: tuple[str, ...] = BASELINES
    """Classical denoisers to stand beside them, on the first 1,000 test images."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    run: Path = Path("runs/noise_levels")
    """The run folder; a run that is there is continued."""
    out: Path = Path("results/noise_levels")
    """Where the table and the figures go."""


def main(options: Options) -> None:
    """Trains, measures, draws and writes."""
    check_options(options)
    data = jaxdae.load(options.dataset, manual_dir=options.manual_dir)
    run = train(options, data)
    measured_since = time.perf_counter()
    params = run.stacked_params("best")
    scores, identity = evaluation.evaluate_population(
        params, data.test, np.array(options.test_levels), config=run.config
    )
    counts = image_counts(data)
    rows = tables.rows_of_population(run.config, options.test_levels, scores, counts)
    for i, level in enumerate(options.test_levels):
        keys = {"kind": "identity", "model": "identity", "test_level": level}
        rows += tables.rows_of_images(keys, {metric: values[i] for metric, values in identity.items()}, counts)
    tests = [(run.config, level) for level in options.test_levels]
    for level, found in zip(options.test_levels, baseline_scores(options.baselines, data, tests), strict=True):
        for name, values in found.items():
            keys = {"kind": "baseline", "model": name, "test_level": level}
            rows += tables.rows_of_images(keys, values, counts[:1])
    tables.write_table(options.out, "noise_levels", rows)
    save_strip(options, run, data)
    reports.redraw_results(options.out)
    (options.out / "README.md").write_text(report(options, run, data, rows, measured_since))
    print((options.out / "README.md").read_text())


def check_options(options: Options) -> None:
    """Raises InputError for settings that would fail, or answer nothing, after the training."""
    levels: list[float | str] = [*options.levels, *options.test_levels, options.generalist]
    for level in levels:
        check_level(level, "gaussian")
    low, high = level_range(options.generalist)
    if low == high:
        raise jaxdae.InputError(f"generalist {options.generalist} is no range of levels; write low:high, as 0:1")
    if not set(options.levels) & set(options.test_levels):
        raise jaxdae.InputError(f"no training level {options.levels} is among the test levels {options.test_levels}")
    if len(options.levels) < 2:
        raise jaxdae.InputError(f"levels {options.levels} must be at least two, to be compared")
    require_installed(options.baselines)


def train(options: Options, data: jaxdae.ImageData) -> jaxdae.Run:
    """Trains the population, or goes on with the run that is there."""
    config = preset(
        "fast",
        dataset=options.dataset,
        noise_levels=(*options.levels, options.generalist),
        seeds=options.seeds,
        epochs=options.epochs,
        holdout=len(data.train) // 6,
    )
    return train_or_resume(config, data, options.run)


def save_strip(options: Options, run: jaxdae.Run, data: jaxdae.ImageData, digits: int = 2) -> None:
    """Keeps the images of the strip, so that it can be drawn again without the checkpoints."""
    made: dict[str, list[np.ndarray]] = {"noisy": [], "specialist": [], "generalist": []}
    first_seed = [run.config.members.index((level, options.seeds[0])) for level in run.config.noise_levels]
    for specialist, level in zip(first_seed[:-1], options.levels, strict=True):
        noisy = np.asarray(evaluation.noisy_examples(data.test[:digits], level, config=run.config))
        made["noisy"].append(noisy)
        made["specialist"].append(jaxdae.denoise(run, noisy, member=specialist, checkpoint="best"))
        made["generalist"].append(jaxdae.denoise(run, noisy, member=first_seed[-1], checkpoint="best"))
    arrays: dict[str, Any] = {
        name: np.round(255 * np.stack(images)[..., 0]).astype(np.uint8) for name, images in made.items()
    }
    np.savez_compressed(
        options.out / comparisons.STRIP, clean=data.test[:digits, ..., 0], levels=np.array(options.levels), **arrays
    )


def reference_scores(run: jaxdae.Run, data: jaxdae.ImageData, number: int, images: int = 1000) -> dict[str, float]:
    """One model at level 0.5 on the first images with NumPy's noise of seed 0: a protocol that others can repeat."""
    clean = data.test[:images].astype(np.float32) / 255
    drawn = np.random.default_rng(0).standard_normal(clean.shape)
    noisy = np.clip(clean + 0.5 * drawn, 0, 1).astype(np.float32)
    scores = evaluation.evaluate(run.member_params(number, "best"), noisy, clean, model=run.model)
    return {name: float(np.mean(values)) for name, values in scores.items()}


def report(options: Options, run: jaxdae.Run, data: jaxdae.ImageData, rows: list[Row], measured_since: float) -> str:
    """The README of the results."""
    psnr = pick(rows, metric="psnr", seed=None)
    most, fewest = (f(row["images"] for row in psnr) for f in (max, min))
    trained = [str(level) for level in run.config.noise_levels]

    def mean(model: str, level: float, images: int) -> Row:
        return pick(psnr, model=model, test_level=level, images=images)[0]

    levels = [f"{level:g}" for level in options.test_levels]
    matrix = [
        [model, *(mean_and_error(mean(model, level, most), 2) for level in options.test_levels)] for model in trained
    ]
    names = ["identity", *dict.fromkeys(row["model"] for row in psnr if row["kind"] == "baseline"), *trained]
    beside = [[name, *(f"{mean(name, level, fewest)['mean']:.2f}" for level in options.test_levels)] for name in names]
    differences = sorted(pick(psnr, kind="difference", images=most), key=lambda row: row["test_level"])
    errors = [["" if row[name] is None else f"{row[name]:.3f}" for name in ("se_seeds", "se_images")]
              for row in differences]  # fmt: skip
    gaps = [[row["model"], f"{row['mean']:+.3f}", *both] for row, both in zip(differences, errors, strict=True)]
    classical = [name for name in names if name not in trained]
    beaten = [
        f"{level:g}"
        for level in options.test_levels
        if max(mean(name, level, fewest)["mean"] for name in classical)
        > max(mean(name, level, fewest)["mean"] for name in trained)
    ]
    better = f"At {' and '.join(beaten)} the best of them beats every network." if beaten else ""
    specialists = trained[:-1]
    at_home = [level for level in options.levels if level in options.test_levels]
    wins = [max(specialists, key=lambda model: mean(model, level, most)["mean"]) == str(level) for level in at_home]
    worst, best = (f(differences, key=lambda row: row["mean"]) for f in (min, max))
    falls = [(level, mean(str(level), level, most)["mean"] - mean(str(far), level, most)["mean"], far)
             for level in at_home for far in options.levels]  # fmt: skip
    widest = max(falls, key=lambda fall: fall[1])
    behind = f"{widest[1]:.1f}"
    middle = run.config.members.index((0.5, options.seeds[0])) if 0.5 in options.levels else None
    check = ""
    if options.dataset == "mnist" and middle is not None:
        scores = reference_scores(run, data, middle)
        check = (
            "\nOn the first 1,000 test images with NumPy's noise (`default_rng(0)`) at level 0.5, a specialist "
            f"(seed {options.seeds[0]})\nreaches {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}, "
            f"BCE {scores['bce']:.4f}; the same network in Keras after 30 epochs of\nthe classic protocol 20.02 dB, "
            "0.864, 0.0945.\n"
        )
    seeds = len(options.seeds)
    made = provenance(
        command_line(),
        duration(training_seconds(run, len(data.train) - run.config.holdout), measured_since),
        f"{', '.join(map(str, options.seeds))} (models), 0 (noise of the test images)",
    )
    return f"""# Noise levels

How far does a denoiser carry beyond the noise level that it was trained at, and what does one for all levels cost?

In {sum(wins)} of {len(wins)} cases the specialist of a level is the best specialist there; away from home they fall
off: at level {widest[0]:g}, the one trained at {widest[2]:g} is {behind} dB behind. Against the specialist of the
level, one generalist for all ({options.generalist}) has {best["mean"]:+.2f} dB at level {best["test_level"]:g}, its
best, and {worst["mean"]:+.2f} dB at {worst["test_level"]:g}, its worst.
{check}
![PSNR against the test level](curves.png)

![training level x test level](matrix.png)

![the same digits across levels](strip.png)

## PSNR (dB), training level x test level

{markdown_table(["trained at", *levels], matrix)}

{options.dataset}: mean over {most:,} test images and {seeds} seeds, ± its standard error over seeds (over images with
one seed). The same noise for all models; PSNR per image for a peak of 1, then the mean. Every model is the one of the
epoch with the lowest validation loss on {run.config.holdout:,} held-out training images.

## The generalist against the specialist of the level

{markdown_table(["", "difference (dB)", "s.e. over seeds", "s.e. over images"], gaps)}

Paired: the same seed, images and noise.

## Beside classical denoisers

{markdown_table(["", *levels], beside)}

PSNR (dB) on the first {fewest:,} test images. A baseline is tuned on 200 training images at the test level itself
(linear MMSE is fitted on the others), which the networks are not told. "with curve": its output goes through one
monotone curve, E[clean | output], since clipped noise is biased. {better}

All metrics, models and seeds: [table.csv](table.csv) (columns: [jaxdae/tables.py](../../jaxdae/tables.py)).
`jaxdae plot {options.out}` draws the figures again.

## How it was made

{made}
"""


if __name__ == "__main__":
    run_script(main, tyro.cli(Options, description=__doc__))
