"""What does it cost to draw the noise once, as the classic script does, and not again in every epoch?

    python experiments/fixed_or_fresh.py                                                            # MNIST
    python experiments/fixed_or_fresh.py --dataset digits --sizes 100 1500 --passes 20 --seeds 0 1  # two minutes

Trains the classic experiment's model with either noise on fewer and more training images, with several seeds and the
same number of images seen (resumed if it was stopped). Writes results/fixed_or_fresh/.
"""

# ruff: noqa: E402
from jaxdae.cli import cores_as_devices

cores_as_devices()  # before JAX is imported

import dataclasses
import time
from pathlib import Path

import jax
import numpy as np
import tyro
from _baselines import BASELINES, TEST_IMAGES, baseline_scores, image_counts, require_installed
from _report import command_line, duration, markdown_table, mean_and_error, provenance, training_seconds
from _shell import require_same_settings, run_script, train_or_resume

import jaxdae
from jaxdae import baselines, evaluation, reports, tables
from jaxdae.config import Draw
from jaxdae.tables import Row, pick

DRAWS: tuple[Draw, ...] = ("fixed", "fresh")


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the experiment."""

    dataset: str = "mnist"
    """The images."""
    level: float = 0.5
    """Noise level."""
    sizes: tuple[int, ...] = (1_000, 10_000, 60_000)
    """Numbers of training images, the first of the dataset."""
    passes: int = 4
    """Passes over the largest number of images. Over a smaller one there are more, for as many images in all."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of each."""
    curve_images: int = 1_000
    """The first test images, measured after every epoch; after the last one all are."""
    baselines: tuple[str, ...] = BASELINES
    """Classical denoisers to stand beside them, on the first 1,000 test images."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    runs: Path = Path("runs/fixed_or_fresh")
    """Where the run folders are; runs that are there are continued."""
    out: Path = Path("results/fixed_or_fresh")
    """Where the table and the figure go."""


def main(options: Options) -> None:
    """Trains, measures, draws and writes."""
    data = jaxdae.load(options.dataset, manual_dir=options.manual_dir)
    if not options.sizes or not 1 <= min(options.sizes) <= max(options.sizes) <= len(data.train):
        raise jaxdae.InputError(f"sizes {options.sizes} must lie from 1 to the {len(data.train)} images of --dataset")
    for name in ("passes", "curve_images"):
        if getattr(options, name) < 1:
            raise jaxdae.InputError(f"{name} {getattr(options, name)} must be at least 1")
    require_installed(options.baselines)
    configs = {(size, draw): configuration(options, size, draw) for size in options.sizes for draw in DRAWS}
    folders = {(size, draw): options.runs / f"{draw}_{size}" for size, draw in configs}
    for key, config in configs.items():
        require_same_settings(config, folders[key])
    runs = {
        (size, draw): train_or_resume(config, images_of(options, data, size), folders[size, draw])
        for (size, draw), config in configs.items()
    }
    measured_since = time.perf_counter()
    rows = [row for (size, draw), run in runs.items() for row in curve_rows(run, draw, *images_of(options, data, size))]
    rows += final_rows(options, data, runs)
    rows += classical_rows(options, data)
    tables.write_table(options.out, "fixed_or_fresh", rows)
    reports.redraw_results(options.out)
    (options.out / "README.md").write_text(report(options, runs, rows, measured_since))
    print((options.out / "README.md").read_text())


def classical_rows(options: Options, data: jaxdae.ImageData) -> list[Row]:
    """The noisy images and the baselines, of which only linear MMSE is fitted on more than the tuning images."""
    config = jaxdae.RunConfig(dataset=options.dataset)
    noisy = evaluation.noisy_examples(data.test, options.level, config=config)
    identity = jax.device_get(evaluation.evaluate_identity(noisy, data.test.astype(np.float32) / 255))
    [classical] = baseline_scores(options.baselines, data, [(config, options.level)])
    shared = {"train_images": None, "images_of": "test", "epoch": None}
    counts = image_counts(data)
    rows = tables.rows_of_images(shared | {"kind": "identity", "model": "identity"}, identity, counts)
    for name, scores in classical.items():
        fitted_on = len(data.train) if name.startswith("linear_mmse") else baselines.TUNING_IMAGES
        keys = shared | {"kind": "baseline", "model": name, "train_images": fitted_on}
        rows += tables.rows_of_images(keys, scores, counts[:1])
    return rows


def images_of(options: Options, data: jaxdae.ImageData, size: int) -> jaxdae.ImageData:
    """What is trained on, and what is measured after every epoch."""
    return jaxdae.ImageData(data.train[:size], data.test[: options.curve_images])


def configuration(options: Options, size: int, draw: Draw) -> jaxdae.RunConfig:
    """The training with one kind of noise on the first `size` images."""
    return jaxdae.RunConfig(
        dataset=options.dataset,
        noise_levels=(options.level,),
        seeds=options.seeds,
        draw=draw,
        epochs=max(1, round(options.passes * max(options.sizes) / size)),
    )


def final_rows(options: Options, data: jaxdae.ImageData, runs: dict[tuple[int, Draw], jaxdae.Run]) -> list[Row]:
    """The scores after the last epoch, and the differences of fixed and fresh noise."""
    counts = image_counts(data)
    rows: list[Row] = []
    for size in options.sizes:
        scores = {}
        for draw in DRAWS:
            run = runs[size, draw]
            shared = {"train_images": size, "images_of": "test", "epoch": run.config.epochs}
            levels = np.array([options.level])
            scores[draw] = evaluation.evaluate_population(run.params, data.test, levels, config=run.config)[0]
            for metric, values in scores[draw].items():
                keys = shared | {"kind": "final", "model": draw, "metric": metric}
                for count in counts:
                    rows += tables.rows_of_seeds(keys, values[0, :, :count].astype(np.float64), options.seeds)
        for metric in scores["fixed"]:
            fixed, fresh = (scores[draw][metric][0].astype(np.float64) for draw in DRAWS)
            keys = shared | {"kind": "difference", "model": "fixed - fresh", "metric": metric}
            rows.append(tables.statistics_row(keys, fixed - fresh))
    return rows


def curve_rows(run: jaxdae.Run, draw: Draw, train: np.ndarray, test: np.ndarray, points: int = 30) -> list[Row]:
    """The logged losses at that many epochs, evenly spaced."""
    shown = {round(epoch) for epoch in np.linspace(1, run.config.epochs, min(points, run.config.epochs))}
    rows = []
    for epoch in sorted(shown):
        for images_of, logged, images in (("train", "train_bce", train), ("test", "val_bce", test)):
            losses = np.array([[line[logged]] for line in pick(run.history, epoch=epoch)], np.float64)
            keys = {"kind": "curve", "model": draw, "train_images": len(train), "epoch": epoch,
                    "images_of": images_of, "metric": "bce"}  # fmt: skip
            rows += [row | {"images": len(images)} for row in tables.rows_of_seeds(keys, losses, run.config.seeds)]
    return rows


def report(options: Options, runs: dict[tuple[int, Draw], jaxdae.Run], rows: list[Row], measured_since: float) -> str:
    """The README of the results."""

    def difference(size: int, metric: str) -> Row:
        return pick(rows, kind="difference", train_images=size, metric=metric)[0]

    def last(size: int, model: str, images_of: str) -> float:
        curve = pick(rows, kind="curve", train_images=size, model=model, images_of=images_of, seed=None)
        return curve[-1]["mean"]

    def final(size: int, model: str, metric: str, images: int) -> float:
        found = pick(rows, kind="final", train_images=size, model=model, metric=metric, images=images, seed=None)
        return found[0]["mean"]

    few, many = (f(options.sizes) for f in (min, max))
    tested = difference(few, "bce")["images"]
    lines = [
        [
            f"{size:,}",
            f"{difference(size, 'bce')['epoch']:,}",
            *(f"{last(size, draw, 'train'):.4f}" for draw in DRAWS),
            *(f"{final(size, draw, 'bce', tested):.4f}" for draw in DRAWS),
            mean_and_error(difference(size, "bce"), 4, "+"),
            *(f"{final(size, draw, 'psnr', tested):.2f}" for draw in DRAWS),
            mean_and_error(difference(size, "psnr"), 3, "+"),
        ]
        for size in sorted(options.sizes)
    ]
    header = [
        "training images", "epochs", "train BCE, fixed", "train BCE, fresh", "test BCE, fixed", "test BCE, fresh",
        "difference", "PSNR, fixed (dB)", "PSNR, fresh", "difference",
    ]  # fmt: skip
    compared, curve_images = (min(count, tested) for count in (TEST_IMAGES, options.curve_images))
    classical = pick(rows, metric="psnr", images=compared, epoch=None)
    beside = [[row["model"], f"{row['mean']:.2f}"] for row in classical]
    beside += [
        [f"{draw} noise, {size:,} training images", f"{final(size, draw, 'psnr', compared):.2f}"]
        for size in sorted(options.sizes)
        for draw in DRAWS
    ]
    seeds = len(options.seeds)
    of_few, of_many = (mean_and_error(difference(size, "psnr"), 3, "+") for size in (few, many))
    made = provenance(
        command_line(),
        duration(sum(training_seconds(run, size) for (size, _), run in runs.items()), measured_since),
        f"{', '.join(map(str, options.seeds))} (models), 0 (noise of the test images)",
    )
    return f"""# Fixed or fresh noise

