"""Denoising autoencoders in JAX, and a laboratory for noise levels. Names are imported when they are first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxdae import baselines, config, data, evaluation, figures, metrics, model, noise, training
    from jaxdae.config import InputError, RunConfig, preset
    from jaxdae.data import ImageData, load
    from jaxdae.denoising import denoise
    from jaxdae.model import ConvAutoencoder
    from jaxdae.pretrained import load_pretrained
    from jaxdae.runs import Interrupted, Run, load_run, resume, train

__version__ = "0.1.0"

__all__ = [
    "ConvAutoencoder",
    "ImageData",
    "InputError",
    "Interrupted",
    "Run",
    "RunConfig",
    "baselines",
    "config",
    "data",
    "denoise",
    "evaluation",
    "figures",
    "load",
    "load_pretrained",
    "load_run",
    "metrics",
    "model",
    "noise",
    "preset",
    "resume",
    "train",
    "training",
]

_HOME = {
    "ConvAutoencoder": "model",
    "ImageData": "data",
    "InputError": "config",
    "Interrupted": "runs",
    "Run": "runs",
    "RunConfig": "config",
    "denoise": "denoising",
    "load": "data",
    "load_pretrained": "pretrained",
    "load_run": "runs",
    "preset": "config",
    "resume": "runs",
    "train": "runs",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"jaxdae.{_HOME[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"jaxdae.{name}")
    raise AttributeError(f"module 'jaxdae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
