"""What does a denoiser that was trained on one corruption know of the others, at equal damage?

    python experiments/corruptions.py                                                               # MNIST
    python experiments/corruptions.py --dataset digits --seeds 0 1 --epochs 20 --corruptions gaussian masking speckle

Sets the level of every corruption so that its noisy images have the same mean PSNR, trains denoisers of each with
several seeds (resumed if it was stopped), chosen by their validation loss on held-out training images, and measures
each on all corruptions. Writes results/corruptions/.
"""

# ruff: noqa: E402
from jaxdae.cli import cores_as_devices

cores_as_devices()  # before JAX is imported

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from _baselines import BASELINES, baseline_scores, image_counts, require_installed
from _report import command_line, duration, markdown_table, mean_and_error, provenance, training_seconds
from _shell import require_same_settings, run_script, train_or_resume

import jaxdae
from jaxdae import comparisons, evaluation, metrics, noise, reports, tables
from jaxdae.config import HIGHEST_LEVEL, CorruptionName, preset
from jaxdae.tables import Row, pick

MATCHED_ON = 1_000
"""The first training images, on which the levels are set."""
LEAST_DAMAGE = 60
"""In dB: a quarter of a grey level."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the experiment."""

    dataset: str = "mnist"
    """The images."""
    corruptions: tuple[CorruptionName, ...] = get_args(CorruptionName)
    """What to train on, and to test on."""
    damage: float = 15.0
    """Mean PSNR of the noisy images (dB), the same for all corruptions."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of each."""
    epochs: int = 3
    """Passes over the training images, less a sixth of them that is held out."""
    baselines: tuple[str, ...] = BASELINES
    """Classical denoisers to stand beside them, on the first 1,000 test images."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    runs: Path = Path("runs/corruptions")
    """Where the run folders are; runs that are there are continued."""
    out: Path = Path("results/corruptions")
    """Where the table and the figures go."""


def main(options: Options) -> None:
    """Sets the levels, trains, measures, draws and writes."""
    if len(set(options.corruptions)) < max(2, len(options.corruptions)):
        raise jaxdae.InputError(f"corruptions {options.corruptions} must be at least two different ones")
    require_installed(options.baselines)
    data = jaxdae.load(options.dataset, manual_dir=options.manual_dir)
    levels: dict[str, float] = {
        name: matched_level(name, data.train[:MATCHED_ON], options.damage) for name in options.corruptions
    }
    configs = {name: configuration(options, data, name, level) for name, level in levels.items()}
    for name, config in configs.items():
        require_same_settings(config, options.runs / name)
    runs = {name: train_or_resume(config, data, options.runs / name) for name, config in configs.items()}
    measured_since = time.perf_counter()
    rows = rows_of_tests(options, runs, data)
    tables.write_table(options.out, "corruptions", rows)
    save_strip(options, runs, data)
    reports.redraw_results(options.out)
    (options.out / "README.md").write_text(report(options, runs, data, rows, measured_since))
    print((options.out / "README.md").read_text())


def matched_level(corruption: str, images: np.ndarray, damage: float, steps: int = 20) -> float:
    """The level, to three digits, at which the noisy images have that mean PSNR, by bisection.

    Raises:
        InputError: no level does so much, or so little, damage.
    """
    low, high = 0.0, HIGHEST_LEVEL.get(corruption, 16.0)
    most = noisy_psnr(images, high, corruption=corruption)
    if not most < damage <= LEAST_DAMAGE:
        raise jaxdae.InputError(
            f"damage {damage:g} dB is out of range: {corruption} noise takes from {most:.1f} to {LEAST_DAMAGE} dB"
        )
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if noisy_psnr(images, middle, corruption=corruption) < damage else (middle, high)
    return float(f"{low:.3g}")


@functools.partial(jax.jit, static_argnames="corruption")
def noisy_psnr(images: Any, level: float, *, corruption: str) -> Any:
    """The mean PSNR (dB) of clean images, 0..255, made noisy."""
    clean = images.astype(jnp.float32) / 255
    noisy = noise.corrupt_examples(0, clean, jnp.arange(len(images)), level, level, corruption=corruption)
    return metrics.psnr(noisy, clean).mean()


def configuration(options: Options, data: jaxdae.ImageData, corruption: str, level: float) -> jaxdae.RunConfig:
    """The training of the denoisers of one corruption."""
    return preset(
        "fast",
        dataset=options.dataset,
        corruption=corruption,
        noise_levels=(level,),
        seeds=options.seeds,
        epochs=options.epochs,
        holdout=len(data.train) // 6,
    )


def rows_of_tests(options: Options, runs: dict[str, jaxdae.Run], data: jaxdae.ImageData) -> list[Row]:
    """Every denoiser on every corruption, its difference to the denoiser of that corruption, and the baselines."""
    params = [run.stacked_params("best") for run in runs.values()]
    together = jax.tree.map(lambda *models: np.concatenate(models), *params)
    rows: list[Row] = []
    counts = image_counts(data)
    tests = [(run.config, float(run.config.noise_levels[0])) for run in runs.values()]
    classical = baseline_scores(options.baselines, data, tests)
    for own, (test, run) in enumerate(runs.items()):
        level = tests[own][1]
        scores, identity = evaluation.evaluate_population(together, data.test, np.array([level]), config=run.config)
        shared = {"test_corruption": test, "test_level": level}
        noisy = {metric: values[0] for metric, values in identity.items()}
        rows += tables.rows_of_images(shared | {"kind": "identity", "model": "identity"}, noisy, counts)
        for label, found in classical[own].items():
            rows += tables.rows_of_images(shared | {"kind": "baseline", "model": label}, found, counts[:1])
        for metric, values in scores.items():
            by_model = values[0].astype(np.float64).reshape(len(runs), len(options.seeds), -1)
            keys = shared | {"metric": metric}
            for count in counts:
                for name, value in zip(runs, by_model[..., :count], strict=True):
                    rows += tables.rows_of_seeds(keys | {"kind": "denoiser", "model": name}, value, options.seeds)
                    if name != test:
                        named = {"kind": "difference", "model": f"{name} - {test}"}
                        rows.append(tables.statistics_row(keys | named, value - by_model[own, :, :count]))
    return rows


def save_strip(options: Options, runs: dict[str, jaxdae.Run], data: jaxdae.ImageData, digits: int = 2) -> None:
    """Keeps the images of the strip, so that it can be drawn again without the checkpoints."""
    made: dict[str, list[np.ndarray]] = {"noisy": [], "own": [], "first": []}
    first = runs[options.corruptions[0]]
    for run in runs.values():
        level = float(run.config.noise_levels[0])
        noisy = np.asarray(evaluation.noisy_examples(data.test[:digits], level, config=run.config))
        made["noisy"].append(noisy)
        made["own"].append(jaxdae.denoise(run, noisy, checkpoint="best"))
        made["first"].append(jaxdae.denoise(first, noisy, checkpoint="best"))
    arrays: dict[str, Any] = {
        name: np.round(255 * np.stack(images)[..., 0]).astype(np.uint8) for name, images in made.items()
    }
    clean, corruptions = data.test[:digits, ..., 0], np.array(options.corruptions)
    np.savez_compressed(options.out / comparisons.STRIP, clean=clean, corruptions=corruptions, **arrays)


def report(
    options: Options, runs: dict[str, jaxdae.Run], data: jaxdae.ImageData, rows: list[Row], measured_since: float
) -> str:
    """The README of the results."""
    names = options.corruptions
    psnr = pick(rows, metric="psnr", seed=None)
    most, fewest = (f(row["images"] for row in psnr) for f in (max, min))

    def score(kind: str, model: str, test: str, images: int = most) -> Row:
        return pick(psnr, kind=kind, model=model, test_corruption=test, images=images)[0]

    def difference(name: str, test: str) -> Row:
        return score("difference", f"{name} - {test}", test)

    def behind(name: str) -> float:
        return float(np.mean([difference(name, test)["mean"] for test in names if test != name]))

    matrix = [[name, *(mean_and_error(score("denoiser", name, test), 2) for test in names)] for name in names]
    inputs = ["noisy images", *(f"{score('identity', 'identity', test)['mean']:.2f}" for test in names)]
    levels = ["level", *(f"{score('identity', 'identity', test)['test_level']:g}" for test in names)]
    gaps = [
        [name, *("" if test == name else mean_and_error(difference(name, test), 2, "+") for test in names)]
        for name in names
    ]
    at_home = sum(max(names, key=lambda name: score("denoiser", name, test)["mean"]) == test for test in names)
    widest, narrowest = max(names, key=behind), min(names, key=behind)
    denoisers = dict.fromkeys((row["kind"], row["model"]) for row in psnr if row["kind"] != "difference")
    beside = [
        [f"trained on {name}" if kind == "denoiser" else name,
         *(f"{score(kind, name, test, fewest)['mean']:.2f}" for test in names)]
        for kind, name in denoisers
    ]  # fmt: skip
    seeds = len(options.seeds)
    made = provenance(
        command_line(),
        duration(
            sum(training_seconds(run, len(data.train) - run.config.holdout) for run in runs.values()), measured_since
        ),
        f"{', '.join(map(str, options.seeds))} (models), 0 (noise of the test images)",
    )
    return f"""# Corruptions

