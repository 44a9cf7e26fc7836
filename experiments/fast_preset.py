"""How soon can the classic experiment's model be as good as the classic protocol makes it in 100 epochs?

    python experiments/fast_preset.py --search    # candidates, judged on held-out training images
    python experiments/fast_preset.py             # the chosen preset, once on the test images
    python experiments/fast_preset.py --dataset digits --keras-epochs 2 --search    # a quick try; then without --search

The architecture and the test are fixed: 28,353 parameters, MNIST, Gaussian noise 0.5, BCE on the noisy test images. All
else is free. The search never sees the test images. The second command trains `--preset fast` between turns of Keras,
which must be installed (`pip install -e '.[benchmark]'`), and writes results/fast_preset/.
"""

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import _figures as figures
import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd
from _contestants import KERAS, Job, start
from matplotlib.figure import Figure
from scipy.special import entr

import jaxdae
from jaxdae import components
from jaxdae.runs.folder import read_history
from jaxdae.training.optimizers import OPTIMIZERS, Adam, Muon, Optimizer

SEARCH = "search.csv"
CANDIDATES: tuple[tuple[int, int, Optimizer], ...] = (
    (4, 128, Adam(learning_rate=0.01, schedule="one_cycle")),
    (4, 128, Muon(learning_rate=0.01, schedule="one_cycle")),
    (4, 64, Adam(learning_rate=0.01, schedule="one_cycle")),
    (4, 128, Muon(learning_rate=0.03, schedule="one_cycle")),
    (3, 64, Muon(learning_rate=0.01, schedule="one_cycle")),
    (3, 128, Muon(learning_rate=0.02, schedule="one_cycle")),
    (2, 64, Muon(learning_rate=0.02, schedule="one_cycle")),
    (2, 32, Muon(learning_rate=0.02, schedule="one_cycle")),
    (2, 64, Muon(learning_rate=0.01, schedule="one_cycle")),
    (2, 32, Muon(learning_rate=0.01, schedule="one_cycle")),
    (2, 32, Muon(learning_rate=0.005, schedule="one_cycle")),
)
"""Epochs, batch size and optimizer."""


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    search: bool = False
    """Train the candidates instead of the preset."""
    keras_epochs: int = 4
    """Epochs of Keras that are timed, half of them before and half after the preset's training."""
    runs: Path = Path("runs/fast_preset")
    """Folder of the search's run folders; runs in it are resumed."""
    out: Path = Path("results/fast_preset")
    """Results folder: tables, figure and README."""


def experiment(options: Options) -> None:
    """Searches, or compares the preset with Keras."""
    data = options.load()
    if options.search:
        options.out.mkdir(parents=True, exist_ok=True)
        search(options, data).to_csv(options.out / SEARCH, index=False)
    else:
        read_search(options)  # fails before the training if the README would lack it
        compare(options, data)


def search(options: Options, data: jaxdae.ImageData) -> pd.DataFrame:
    """The validation losses of all candidates on held-out training images."""
    holdout = len(data.train) // 6
    least = least_bce(data.train[-holdout:])
    trainings = [
        shell.Training(jaxdae.grid(jaxdae.Member(), {"optimizer": [optimizer]}), data, options.runs / str(number),
                       epochs, batch_size, holdout)
        for number, (epochs, batch_size, optimizer) in enumerate(CANDIDATES)
    ]  # fmt: skip
    losses = pd.Series([run.history[-1]["val_bce"] for run in shell.train_or_resume(trainings)])
    names = [describe(*candidate) for candidate in CANDIDATES]
    columns = {"holdout_bce": losses, "above_the_least": losses - least}
    return tables.as_text(columns, ".4f").assign(candidate=names)[["candidate", *columns]]


def describe(epochs: int, batch_size: int, optimizer: Optimizer) -> str:
    """A training in words."""
    name = components.kind_of(optimizer, OPTIMIZERS)
    return f"{epochs} epochs of {name}, {optimizer.schedule} to {optimizer.learning_rate:g}, batch {batch_size}"


