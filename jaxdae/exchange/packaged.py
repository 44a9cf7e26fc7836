"""Denoisers by name or path.

The package holds two: `digits`, the classic experiment's, made on MNIST with Gaussian noise of level 0.5, and `photos`,
a blind one for photographs with Gaussian noise of 0 to 55 of 255.
"""

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from jaxdae import rng
from jaxdae.arguments import require_path
from jaxdae.errors import InputError
from jaxdae.evaluation.noise_level import Estimate
from jaxdae.exchange import levels, saved
from jaxdae.models.denoiser import Denoiser
from jaxdae.runs import folder
from jaxdae.runs.run import load_run

PACKAGED = ("digits", "photos")
SMALL = 40
"""Pictures of at most so many pixels a side are taken for digits."""
KERAS = (".keras", ".h5", ".hdf5")
"""How the files of Keras end."""
HOME = Path(str(resources.files("jaxdae"))) / "exchange"


@rng.pinned()
def load_denoiser(name_or_path: str | os.PathLike) -> Denoiser:
    """A denoiser that comes with the package ("digits", "photos"), or one of a folder or file.

    The folder is one that `save_denoiser` or `jaxdae export --to safetensors` wrote, or of a run. Of a run it is the
    member nearest level 0.5 with the lowest seed, with its last weights; `load_run(path).select()` gives the others.
    A file is one of Keras (.keras, .h5), as `jaxdae import` reads it.
    InputError if it is none of these, damaged, or a run without a checkpoint.
    """
    require_path("path", name_or_path, f", or a name ({', '.join(PACKAGED)})")
    path = folder_of(name_or_path)
    if is_keras(path):
        from jaxdae.exchange.keras import read_keras  # h5py is loaded where it is needed

        return read_keras(path).denoiser
    if saved.is_saved(path):
        return saved.load_saved(path)
    if not (path / folder.CONFIG).exists():
        raise InputError(
            f"{path} is neither a run folder, nor one of a saved denoiser (with {saved.ARCHITECTURE}), nor a packaged "
            f"denoiser ({', '.join(PACKAGED)}), nor a file of Keras ({', '.join(KERAS)})"
        )
    run = load_run(path)
    return run.select([run.index()])[0]


def is_keras(path: Path) -> bool:
    """Whether a path is that of a file of Keras, by its name."""
    return path.suffix.lower() in KERAS and not path.is_dir()


def is_denoiser(name_or_path: str | os.PathLike) -> bool:
    """Whether it is a denoiser by itself, a packaged or saved one or a file of Keras, not a run."""
    path = folder_of(name_or_path)
    return is_keras(path) or saved.is_saved(path)


def folder_of(name_or_path: str | os.PathLike) -> Path:
    """The folder of a packaged denoiser, for its name; any other path as it is."""
    return HOME / str(name_or_path) if str(name_or_path) in PACKAGED else Path(name_or_path)


def fitting(packaged: Sequence[Denoiser], pages: Sequence[np.ndarray]) -> Denoiser:
    """Of all packaged denoisers the one for a picture, by its pages (height, width, channel)."""
    small = max(side for page in pages for side in page.shape[:2]) <= SMALL
    return packaged[PACKAGED.index("digits" if small else "photos")]


def misfit(denoiser: Denoiser, found: Estimate) -> str:
    """A sentence if the noise of a picture is certainly stronger than a packaged denoiser was made for; else empty."""
    high = denoiser.about.noise.level[1]
    if not (found.trusted or found.usable) or found.level <= high * levels.TOLERANCE:
        return ""
    return (
        f"noise of level {found.level:.2g} by estimate, more than the packaged denoiser was made for ({high:.2g}): "
        "the result may be poor; name another with --run"
    )
