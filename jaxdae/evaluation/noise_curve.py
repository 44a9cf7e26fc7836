"""How the noise of a picture depends on its brightness: its level in the weak texture of bins of equal brightness.

Added Gaussian noise has one level. That of photons and speckle grows with the brightness; noise that was there before
a gamma curve was applied, as in photographs of cameras, shrinks with it.
"""

from typing import NamedTuple

import numpy as np

from jaxdae.evaluation.weak_texture import (
    FEW,
    LEAST_KEPT,
    PATCH,
    clipped_moments,
    gradient_limit,
    means_of,
    texture_of,
)

BINS = 6
MAX_PATCHES = 30_000
"""Patches of a picture that are looked at, evenly spread."""
MIN_PATCHES = 4 * PATCH**2
"""Of a bin, for an estimate."""
ROUNDS, CONVERGED = 12, 5e-3
MAX_SPREAD, MAX_SPREAD_PER_LEVEL = 0.07, 0.4
"""Spread of the level's logarithm by brightness, above which it is no chance: it grows with the level. Of 400 small
photographs with Gaussian noise from 5 to 50 of 255 one exceeds it, and one of 480 of BSD68 and Set12."""


class Bin(NamedTuple):
    """The noise at one brightness."""

    brightness: float
    variance: float
    """Before clipping."""
    patches: int


def of_image(parts: list[np.ndarray], variance: float, clipped: bool) -> list[Bin]:
    """The noise by brightness of an image in blocks, from dark to bright, where there is enough weak texture.

    Args:
        parts: (height, width) blocks on the [0, 1] scale.
        variance: of the noise over all, to start from.
        clipped: whether the noise is clipped to black or white.
    """
    step = max(1, round((sum(part.size for part in parts) / MAX_PATCHES) ** 0.5))
    patches = np.concatenate([_patches(part)[::step, ::step].reshape(-1, PATCH**2) for part in parts])
    texture, means = (
        np.concatenate([values(part).reshape(_patches(part).shape[:2])[::step, ::step].ravel() for part in parts])
        for values in (texture_of, means_of)
    )
    bins = []
    for chosen in np.array_split(np.argsort(means, kind="stable"), BINS):
        found = _of_bin(patches[chosen], texture[chosen], means[chosen], variance, clipped)
        bins += [found] if found else []
    return bins


def depends(bins: list[Bin]) -> bool:
    """Whether the level follows the brightness by more than chance and texture make it."""
    if len(bins) < 2:
        return False
    return abs(_slope_and_spread(bins)[1]) > MAX_SPREAD + MAX_SPREAD_PER_LEVEL * mean_level(bins)


def mean_level(bins: list[Bin]) -> float:
    """The root of the mean variance."""
    return float(np.average([one.variance for one in bins], weights=[one.patches for one in bins]) ** 0.5)


def described(bins: list[Bin]) -> str:
    """What was found, as the end of a sentence."""
    growing = _slope_and_spread(bins)[0] > 0
    cause = "grows with the brightness, as of photons or speckle" if growing else "shrinks with it, as after a gamma"
    first, last = bins[0], bins[-1]
    return (
        f"its noise {cause}: {first.variance**0.5:.3f} where it is dark ({first.brightness:.2f}), "
        f"{last.variance**0.5:.3f} where it is bright ({last.brightness:.2f})"
    )


def _slope_and_spread(bins: list[Bin]) -> tuple[float, float]:
    """The slope of the level's logarithm on the brightness; times the standard deviation of the brightness."""
    weights = np.array([one.patches for one in bins], float)
    weights /= weights.sum()
    brightness = np.array([one.brightness for one in bins])
    logarithm = np.log([one.variance for one in bins]) / 2
    away = brightness - np.sum(weights * brightness)
    spread = float(np.sqrt(np.sum(weights * away**2)))
    slope = float(np.sum(weights * away * logarithm)) / max(spread**2, 1e-9)
    return slope, slope * spread


def _patches(part: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.sliding_window_view(part, (PATCH, PATCH))


def _of_bin(patches: np.ndarray, texture: np.ndarray, means: np.ndarray, variance: float, clipped: bool) -> Bin | None:
    """The noise of patches of alike brightness, as the level of the whole picture is found; None if it is not."""
    clean, kept = np.linspace(0, 1, 201), np.ones(len(means))
    for _ in range(ROUNDS):
        if clipped:
            seen, left = clipped_moments(clean, variance**0.5)
            kept = np.interp(means, seen, left / variance)
        weak = (texture < variance * kept * gradient_limit()) & (kept >= LEAST_KEPT)
        count = int(np.count_nonzero(weak))
        if count < MIN_PATCHES:
            return None
        some = patches[weak] - patches[weak].mean(axis=0)
        least = max(float(np.linalg.eigvalsh(some.T @ some / count)[0]), 1e-10)
        new = least / float(kept[weak].mean()) / (1 - FEW * count**-0.5) ** 2
        done = abs(new - variance) < CONVERGED * variance
        variance = new
        if done:
            break
    return Bin(float(means[weak].mean()), variance, count)
