"""How soon can the seed experiment's model be as good as the classic protocol makes it in 100 epochs?

    python experiments/fast_preset.py --search    # candidates, judged on 10,000 held-out training images
    python experiments/fast_preset.py             # the preset that came of it, once on the test images

The architecture and the test are fixed: 28,353 parameters, MNIST, Gaussian noise 0.5, BCE on the noisy test images. All
else is free. The search never sees the test images. The second command trains `--preset fast` between turns of Keras,
which it needs installed (`pip install -e '.[benchmark]'`), and writes results/fast_preset/.
"""

# ruff: noqa: E402
from jaxdae.cli import cores_as_devices

cores_as_devices()  # before JAX is imported

import csv
import dataclasses
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from _contestants import KERAS, Contestant, Job
from _report import command_line, markdown_table, provenance
from _shell import run_script, train_or_resume
from matplotlib.figure import Figure
from scipy.special import entr

import jaxdae

REFERENCE = Path(__file__).parent / "reference" / "keras_seed_curve.json"
HOLDOUT = 10_000

CANDIDATES: list[dict[str, Any]] = [
    {"epochs": 4, "optimizer": "adam", "learning_rate": 0.01, "schedule": "one_cycle"},
    {"epochs": 4, "optimizer": "muon", "learning_rate": 0.01, "schedule": "one_cycle"},
    {"epochs": 4, "optimizer": "adam", "learning_rate": 0.01, "schedule": "one_cycle", "batch_size": 64},
    {"epochs": 4, "optimizer": "muon", "learning_rate": 0.03, "schedule": "one_cycle"},
    {"epochs": 3, "optimizer": "muon", "learning_rate": 0.01, "schedule": "one_cycle", "batch_size": 64},
    {"epochs": 3, "optimizer": "muon", "learning_rate": 0.02, "schedule": "one_cycle"},
    {"epochs": 2, "optimizer": "muon", "learning_rate": 0.02, "schedule": "one_cycle", "batch_size": 64},
    {"epochs": 2, "optimizer": "muon", "learning_rate": 0.02, "schedule": "one_cycle", "batch_size": 32},
]
"""What is not named is as in RunConfig."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings."""

    search: bool = False
    """Train the candidates instead of the preset."""
    dataset: str = "mnist"
    """The images."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    keras_epochs: int = 4
    """Epochs of Keras that are timed, half of them before and half after the preset's training."""
    runs: Path = Path("runs/fast_preset")
    """Where the runs go; those that are there are not repeated."""
    out: Path = Path("results/fast_preset")
    """Where tables and figures go."""


def least_bce(images: np.ndarray) -> float:
    """The least possible BCE on images (0..255): the mean entropy of their grey pixels."""
    p = images.astype(np.float64) / 255
    return float(np.mean(entr(p) + entr(1 - p)))


