"""The README of a results folder: facts and tables in a template, and how the results were made."""

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jinja2
import numpy as np
import pandas as pd

import jaxdae
from jaxdae.runs import folder

ABOUT = "about.json"
"""The facts that a README states and no table holds: how the results were made, and the options."""
LIBRARIES = ("jaxdae", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-image")
_ROOT = Path(__file__).resolve().parents[1]
_KERAS = _ROOT / "experiments" / "reference" / "keras_classic_curve.json"


def keras_curve() -> list[dict[str, float]]:
    """The losses of the classic script in Keras on MNIST, a line for each epoch."""
    return json.loads(_KERAS.read_text())["curve"]


def write_log(out: Path, run: jaxdae.Run) -> None:
    """Copies the log of a run into a results folder, where `jaxdae.runs.folder.read_history` finds it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / folder.METRICS).write_text("".join(json.dumps(line) + "\n" for line in run.history))


def write_about(out: Path, made: dict[str, str], **facts: Any) -> None:
    """Keeps facts for the README, with those of `provenance`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / ABOUT).write_text(json.dumps({"made": made, **facts}, indent=1) + "\n")


def read_about(out: Path) -> dict[str, Any]:
    """The facts for the README of a results folder.

    Raises:
        InputError: there are none.
    """
    try:
        return json.loads((out / ABOUT).read_text())
    except (OSError, ValueError):
        raise jaxdae.InputError(f"{out} holds no readable {ABOUT}, needed for its README") from None


def write_readme(out: Path, template: str, **facts: Any) -> None:
    """Fills templates/<template>.md.j2 with facts and those of `write_about`; writes and prints it.

    Raises:
        InputError: the folder has no facts.
    """
    about = read_about(out)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ROOT / "experiments" / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"fmt": format, "markdown": markdown}
    text = environment.get_template(f"{template}.md.j2").render(facts, about=about, made=about["made"])
    (out / "README.md").write_text(text)
    print(text)


def markdown(table: pd.DataFrame) -> str:
    """A Markdown table of text cells, the index first; missing cells are blank."""
    header = [table.index.name or "", *table.columns]
    lines = [header, ["---"] * len(header), *table.fillna("").itertuples()]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def provenance(duration: str, seeds: str) -> dict[str, str]:
    """How results were made: the running command, its duration, the seeds, the versions and the hardware."""
    versions = [f"{name} {version}" for name in LIBRARIES if (version := _version(name))]
    device = jax.devices()[0]
    hardware = f"{os.cpu_count()} cores of {_processor()}"
    if device.platform != "cpu":
        hardware = f"{jax.device_count()} x {device.device_kind}, {hardware}"
    return {
        "command": " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(_ROOT)), *sys.argv[1:]]),
        "duration": duration,
        "seeds": seeds,
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "hardware": hardware,
    }


def model_seeds(seeds: Sequence[int]) -> str:
    """The seeds of an experiment, for `provenance`."""
    return f"{', '.join(map(str, seeds))} (models), 0 (noise of the test images)"


def duration(training_seconds: float, measured_since: float) -> str:
    """The duration of an experiment whose measurements began at a time of `time.perf_counter`."""
    measuring = time.perf_counter() - measured_since
    return f"{training_seconds / 60:.0f} minutes of training steps, {measuring / 60:.0f} of measuring at the end"


def training_seconds(run: jaxdae.Run, images: int) -> float:
    """The duration of a run's training steps on so many images, by its log: without validation and checkpoints."""
    rates = [line["images_per_second"] for line in run.history]
    return sum(images / rate for rate in rates if rate)


def reference_scores(denoiser: jaxdae.Denoiser, data: jaxdae.ImageData, images: int = 1000) -> dict[str, float]:
    """A denoiser at level 0.5 on the first images with NumPy's noise of seed 0: a protocol that others can repeat."""
    clean = data.test[:images].astype(np.float32) / 255
    drawn = np.random.default_rng(0).standard_normal(clean.shape)
    noisy = np.clip(clean + 0.5 * drawn, 0, 1).astype(np.float32)
    scores = jaxdae.metrics.score(denoiser(noisy, 0.5 if denoiser.takes_level else None), clean)
    return {name: float(np.mean(values)) for name, values in scores.items()}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
