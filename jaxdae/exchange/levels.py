"""The noise level of picture files: estimated, told to a denoiser or choosing it, and compared with the result."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxdae.errors import InputError
from jaxdae.evaluation.clipping import clipping_warning
from jaxdae.evaluation.noise_level import Estimate, combine, estimate_noise_level
from jaxdae.evaluation.residual import fault, removed
from jaxdae.models.denoiser import Denoiser
from jaxdae.noise import Noise, format_level

TOLERANCE = 1.1
"""As far as an estimate may be wrong."""
PAGES = 3
"""Pages of a file that are looked at: the first, the last, and between."""


def some_pages(pages: int) -> list[int]:
    """The numbers of the pages that are looked at."""
    return sorted({int(number) for number in np.linspace(0, pages - 1, PAGES)})


def estimate_pages(pages: Sequence[np.ndarray]) -> dict[int, Estimate]:
    """The levels of some pages, by their numbers."""
    return {number: estimate_noise_level(pages[number]) for number in some_pages(len(pages))}


def level_of_file(path: Path, found: Mapping[int, Estimate]) -> float:
    """The level of a file from those of its pages, their median; InputError where that can be of no use."""
    level = combine(list(found.values()))
    if not level.trusted and not level.usable:
        raise InputError(f"the noise level of {path} cannot be estimated, {level.reason}; give it with --noise-level")
    return level.level


def dependence(found: Mapping[int, Estimate]) -> str:
    """A sentence where the level of a file is a mean, since it depends on the brightness; else empty."""
    level = combine(list(found.values()))
    if not level.usable:
        return ""
    return f"{level.reason}; its mean {level.level:.3f} is used, --noise-level gives another"


def nearest_denoiser(denoisers: Sequence[Denoiser], level: float) -> Denoiser:
    """The first denoiser whose training level is nearest."""
    return min(denoisers, key=lambda denoiser: abs(np.mean(denoiser.about.noise.level) - level))


def check_auto(denoisers: Sequence[Denoiser]) -> None:
    """InputError unless the level of pictures can be estimated for these denoisers, and is of use to them."""
    for denoiser in denoisers:
        corruption = denoiser.about.noise.corruption
        if corruption != "gaussian":
            raise InputError(f"the level of {corruption} noise cannot be estimated; give it with --noise-level")
    if len(denoisers) == 1 and not denoisers[0].takes_level:
        raise InputError("this denoiser takes no noise level; leave --noise-level out")


def said(level: float, denoiser: Denoiser, chosen: bool) -> str:
    """The line on an estimated level."""
    line = f"  noise level {level:.3f} ({255 * level:.0f} of 255), estimated"
    low, high = denoiser.about.noise.level
    if chosen:
        return f"{line}: {denoiser.about.origin}"
    beyond = not low / TOLERANCE <= level <= high * TOLERANCE
    return f"{line}, beyond {format_level((round(low, 3), round(high, 3)))} of the training" if beyond else line


def clipping_doubt(noise: Noise, noisy: Sequence[np.ndarray], found: Mapping[int, Estimate]) -> str | None:
    """What clipping does to a denoiser trained on `noise`, as a sentence; None if nothing, or its noise was clipped.

    Only pages whose noise is seen count: black and white areas of clean ones are no clipped noise.
    """
    if noise.clip:
        return None
    return clipping_warning([noisy[number] for number, estimate in found.items() if estimate.trusted])


def doubt(noisy: Sequence[np.ndarray], denoised: Sequence[np.ndarray], found: Mapping[int, Estimate]) -> str | None:
    """What was removed beside the noise of pages, or not removed of it, as a sentence; None if nothing is wrong.

    Of the first page where something is. Pages whose level cannot be trusted are passed over.
    """
    for number, estimate in found.items():
        said = fault(*removed(noisy[number], denoised[number], estimate.level)) if estimate.trusted else None
        if said:
            return said
    return None