What does it cost to draw the noise once, as the classic script does, and not again in every epoch?

With {few:,} training images, fixed noise changes the PSNR on the test images by {of_few} dB against fresh noise, after
as many steps. With {many:,} it changes it by {of_many} dB.

![loss against epochs](curves.png)

{markdown_table(header, lines)}

{options.dataset}, Gaussian noise of level {options.level:g}, clipped; the classic experiment's model, Adadelta, batch
128, last epoch. Means over {seeds} seeds; the differences are paired by seed and image, ± the standard error over seeds
(over images with one seed). The training BCE is the mean over the last epoch, on the noise that was trained with; the
test figures are over {tested:,} images with the same noise for all, the curves over the first {curve_images:,}.

## Beside classical denoisers

{markdown_table(["", "PSNR (dB)"], beside)}

On the first {compared:,} test images. A baseline is tuned on 200 training images (linear MMSE is fitted on all the
others of the dataset). "with curve": its output goes through one monotone curve, E[clean | output].

All metrics and seeds: [table.csv](table.csv) (columns: [jaxdae/tables.py](../../jaxdae/tables.py)).
`jaxdae plot {options.out}` draws the figure again.

## How it was made

{made}
"""


if __name__ == "__main__":
    run_script(main, tyro.cli(Options, description=__doc__))
