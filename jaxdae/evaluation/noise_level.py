"""The level of the white Gaussian noise in one picture, without its clean version, and whether it can be trusted.

Photographs: Liu, Tanaka and Okutomi, "Single-Image Noise Level Estimation for Blind Denoising" (IEEE TIP 22:5226,
2013): the least eigenvalue of the covariance of the patches with the weakest texture. What is clipped to black and
white has less variance than the noise, which is corrected by the moments of a clipped normal variable. Where clipping
leaves flat black (or white) areas, as in digits, the noise there is half-normal, and its size is the level.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxdae.data.source import is_channels_first, require_scale
from jaxdae.errors import InputError, shown
from jaxdae.evaluation import noise_curve
from jaxdae.evaluation.weak_texture import (
    FEW,
    LEAST_KEPT,
    PATCH,
    clipped_moments,
    gradient_limit,
    means_of,
    texture_of,
    window_sums,
)

BLOCK, BLOCKS_A_SIDE = 256, 4
"""Of larger pictures, that many blocks of this side are used, evenly spread: time and memory are bounded."""
ROUNDS = 15
LEAST_SIDE = 16
LEAST_LEVEL = 0.5 / 255
"""Less is no noise, or rounding to 8 bits."""
LEAST_BLACK = 150
"""Pixels of flat black areas, and their shares of all, that make an estimate; the lower where texture makes none."""
BLACK_SHARE, LEAST_BLACK_SHARE = 0.25, 0.1
WHITEST = 1.15
"""Median over least eigenvalue, above which the noise is correlated (white noise on photographs: at most 1.1)."""
IMPULSES = 0.02
"""Share of single black and white pixels, above which they are the noise (Gaussian noise: at most 0.001)."""
HEAVY = 0.5
"""Median over root mean square of the noise (both for a normal 1), below which few pixels have most of it."""
NONE_FOUND = "no white noise stands out in it: it is clean, compressed, resized, or almost all black or white"


class Estimate(NamedTuple):
    """A noise level, and whether it can be trusted."""

    level: float
    """The standard deviation on the [0, 1] scale, before clipping; NaN if there is none."""
    trusted: bool
    reason: str = ""
    """Why it cannot be trusted, as the end of a sentence."""
    usable: bool = False
    """It is the mean of a level that depends on the brightness: no one level is right, but this one is nearest."""


def estimate_noise_level(image: Any) -> Estimate:
    """Estimates the level of additive white Gaussian noise in one image.

    Args:
        image: (height, width) or (height, width, channel) floats on the [0, 1] scale, clipped to it or not.

    Returns:
        The median over the channels, which are estimated one by one; not trusted if most channels are not. It is never
        trusted where the noise is seen to be of another kind: correlated between pixels (JPEG, resized pictures),
        single black and white pixels, or a level that depends on the brightness (photons, speckle, a gamma curve), of
        which the mean over the brightness is given. InputError for another shape or type.
    """
    try:
        pixels = np.asarray(image)
    except ValueError:
        raise InputError(f"the noise level of {shown(image)} of unequal rows cannot be estimated") from None
    if pixels.ndim not in (2, 3) or 0 in pixels.shape or not np.issubdtype(pixels.dtype, np.floating):
        raise InputError(
            f"the noise level of {pixels.dtype} of shape {pixels.shape} cannot be estimated; give (height, width) or "
            "(height, width, channel) floats on the [0, 1] scale"
        )
    if pixels.ndim == 3 and is_channels_first((1, *pixels.shape)):
        raise InputError(
            f"an image of shape {pixels.shape} seems to have its channels first; give np.moveaxis(image, 0, -1)"
        )
    require_scale(pixels, "the values of an image")
    channels = np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)
    return combine([_of_channel(channel) for channel in channels])


def combine(estimates: list[Estimate]) -> Estimate:
    """One estimate from those of channels or pages: the median of the trusted ones, if they are at least half.

    Else that of the usable ones too, which can then be used alike, for the first reason of these.
    """
    trusted = [estimate.level for estimate in estimates if estimate.trusted]
    if 2 * len(trusted) >= len(estimates):
        return Estimate(float(np.median(trusted)), True)
    doubtful = [estimate for estimate in estimates if estimate.usable]
    levels = trusted + [estimate.level for estimate in doubtful]
    if 2 * len(levels) >= len(estimates):
        return Estimate(float(np.median(levels)), False, doubtful[0].reason, usable=True)
    return next(estimate for estimate in estimates if not estimate.trusted and not estimate.usable)


def blocks(image: np.ndarray) -> Iterator[np.ndarray]:
    """The image, or evenly spread blocks of a large one."""
    height, width = image.shape[:2]
    if height * width <= (BLOCK * BLOCKS_A_SIDE) ** 2:
        yield image
        return
    tall, wide = min(height, BLOCK), min(width, BLOCK)
    rows = min(BLOCKS_A_SIDE, height // tall)
    columns = min(BLOCKS_A_SIDE**2 // rows, width // wide)
    rows = min(BLOCKS_A_SIDE**2 // columns, height // tall)
    for top in np.linspace(0, height - tall, rows).astype(int):
        for left in np.linspace(0, width - wide, columns).astype(int):
            yield image[top : top + tall, left : left + wide]


def _of_channel(image: np.ndarray) -> Estimate:
    if min(image.shape) < LEAST_SIDE:
        return Estimate(np.nan, False, f"it is too small ({image.shape[0]}x{image.shape[1]})")
    parts = [np.asarray(part, np.float64) for part in blocks(image)]
    if not all(np.isfinite(part).all() for part in parts):
        return Estimate(np.nan, False, "it has values that are not finite")
    low, high = min(part.min() for part in parts), max(part.max() for part in parts)
    if low == high:
        return Estimate(np.nan, False, "all its pixels are equal")
    sides = [parts] if low == 0 else []
    sides += [[1 - part for part in parts]] if high == 1 else []
    for dark in sides:
        if found := _of_black_areas(dark, BLACK_SHARE):
            return found
    textured = _of_weak_texture(parts, clipped=bool(sides))
    if not textured.trusted:  # smaller black areas are less certain to be black, but better than nothing
        for dark in sides:
            if (found := _of_black_areas(dark, LEAST_BLACK_SHARE)) and found.trusted:
                return found
    return textured


def _of_weak_texture(parts: list[np.ndarray], clipped: bool) -> Estimate:
    """The level by the patches of weakest texture: the texture and the level are found in turn."""
    patches = [np.lib.stride_tricks.sliding_window_view(part, (PATCH, PATCH)).reshape(-1, PATCH**2) for part in parts]
    texture, means = (np.concatenate([f(part) for part in parts]) for f in (texture_of, means_of))
    variance = max(float(np.linalg.eigvalsh(_covariance(patches, np.ones(len(means), bool)))[0]), 1e-10)
    clean = np.linspace(0, 1, 201)
    kept = np.ones(len(means))
    for _ in range(ROUNDS):
        if clipped:
            seen, left = clipped_moments(clean, variance**0.5)
            kept = np.interp(means, seen, left / variance)
        weak = (texture < variance * kept * gradient_limit()) & (kept >= LEAST_KEPT)
        count = int(np.count_nonzero(weak))
        if count < 8 * PATCH**2:
            return Estimate(np.nan, False, NONE_FOUND)
        spectrum = np.linalg.eigvalsh(_covariance(patches, weak))
        few = 1 - FEW * count**-0.5
        new = max(float(spectrum[0]), 1e-10) / float(kept[weak].mean()) / few**2
        done = abs(new - variance) < 2e-3 * variance
        variance = new
        if done:
            break
    level = variance**0.5
    if level < LEAST_LEVEL:
        return Estimate(level, False, NONE_FOUND)
    if np.median(spectrum) * few**2 > WHITEST * spectrum[0]:
        return Estimate(level, False, "its noise is correlated from pixel to pixel, as after compression or resizing")
    if _of_single_pixels(parts, level):
        return Estimate(level, False, "much of its noise is single pixels (salt and pepper, dead pixels)")
    curve = noise_curve.of_image(parts, variance, clipped)
    if noise_curve.depends(curve):
        return Estimate(noise_curve.mean_level(curve), False, noise_curve.described(curve), usable=True)
    return Estimate(level, True)


def _of_single_pixels(parts: list[np.ndarray], level: float) -> bool:
    """Whether few pixels make up the noise, by their distance from the median of 3x3."""
    away, extreme = [], []
    for part in parts:
        windows = np.lib.stride_tricks.sliding_window_view(part, (3, 3))
        middle = part[1:-1, 1:-1]
        distance = np.abs(middle - np.median(windows.reshape(*middle.shape, 9), axis=-1))
        away.append(distance.ravel())
        extreme.append(((distance > 4 * level) & ((middle <= 0) | (middle >= 1))).ravel())
    usual = np.median(np.concatenate(away)) / NORMAL_MEDIAN
    return bool(usual < HEAVY * level or np.concatenate(extreme).mean() > IMPULSES)


NORMAL_MEDIAN = 0.6745
"""The median of |n| with n ~ N(0, 1)."""


def _covariance(patches: list[np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """The covariance of the chosen patches, block by block."""
    total, mean, count, start = np.zeros((PATCH**2, PATCH**2)), np.zeros(PATCH**2), 0, 0
    for part in patches:
        some = part[chosen[start : start + len(part)]]
        start += len(part)
        total += some.T @ some
        mean += some.sum(axis=0)
        count += len(some)
    return total / count - np.outer(mean, mean) / count**2


def _of_black_areas(parts: list[np.ndarray], share: float) -> Estimate | None:
    """The level by flat black areas, in which half the pixels are clipped to 0 and the others are half-normal.

    A pixel is chosen by its neighbours alone, those of the other colour of a chessboard, so that the choice does not
    depend on its own noise. None where such areas are small.
    """
    values, zeros, means, counts = (np.concatenate(x) for x in zip(*map(_neighbours, parts), strict=True))
    near = (zeros >= 0.3) & (zeros <= 0.8)
    positive = values[near & (values > 0)]
    if len(positive) < LEAST_BLACK // 2:
        return None
    level = float(np.median(positive)) / NORMAL_MEDIAN
    for _ in range(ROUNDS):
        dark = near & (means <= level * (HALF_MEAN + HALF_DEVIATION / np.sqrt(counts)))
        chosen = values[dark]
        positive = chosen[(chosen > 0) & (chosen < 3 * level)]
        if len(chosen) < max(LEAST_BLACK, share * len(values)) or len(positive) < LEAST_BLACK // 4:
            return None
        new = float(np.sqrt(np.mean(positive**2) / WITHIN_THREE))
        done = abs(new - level) < 1e-3 * level
        level = new
        if done:
            break
    if abs(np.mean(chosen == 0) - 0.5) > 0.1:
        return None
    shape = float(np.median(positive)) / NORMAL_MEDIAN / level
    if not 0.75 < shape < 1.25:
        return Estimate(level, False, "its noise is not normal where it is black or white")
    return Estimate(level, True)


HALF_MEAN, HALF_DEVIATION = 0.3989, 0.5838
"""Mean and standard deviation of max(n, 0) with n ~ N(0, 1)."""
WITHIN_THREE = 0.9733
"""The mean of n^2 with |n| < 3."""


def _neighbours(image: np.ndarray) -> tuple[np.ndarray, ...]:
    """Every pixel, and of its neighbours of the other colour of a chessboard: share of zeros, mean, number."""
    height, width = image.shape
    white = np.add.outer(np.arange(height), np.arange(width)) % 2 == 0
    padded = [np.pad(x, PATCH // 2) for x in ((image == 0) * 1.0, image, np.ones_like(image))]
    board = np.pad(white, PATCH // 2, mode="reflect")
    both = []
    for colour in (board, ~board):
        both.append([window_sums(x * colour, PATCH, PATCH) for x in padded])
    zeros, total, count = (np.where(white, other, own) for own, other in zip(*both, strict=True))
    return image.ravel(), (zeros / count).ravel(), (total / count).ravel(), count.ravel()
