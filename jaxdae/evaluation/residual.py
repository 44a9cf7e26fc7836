"""Whether what a denoiser removed looks like the noise of the picture."""

import numpy as np
from jaxtyping import Float

from jaxdae.evaluation.noise_level import blocks, clipped_moments

MOST, LEAST, CORRELATED = 1.3, 0.5, 0.15
"""Bounds of `removed`: what right denoisers stay within and wrong ones leave (results/noise_level_estimates)."""

Picture = Float[np.ndarray, "height width channel"]


def removed(noisy: Picture, denoised: Picture, level: float) -> tuple[float, float]:
    """Compares what was removed with white Gaussian noise of a level.

    Args:
        noisy: the picture on the [0, 1] scale, clipped to it or not.
        denoised: the same without its noise.
        level: of the noise, before clipping.

    Returns:
        The size of what was removed over the size of such noise (both root mean squares, clipping counted), and the
        correlation of neighbouring pixels in it (of white noise 0; what belongs to the picture is smooth, near 1).
    """
    grid = np.linspace(0, 1, 201)
    clipped = noisy.min() >= 0 and noisy.max() <= 1
    seen, variance = clipped_moments(grid, level) if clipped else (grid, np.full_like(grid, level**2))
    sums = np.zeros(4)
    for parts in zip(blocks(noisy), blocks(denoised), strict=True):
        before, after = (part.astype(np.float64) for part in parts)
        shift = np.interp(after, grid, seen - grid) if clipped else 0.0  # of the mean, by clipping
        spread = np.interp(after, grid, variance)
        left = before - after - shift
        left -= left.mean()
        sums += np.sum((before - after) ** 2), np.sum(spread + np.square(shift)), 0, 0
        for a, b in ((left[1:], left[:-1]), (left[:, 1:], left[:, :-1])):
            sums += 0, 0, np.sum(a * b), np.sum((a**2 + b**2) / 2)
    return float(np.sqrt(sums[0] / sums[1])), float(sums[2] / max(sums[3], 1e-20))


def fault(size: float, correlation: float) -> str | None:
    """What is wrong with values of `removed`, as a sentence, or None."""
    numbers = f"{size:.2f} times the size of its estimated noise, neighbouring pixels correlate by {correlation:.2f}"
    if size > MOST:
        return f"more was removed than noise ({numbers}): the denoiser may be wrong for this picture"
    if size < LEAST:
        return f"most of the noise was kept ({numbers}): the denoiser may be wrong for this picture"
    if correlation > CORRELATED:
        return f"structure was removed with the noise ({numbers}): the denoiser may be wrong for this picture"
    return None
