"""Denoisers by name or path.

The package holds one, `digits`: the classic experiment's, made on MNIST with Gaussian noise of level 0.5.
"""

import json
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdae import components
from jaxdae.errors import InputError
from jaxdae.models import MODELS
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.noise import Noise, check_noise
from jaxdae.runs import folder
from jaxdae.runs.files import atomic, write_text
from jaxdae.runs.run import load_run

PACKAGED = ("digits",)
HOME = Path(str(resources.files("jaxdae"))) / "exchange"


def load_denoiser(name_or_path: str | os.PathLike) -> Denoiser:
    """A denoiser that comes with the package ("digits": MNIST, Gaussian noise of level 0.5), or one of a run folder.

    Of a run it is the member nearest level 0.5 with the lowest seed, with its last weights; `load_run(path).select()`
    gives the others. InputError if it is neither, or the run has no checkpoint.
    """
    if str(name_or_path) in PACKAGED:
        return _load_packaged(HOME / str(name_or_path))
    path = Path(name_or_path)
    if not (path / folder.CONFIG).exists():
        raise InputError(f"{path} is neither a run folder nor a packaged denoiser ({', '.join(PACKAGED)})")
    run = load_run(path)
    return run.select([run.index()])[0]


def _load_packaged(path: Path) -> Denoiser:
    saved: dict[str, Any] = json.loads((path / "about.json").read_text())
    with np.load(path / "params.npz") as arrays:
        params = unflatten_dict({name: arrays[name] for name in arrays}, sep="/")
    module = components.from_dict(saved.pop("model"), MODELS)
    noise = check_noise(components.make(Noise, saved.pop("noise")))
    return Denoiser(module, params, About(noise, **components.with_tuples(saved)))


def save_packaged(denoiser: Denoiser, name: str = "digits", home: Path = HOME) -> Path:
    """Writes a denoiser to a folder that the package holds, and returns the folder."""
    path = home / name
    with atomic(path / "params.npz") as temporary:
        np.savez(temporary, **flatten_dict(denoiser.params, sep="/"))
    noise = {"noise": components.to_dict(denoiser.about.noise)}
    fields = {"model": components.to_dict(denoiser.module, MODELS)} | vars(denoiser.about) | noise
    write_text(path / "about.json", json.dumps(fields, indent=1) + "\n")
    return path