def least_bce(images: np.ndarray) -> float:
    """The least possible BCE on 8-bit images: the mean entropy of their grey pixels."""
    p = images.astype(np.float64) / 255
    return float(np.mean(entr(p) + entr(1 - p)))


def compare(options: Options, data: jaxdae.ImageData) -> None:
    """Trains the preset between epochs of Keras, and keeps the log and the times."""
    preset, half = jaxdae.PRESETS["fast"], options.keras_epochs // 2
    job = Job(KERAS, images=len(data.train), dataset=options.dataset, manual_dir=options.manual_dir)
    contestants, missing = start([job], ("fit",))
    if missing:
        raise jaxdae.InputError(f"{missing[0]} is not installed; pip install -e '.[benchmark]'")
    [keras] = contestants
    keras.take_turns("fit", half)
    started = time.perf_counter()
    run = jaxdae.train(preset.member, data, epochs=preset.epochs, batch_size=preset.batch_size, progress=True)
    seconds = time.perf_counter() - started
    keras.take_turns("fit", options.keras_epochs - half)
    keras.stop()
    report.write_log(options.out, run)
    report.write_about(
        options.out,
        report.provenance(f"{seconds / 60:.1f} minutes of training", "0 (model), 0 (noise of the test images)"),
        dataset=options.dataset,
        seconds=seconds,
        keras_seconds=keras.times["fit"],
        least=least_bce(data.test),
    )


def read_search(options: Options) -> pd.DataFrame:
    """The table of the search.

    Raises:
        InputError: there is none.
    """
    try:
        return pd.read_csv(options.out / SEARCH, dtype=str, index_col="candidate")
    except FileNotFoundError:
        raise jaxdae.InputError(f"{options.out} holds no {SEARCH}; run the script with --search first") from None


def publish(options: Options) -> None:
    """Draws the figure and writes the README from the files in the results folder; after a search, prints its table."""
    searched = read_search(options)
    if options.search:
        print(report.markdown(searched))
        return
    about, history, reference = report.read_about(options.out), read_history(options.out), report.keras_curve()
    minutes, keras_minutes = about["seconds"] / 60, statistics.median(about["keras_seconds"]) / 60
    target = reference[-1]["val_bce"]
    figure = draw(history, reference, minutes / len(history), keras_minutes, target)
    figures.save_figures(options.out, {"fast_preset": figure})
    log = pd.DataFrame(history).set_index("epoch")
    losses = {"train BCE": log["train_bce"], "val BCE": log["val_bce"]}
    preset = jaxdae.PRESETS["fast"]
    report.write_readme(
        options.out,
        "fast_preset",
        preset=describe(preset.epochs, preset.batch_size, preset.member.optimizer),
        log=tables.as_text(losses, ".4f").join(tables.as_text({"val PSNR (dB)": log["val_psnr"]}, ".2f")),
        last=history[-1],
        reached=[line["epoch"] for line in history if line["val_bce"] <= target][:1],
        target=target,
        minutes=minutes,
        keras_minutes=100 * keras_minutes,
        searched=searched.rename(columns=lambda name: name.replace("_", " ")),
    )


def draw(
    history: list[dict[str, Any]], reference: list[dict[str, Any]], ours: float, keras: float, target: float
) -> Figure:
    """Validation BCE over training time (minutes per epoch) of both."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for lines, minutes, color, marker, label in (
        (reference, keras, "0.5", "", "Keras, the classic protocol, 100 epochs"),
        (history, ours, figures.BLUE, ".", f"jaxdae --preset fast, {len(history)} epochs"),
    ):
        epochs, losses = ([line[name] for line in lines] for name in ("epoch", "val_bce"))
        axes.plot(minutes * np.array(epochs), losses, color=color, marker=marker, label=label)
    axes.axhline(target, color=figures.ORANGE, linewidth=1, linestyle="--", label="Keras after 100 epochs")
    axes.set(xlabel="minutes of training and validation", ylabel="BCE on noisy test images", xscale="log")
    axes.set_ylim(target - 0.002, 0.115)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
