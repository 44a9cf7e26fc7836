"""What changes from frame to frame of a scene beyond its noise: brightness, position, structure.

Two frames of a scene at rest differ by their noise alone. Their difference is then symmetric and white, whatever its
variance is at each pixel, so that its sum over a small window stays within a few of its standard deviations. These are
measured where they matter: from the fine structure of the differences around each window, for signal-dependent noise
in proportion to the brightness, as a median over the frames, so that what passes by once does not count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Frame = Float[np.ndarray, "height width"]
Pair = tuple[np.ndarray, np.ndarray]
"""Two neighboring frames (height, width, channel) on the [0, 1] scale."""

MIN_STANDARD_ERRORS = 6.0
"""A step of the brightness or a shift of fewer may be chance."""
MIN_STEP = 0.01
"""A smaller step of the brightness, in standard deviations of the noise, is passed over."""
MIN_SHIFT = 0.1
"""A smaller shift, in pixels, is passed over."""
SMOOTHING = 5
"""Side of the window, in pixels, that smooths frames before their positions are compared."""
WINDOWS = {3: 7, 5: 9, 9: 15}
"""Sides of the windows in which differences are summed; and of those in which their variance is measured."""
WIDE = 21
"""Side of the window of the least variance, since small windows are often too low by chance."""
BLOCK = 16
"""Side of the blocks in which changes are counted."""
MAX_CHANCE, MAX_OFTEN, OFTEN = 7.0, 6.0, 4
"""Standard deviations that noise alone does not reach in one block, and not in so many blocks."""
MAX_PAIRS = 16
"""Pairs of a sequence whose structure is compared, evenly spread."""
NORMAL_MEDIAN = 0.6745
"""The median of |n| with n ~ N(0, 1)."""


class Change(NamedTuple):
    """How neighboring frames of a sequence differ beyond their noise; 0 where nothing is certain."""

    step: float = 0
    """The largest step of the mean brightness, on the [0, 1] scale."""
    noise: float = 0
    """The standard deviation of the noise there, on the same scale."""
    shift: float = 0
    """The largest shift of the whole picture, in pixels."""
    shifted: int = 0
    """The number of the pair that has it."""
    changed: int = 0
    """In how many blocks the structure changes, in the pair where it does in most."""
    blocks: int = 0
    """Of how many."""
    moved: int = 0
    """The number of the pair that has them."""


def brightness_steps(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, "channel"]:
    """By how much the second frame is brighter, for each channel; 0 where it may be chance or is next to nothing."""
    difference = second.astype(np.float64) - first
    step = difference.mean(axis=(0, 1))
    spread = difference.std(axis=(0, 1))
    error = spread / np.sqrt(difference[..., 0].size)
    certain = np.abs(step) > MIN_STANDARD_ERRORS * error
    return np.where(certain & (np.abs(step) > MIN_STEP * spread / np.sqrt(2)), step, 0.0)


def compare(pairs: Sequence[Pair]) -> Change:
    """Compares the frames of one sequence, all of one size, with their neighbors; channels one by one."""
    change = Change()
    for number, (first, second) in enumerate(pairs):
        steps = brightness_steps(first, second)
        for channel, step in enumerate(steps):
            one, two = (frame[..., channel].astype(np.float64) for frame in (first, second))
            if abs(step) > abs(change.step):
                change = change._replace(step=float(step), noise=float(np.std(two - one)) / np.sqrt(2))
            shift = picture_shift(one, two)
            if shift > change.shift:
                change = change._replace(shift=shift, shifted=number)
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_PAIRS)).astype(int))
    for channel in range(pairs[0][0].shape[-1]):
        frames = [tuple(frame[..., channel].astype(np.float64) for frame in pairs[number]) for number in chosen]
        counts, blocks = changed_blocks(frames)
        most = int(np.argmax(counts))
        if counts[most] > change.changed:
            change = change._replace(changed=counts[most], blocks=blocks, moved=int(chosen[most]))
    return change


def picture_shift(first: Frame, second: Frame) -> float:
    """By how many pixels the whole picture moves, by least squares on its gradient; 0 if that may be chance."""
    if min(first.shape) < SMOOTHING + 4:
        return 0.0
    scene = _means((first + second) / 2, SMOOTHING)
    level = scene[1:-1, 1:-1].ravel()
    down = (scene[2:, 1:-1] - scene[:-2, 1:-1]).ravel() / 2
    right = (scene[1:-1, 2:] - scene[1:-1, :-2]).ravel() / 2
    model = np.stack([np.ones_like(level), level - level.mean(), down, right], axis=1)
    inverse = np.linalg.pinv(model.T @ model)
    margin = SMOOTHING // 2 + 1
    difference = (second - first)[margin:-margin, margin:-margin].ravel()
    found = inverse @ (model.T @ difference)
    weighted = model * (difference - model @ found)[:, None]
    errors = np.sqrt(np.diag(inverse @ (weighted.T @ weighted) @ inverse)[2:])
    if np.all(np.abs(found[2:]) <= MIN_STANDARD_ERRORS * errors):
        return 0.0
    # The difference is smoothed as the scene is, or sharp structure would count for more than its gradient says.
    smooth = _means(second - first, SMOOTHING)[1:-1, 1:-1].ravel()
    shift = float(np.hypot(*(inverse @ (model.T @ smooth))[2:]))
    return shift if shift >= MIN_SHIFT else 0.0


def changed_blocks(pairs: Sequence[tuple[Frame, Frame]]) -> tuple[list[int], int]:
    """In how many blocks the structure changes, for each pair; all 0 if that may be chance. Of how many blocks."""
    differences = [second - first for first, second in pairs]
    differences = [difference - difference.mean() for difference in differences]
    squares = [_fine(difference) ** 2 for difference in differences]
    least = np.median([_means_around(square, WIDE) for square in squares], axis=0)
    scene = np.median([frame for pair in pairs for frame in pair], axis=0)
    brightness = _means_around(scene, 3)
    brightness -= brightness.min() - 1e-9
    excess = [np.zeros((1, 1)) for _ in pairs]
    for side, around in WINDOWS.items():
        if min(scene.shape) < 2 * side:
            continue
        variance = np.median([_means_around(square, around) for square in squares], axis=0)
        brighter = _means_around(brightness, side) / _means_around(brightness, around)
        variance = np.maximum(variance * np.maximum(brighter, 1), least) + 1e-300
        for number, difference in enumerate(differences):
            sums = np.abs(_means_around(difference, side)) * side / np.sqrt(variance)
            usual = max(1.0, float(np.median(sums)) / NORMAL_MEDIAN)  # more, if neighboring pixels' noise correlates
            excess[number] = np.maximum(excess[number], _block_maxima(sums / usual, side // 2))
    often = sum(int(np.count_nonzero(blocks > MAX_OFTEN)) for blocks in excess) >= OFTEN
    if not often and max(blocks.max() for blocks in excess) <= MAX_CHANCE:
        return [0] * len(pairs), excess[0].size
    return [int(np.count_nonzero(blocks > MAX_OFTEN)) for blocks in excess], excess[0].size


def _fine(difference: Frame) -> Frame:
    """A difference less that of its four neighbors, with the variance of white noise kept."""
    padded = np.pad(difference, 1, mode="reflect")
    neighbors = padded[2:, 1:-1] + padded[:-2, 1:-1] + padded[1:-1, 2:] + padded[1:-1, :-2]
    return (difference - neighbors / 4) / np.sqrt(1.25)


def _block_maxima(values: Frame, margin: int) -> Frame:
    """The largest value of each block; none at the border, where windows are not whole."""
    whole = np.zeros_like(values)
    whole[margin:-margin, margin:-margin] = values[margin:-margin, margin:-margin]
    height, width = (min(BLOCK, size) for size in values.shape)
    rows, columns = values.shape[0] // height, values.shape[1] // width
    blocks = whole[: rows * height, : columns * width].reshape(rows, height, columns, width)
    return blocks.max(axis=(1, 3))


def _means(values: Frame, side: int) -> Frame:
    """The mean of every whole window."""
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    return sums / side**2


def _means_around(values: Frame, side: int) -> Frame:
    """The mean of the window around every pixel; beyond the border values are mirrored."""
    return _means(np.pad(values, side // 2, mode="reflect"), side)
