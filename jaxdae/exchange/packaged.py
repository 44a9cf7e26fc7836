"""Denoisers by name or path.

The package holds one, `digits`: the classic experiment's, made on MNIST with Gaussian noise of level 0.5.
"""

import os
from importlib import resources
from pathlib import Path

from jaxdae.errors import InputError
from jaxdae.exchange import saved
from jaxdae.models.denoiser import Denoiser
from jaxdae.runs import folder
from jaxdae.runs.run import load_run

PACKAGED = ("digits",)
HOME = Path(str(resources.files("jaxdae"))) / "exchange"


def load_denoiser(name_or_path: str | os.PathLike) -> Denoiser:
    """A denoiser that comes with the package ("digits": MNIST, Gaussian noise of level 0.5), or one of a folder.

    The folder is one that `save_denoiser` or `jaxdae export --to safetensors` wrote, or of a run. Of a run it is the
    member nearest level 0.5 with the lowest seed, with its last weights; `load_run(path).select()` gives the others.
    InputError if it is none of these, damaged, or a run without a checkpoint.
    """
    path = folder_of(name_or_path)
    if saved.is_saved(path):
        return saved.load_saved(path)
    if not (path / folder.CONFIG).exists():
        raise InputError(
            f"{path} is neither a run folder, nor one of a saved denoiser (with {saved.ARCHITECTURE}), nor a packaged "
            f"denoiser ({', '.join(PACKAGED)})"
        )
    run = load_run(path)
    return run.select([run.index()])[0]


def folder_of(name_or_path: str | os.PathLike) -> Path:
    """The folder of a packaged denoiser, for its name; any other path as it is."""
    return HOME / str(name_or_path) if str(name_or_path) in PACKAGED else Path(name_or_path)
