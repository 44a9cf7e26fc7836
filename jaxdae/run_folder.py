"""A run's folder on disk: its configuration, its log, and whose images they are of. Nothing is left half written."""

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdae.config import InputError, RunConfig
from jaxdae.data import ImageData

CONFIG, METRICS, CHECKPOINTS, FIGURES = "config.json", "metrics.jsonl", "checkpoints", "figures"
IMAGES = "images_sha256"
"""The entry of the configuration file that tells the images of a run from others."""


def load_config(path: Path) -> RunConfig:
    """The configuration of a run folder.

    Raises:
        InputError: the folder holds no run, or its configuration is damaged.
    """
    try:
        fields = json.loads((path / CONFIG).read_text())
        fields.pop(IMAGES, None)
        return RunConfig.from_dict(fields)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{path} is no run folder (it has no {CONFIG}); `jaxdae train --out {path}` makes one"
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path / CONFIG} cannot be read: {error}") from None


def write_config(path: Path, config: RunConfig, data: ImageData) -> None:
    """Writes the configuration of a run, and the digest of its images."""
    fields = config.to_dict() | {IMAGES: fingerprint(data)}
    _write_atomically(path / CONFIG, json.dumps(fields, indent=2) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; the rest of a line that a crash cut short is left out."""
    log = path / METRICS
    if not log.exists():
        return []
    try:
        return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    except ValueError as error:
        raise InputError(f"{log} is damaged ({error}); mend or delete the line") from None


def append_history(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Adds lines to a run's log."""
    with (path / METRICS).open("a") as log:
        log.write("".join(map(_line, lines)))


def continue_log(
    path: Path, config: RunConfig, history: list[dict[str, Any]], epochs_done: float
) -> list[dict[str, Any]]:
    """Drops what the log has beyond the newest checkpoint, and returns the rest.

    Raises:
        InputError: the checkpoint is beyond the last epoch that is asked for.
    """
    if epochs_done > config.epochs:
        raise InputError(f"{path} is at epoch {math.ceil(epochs_done)} already; --epochs {config.epochs} is too few")
    history = [line for line in history if line["epoch"] <= epochs_done]
    _write_atomically(path / METRICS, "".join(map(_line, history)))
    return history


def clear(path: Path, overwrite: bool) -> None:
    """Removes the run in a folder, if it is to be replaced.

    Raises:
        InputError: it is not, or the folder holds something else.
    """
    if not (path / CONFIG).exists():
        raise InputError(f"{path} exists and is not a run folder; choose another one with --out")
    if not overwrite:
        raise InputError(f"{path} already holds a run; continue it with --resume {path} or replace it with --overwrite")
    for name in (CHECKPOINTS, FIGURES):
        shutil.rmtree(path / name, ignore_errors=True)
    for name in (METRICS, CONFIG):
        (path / name).unlink(missing_ok=True)


def check_images(path: Path, data: ImageData) -> None:
    """Makes sure that images are those of a run.

    Raises:
        InputError: they are not.
    """
    saved = json.loads((path / CONFIG).read_text()).get(IMAGES)
    if saved not in (None, fingerprint(data)):
        raise InputError(f"{path} was trained on other images than these; from Python, give its own with data=")


def fingerprint(data: ImageData) -> str:
    """The SHA-256 digest of a dataset's images and shapes."""
    digest = hashlib.sha256()
    for images in data:
        digest.update(repr(images.shape).encode())
        digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry) + "\n"
