"""Whether a picture, or a part of it, is in another one: their largest correlation over places, sizes and flips."""

from collections.abc import Mapping, Sequence

import numpy as np
from skimage.feature import match_template
from skimage.transform import resize

SIDE = 32
"""Of the smaller picture's longer side, in pixels: enough to tell photographs apart, and quick."""
ZOOMS = tuple(2 ** (step / 4) for step in range(9))
"""How many times larger the other picture may be: 1 to 4."""
CONTROL_SHARE = 0.6

Sizes = Sequence[np.ndarray]
"""A picture reduced to every size, the smallest first."""


def sizes(picture: np.ndarray) -> Sizes:
    """A gray picture (height, width), on any scale, as `correlation` takes it."""
    largest = _reduced(picture, round(ZOOMS[-1] * SIDE))
    return [_reduced(largest, round(zoom * SIDE)) for zoom in ZOOMS]


def most_alike(picture: Sizes, others: Mapping[str, Sizes]) -> tuple[str, float]:
    """The name of the other picture with the largest correlation, and this correlation."""
    found = {name: correlation(picture, other) for name, other in others.items()}
    name = max(found, key=lambda name: found[name])
    return name, found[name]


def correlation(first: Sizes, second: Sizes) -> float:
    """The largest normalized correlation of one picture with a part of the other or all of it, flipped or not.

    1 for a picture and a copy of it, near 1 for a part of it at a quarter of its sides or more.
    """
    found = [-1.0]
    for small, large in ((first[0], second), (second[0], first)):
        for image in large:
            if all(np.array(image.shape) >= small.shape):
                found += [match_template(image, one).max() for one in (small, small[:, ::-1])]
    return float(max(found))


def control(picture: np.ndarray) -> float:
    """The correlation of a picture with a part of its own, flipped: what an overlap would look like."""
    rows, columns = (int(CONTROL_SHARE * side) for side in picture.shape)
    return correlation(sizes(picture), sizes(picture[-rows:, -columns:][:, ::-1]))


def _reduced(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture at a size whose longer side has so many pixels."""
    ratio = side / max(picture.shape)
    shape = [max(round(ratio * length), 1) for length in picture.shape]
    return resize(picture.astype(np.float64), shape, anti_aliasing=True)