def search(options: Options) -> None:
    """Trains every candidate and writes a table of their validation losses."""
    data = jaxdae.load(options.dataset, manual_dir=options.manual_dir)
    least = least_bce(data.train[-HOLDOUT:])
    rows = []
    for number, fields in enumerate(CANDIDATES):
        config = jaxdae.RunConfig.from_dict({"dataset": options.dataset, "holdout": HOLDOUT} | fields)
        name = ", ".join(f"{key} {value}" for key, value in fields.items())
        run = train_or_resume(config, data, options.runs / str(number))
        val_bce = run.history[-1]["val_bce"]
        rows.append([name, f"{val_bce:.4f}", f"{val_bce - least:.4f}"])
        print(*rows[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "search.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["candidate", "holdout_bce", "above_the_least"], *rows])


def main(options: Options) -> None:
    """Trains the preset, times Keras beside it, and writes the answer."""
    data = jaxdae.load(options.dataset, manual_dir=options.manual_dir)
    reference = json.loads(REFERENCE.read_text())["curve"]
    target = reference[-1]["val_bce"]
    keras = Contestant(
        Job(KERAS, images=len(data.train), dataset=options.dataset, manual_dir=options.manual_dir), ("fit",)
    )
    for _ in range(options.keras_epochs // 2):
        keras.take_turn("fit")
    started = time.perf_counter()
    run = jaxdae.train(jaxdae.preset("fast", dataset=options.dataset), data, progress=True)
    seconds = time.perf_counter() - started
    for _ in range(options.keras_epochs - options.keras_epochs // 2):
        keras.take_turn("fit")
    keras.stop()
    keras_seconds = 100 * statistics.median(keras.times["fit"])

    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run.history))
    figure = draw(run, reference, seconds / run.config.epochs, keras_seconds / 100, target)
    figure.savefig(options.out / "fast_preset.png", dpi=100)
    (options.out / "README.md").write_text(
        report(options, run, target, least_bce(data.test), seconds, keras.times["fit"])
    )
    print((options.out / "README.md").read_text())


def draw(run: jaxdae.Run, reference: list[dict], ours: float, keras: float, target: float) -> Figure:
    """Validation BCE over training time, of both."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([keras * line["epoch"] / 60 for line in reference], [line["val_bce"] for line in reference],
              color="0.5", label="Keras, the classic protocol, 100 epochs")  # fmt: skip
    axes.plot([ours * line["epoch"] / 60 for line in run.history], [line["val_bce"] for line in run.history],
              color="#0072b2", marker=".", label=f"jaxdae --preset fast, {run.config.epochs} epochs")  # fmt: skip
    axes.axhline(target, color="#d55e00", linewidth=1, linestyle="--", label="Keras after 100 epochs")
    axes.set(xlabel="minutes of training and validation", ylabel="BCE on noisy test images", xscale="log")
    axes.set_ylim(target - 0.002, 0.115)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def report(options: Options, run: jaxdae.Run, target: float, least: float, seconds: float, keras: list[float]) -> str:
    """The README of the results."""
    reached = [line["epoch"] for line in run.history if line["val_bce"] <= target]
    last, ratio = run.history[-1], seconds / (100 * statistics.median(keras))
    searched = list(csv.reader((options.out / "search.csv").open()))
    fields = {name: value for name, value in jaxdae.config.PRESETS["fast"].items() if name != "dataset"}
    when = f"reached in epoch {reached[0]}" if reached else "not reached"
    answer = (
        f"After {run.config.epochs} epochs the validation BCE is {last['val_bce']:.4f}; that of Keras after 100, "
        f"{target:.4f}, is {when}.\nThe whole training, "
        f"with its compilation and validation, takes {seconds / 60:.1f} minutes here: {ratio:.3f} of the "
        f"{100 * statistics.median(keras) / 60:.0f} minutes that 100 epochs of Keras take."
    )
    rows = [
        [str(line["epoch"]), f"{line['train_bce']:.4f}", f"{line['val_bce']:.4f}", f"{line['val_psnr']:.2f}"]
        for line in run.history
    ]
    table = markdown_table(["epoch", "train BCE", "val BCE", "val PSNR (dB)"], rows)
    return f"""# The fast preset

How soon can the seed experiment's model be as good as the classic protocol makes it in 100 epochs? The architecture
(28,353 parameters) and the test (BCE on the noisy MNIST test images, noise 0.5) are fixed, all else is free.

{answer}

![validation BCE over time](fast_preset.png)

`jaxdae train --preset fast` is {json.dumps(fields)}, with fresh noise.

{table}

Keras (TensorFlow) took {", ".join(f"{t:.0f}" for t in keras)} s for an epoch with validation, half of them before and
half after ours, on the same cores; its curve is that of `experiments/reference/keras_seed_curve.json`. The preset
was chosen before it met the test images.

## The search

Trained on the first 50,000 training images, judged on the last 10,000; "above the least" is the distance from the
entropy of their grey pixels, the least possible BCE (Keras's {target:.4f} is {target - least:.4f} above that of the
test images).

{markdown_table([name.replace("_", " ") for name in searched[0]], searched[1:])}

## How it was made

{provenance(command_line(), f"{seconds / 60:.1f} minutes of training", "0 (model), 0 (evaluation noise)")}

The search: `python experiments/fast_preset.py --search`.
"""


if __name__ == "__main__":
    chosen = tyro.cli(Options, description=__doc__)
    run_script(search if chosen.search else main, chosen)