What does a denoiser that was trained on one corruption know of the others, at equal damage?

On {at_home} of {len(names)} corruptions the denoiser that was trained on it is the best. Away from home the one trained
on {widest} stays nearest to the others' own, {behind(widest):+.1f} dB on average, and the one trained on {narrowest}
falls furthest, {behind(narrowest):+.1f} dB.

![training corruption x test corruption](matrix.png)

![the same digits in all corruptions](strip.png)

**Equal damage**: the level of every corruption is set so that noisy images have a mean PSNR of {options.damage:g} dB
(on the first {MATCHED_ON:,} training images, to three digits). It makes them comparable by one measure among others:
equal squared error is not equal difficulty, as the diagonal shows.

## PSNR (dB), training corruption x test corruption

{markdown_table(["trained on", *names], [*matrix, inputs, levels])}

{options.dataset}: mean over {most:,} test images and {seeds} seeds, ± its standard error over seeds (over images
with one seed). The same noise for all models, clipped to [0, 1]; PSNR per image for a peak of 1, then the mean.
Every model is the one of the epoch with the lowest validation loss on held-out training images.

## Against the denoiser of the corruption

{markdown_table(["trained on", *names], gaps)}

Differences in dB, paired: the same seed, images and noise.

## Beside classical denoisers

{markdown_table(["", *names], beside)}

PSNR (dB) on the first {fewest:,} test images. A baseline is tuned on 200 training images with the corruption itself
(linear MMSE is fitted on the others). "with curve": its output goes through one monotone curve, E[clean | output].

All metrics, models and seeds: [table.csv](table.csv) (columns: [jaxdae/tables.py](../../jaxdae/tables.py)).
`jaxdae plot {options.out}` draws the figures again.

## How it was made

{made}
"""


if __name__ == "__main__":
    run_script(main, tyro.cli(Options, description=__doc__))
