"""Patches of weak texture: what the noise level is estimated in, and what clipping leaves of the noise there."""

import functools
from typing import Any

import numpy as np

PATCH = 7
CONFIDENCE = 0.99
"""Share of the patches of pure noise whose gradients are weak enough to be used."""
LEAST_KEPT = 0.6
"""Share of the noise's variance that must survive clipping in a patch that is used."""
FEW = 6.7
"""The least eigenvalue of N overlapping patches of pure noise is (1 - 6.7 / sqrt(N))^2 of the variance (simulated)."""


def clipped_moments(clean: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of `clip(clean + level n, 0, 1)` with n ~ N(0, 1)."""
    from scipy.special import ndtr

    below, above = -clean / level, (1 - clean) / level
    inside = ndtr(above) - ndtr(below)
    low, high = _density(below), _density(above)
    white = ndtr(-above)
    mean = clean * inside + level * (low - high) + white
    square = (clean**2 + level**2) * inside + 2 * clean * level * (low - high) + white
    square += level**2 * (below * low - above * high)
    return mean, np.maximum(square - mean**2, 0)


def _density(x: Any) -> Any:
    return np.exp(-np.square(x) / 2) / np.sqrt(2 * np.pi)


def texture_of(image: np.ndarray) -> np.ndarray:
    """The sum of squared central differences of every patch."""
    across, down = ((image[:, 2:] - image[:, :-2]) / 2) ** 2, ((image[2:] - image[:-2]) / 2) ** 2
    return (window_sums(across, PATCH, PATCH - 2) + window_sums(down, PATCH - 2, PATCH)).ravel()


def means_of(image: np.ndarray) -> np.ndarray:
    """The mean of every patch."""
    return window_sums(image, PATCH, PATCH).ravel() / PATCH**2


def window_sums(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The sum of every window."""
    total = np.pad(image, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    return total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]


@functools.cache
def gradient_limit() -> float:
    """The texture that pure noise of level 1 stays below with `CONFIDENCE`: a gamma variable, after the paper."""
    from scipy.special import gammaincinv

    size = (PATCH, PATCH)
    units = np.eye(PATCH**2).reshape(-1, *size)
    across, down = (units[:, :, 2:] - units[:, :, :-2]) / 2, (units[:, 2:] - units[:, :-2]) / 2
    rows = np.concatenate([across.reshape(len(units), -1), down.reshape(len(units), -1)], axis=1)
    freedom, trace = np.linalg.matrix_rank(rows), np.sum(rows**2)
    return float(gammaincinv(freedom / 2, CONFIDENCE) * 2 * trace / freedom)
