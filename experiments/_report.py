"""What every results folder says of how it was made."""

import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path

import jax

import jaxdae
from jaxdae.tables import Row

LIBRARIES = ("jaxdae", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "scikit-image")


def provenance(command: str, duration: str, seed: str) -> str:
    """The command, its duration, the seeds, the versions and the hardware, as a Markdown list."""
    versions = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES if _version(name))
    device = jax.devices()[0]
    hardware = f"{os.cpu_count()} cores of {_processor()}"
    if device.platform != "cpu":
        hardware = f"{jax.device_count()} x {device.device_kind}, {hardware}"
    return "\n".join(
        [
            f"- command: `{command}`",
            f"- duration: {duration}",
            f"- seeds: {seed}",
            f"- versions: Python {platform.python_version()}, {versions}",
            f"- hardware: {hardware}",
        ]
    )


def command_line() -> str:
    """The command that is running, to be run again from the root of the repository."""
    script = Path(sys.argv[0]).resolve().relative_to(Path(__file__).resolve().parents[1])
    return " ".join(["python", str(script), *sys.argv[1:]])


def training_seconds(run: jaxdae.Run, examples: int) -> float:
    """How long the training of a run on so many examples took, by its log: without validation and checkpoints."""
    return sum(examples / line["images_per_second"] for line in run.history)


def duration(trainings: float, measured_since: float) -> str:
    """The seconds of training, and those since a time of `time.perf_counter`, in words."""
    measuring = time.perf_counter() - measured_since
    return f"{trainings / 60:.0f} minutes of training steps, {measuring / 60:.0f} of measuring at the end"


def mean_and_error(row: Row, digits: int, sign: str = "") -> str:
    """The mean of a table row, ± its standard error over seeds, or over images where there is one seed."""
    error = row["se_images"] if row["se_seeds"] is None else row["se_seeds"]
    return f"{row['mean']:{sign}.{digits}f} ± {error:.{digits}f}"


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


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
