"""Noise that a file has cut off at black and white, before a denoiser that does not know of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxdae.evaluation.noise_level import blocks

MAX_SHARE = 0.05
"""Of the values at the ends: with less, a denoiser of unclipped noise lost at most half a dB (results/photographs)."""

Picture = Float[np.ndarray, "height width channel"]


def clipped_share(pages: Sequence[Picture]) -> float:
    """The share of the values of pages that are their least or their greatest one.

    Noise that is not cut off reaches its extremes in a few pixels; noise that is has many there. Of large pages blocks
    are looked at.
    """
    parts = [part for page in pages for part in blocks(page)]
    least = min(part.min() for part in parts)
    greatest = max(part.max() for part in parts)
    at_ends = sum(np.count_nonzero((part == least) | (part == greatest)) for part in parts)
    return at_ends / sum(part.size for part in parts)


def clipping_warning(pages: Sequence[Picture]) -> str | None:
    """A sentence if noisy pages are clipped more than a denoiser of unclipped noise can bear, else None.

    Args:
        pages: those of a picture in which white noise was found; of clean ones black and white areas would count.
    """
    share = clipped_share(pages) if pages else 0.0
    if share <= MAX_SHARE:
        return None
    return (
        f"{share:.0%} of its values are black or white, where its noise is cut off; the denoiser was trained on noise "
        "that is not cut off, so that dark areas stay too bright and bright ones too dark"
    )
