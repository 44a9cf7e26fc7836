"""Checks of the arguments of `evaluate` and `measure`, before anything is compiled."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.sharding import Mesh

from jaxdae.arguments import is_number, require_flag, require_instance, require_integer, require_seed, require_sequence
from jaxdae.data.source import require_images, require_noisy_scale, require_unit_range
from jaxdae.errors import InputError, require_name, shown
from jaxdae.models.denoiser import Denoiser
from jaxdae.noise import CORRUPTIONS

_LOAD = "give a list of denoisers, such as [load_denoiser('digits')] or run.denoisers"


def require_evaluation(denoisers: Any, images: Any, *, corruption: Any, members: Any, noisy_target: Any) -> None:
    """Raises InputError unless these arguments of `evaluate` can be what they should be; `measure` checks the rest."""
    if hasattr(denoisers, "dtype") and not hasattr(images, "dtype"):
        raise InputError(f"denoisers is {shown(denoisers)}; did you swap denoisers and images?")
    require_denoisers(denoisers)
    if not len(denoisers):
        raise InputError(f"there is no denoiser to evaluate; {_LOAD}")
    if corruption is not None:
        require_name("corruption", corruption, CORRUPTIONS)
    require_flag("noisy_target", noisy_target)
    if members is None:
        return
    require_sequence("members", members)
    if not len(members):
        raise InputError("there is no member to evaluate; give at least one position, or leave members out")
    for index in members:
        require_integer("member", index)
        if not 0 <= index < len(denoisers):
            raise InputError(f"member {index} does not exist; give 0 to {len(denoisers) - 1}")


def require_denoisers(denoisers: Any) -> None:
    """Raises InputError unless a value is a list of denoisers."""
    if hasattr(denoisers, "denoisers"):
        raise InputError(f"denoisers is {shown(denoisers)}; give its .denoisers")
    if isinstance(denoisers, Denoiser):
        raise InputError("denoisers is one Denoiser; give a list of denoisers, [denoiser]")
    if isinstance(denoisers, (str, Mapping)) or not isinstance(denoisers, (list, tuple)):
        raise InputError(f"denoisers is {shown(denoisers)}; {_LOAD}")
    for index, denoiser in enumerate(denoisers):
        if hasattr(denoiser, "denoisers"):
            raise InputError(f"denoisers[{index}] is {shown(denoiser)}; give its .denoisers")
        way_out = "train it first" if hasattr(denoiser, "noise") else _LOAD
        require_instance(f"denoisers[{index}]", denoiser, Denoiser, way_out)


def require_levels(levels: Any) -> None:
    """Raises InputError unless a value is a list of fixed noise levels."""
    require_sequence("levels", levels)
    if not len(levels):
        raise InputError("there is no test level; give at least one")
    for level in levels:
        if not is_number(level):
            raise InputError(f"test level {shown(level)} is not allowed: give a number, such as 0.5")


def require_measurement(denoisers: Any, images: Any, levels: Any, *, noisy: Any, seed: Any, mesh: Any) -> None:
    """Raises InputError unless these arguments of `measure` can be what they should be."""
    require_denoisers(denoisers)
    require_levels(levels)
    require_images(images)
    require_unit_range(images)
    if noisy is not None:
        require_noisy(noisy, images)
    require_seed(seed)
    if mesh is not None:
        require_instance("mesh", mesh, Mesh, "leave it out for the devices of this process")


def require_noisy(noisy: Any, clean: Any) -> None:
    """Raises InputError unless noisy images are pairs of clean ones, on a scale that they can have."""
    require_images(noisy, "noisy images")
    if tuple(noisy.shape) != tuple(clean.shape):
        raise InputError(
            f"noisy images of shape {tuple(noisy.shape)} are not pairs of images of shape {tuple(clean.shape)}; "
            "give one noisy image of the same size for each"
        )
    require_noisy_scale(np.asarray(noisy), "noisy images")
