"""`Picture`: what all readers and writers of picture files share."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture file in memory."""

    pages: tuple[np.ndarray, ...]
    """Grey or RGB values (height, width, channel), as the file stores them."""
    alpha: tuple[np.ndarray | None, ...]
    """Their transparency, kept as it is."""
    container: str
    """What writes it: "tiff", "png", "netpbm" or "pillow"."""
    kept: dict[str, Any]
    """What its writer takes over: orientation, colour profile, resolution, compression, timing."""
    black: float = 0
    """The stored value that stands for 0."""
    white: float = 1
    """The stored value that stands for 1; smaller than black in a WhiteIsZero file."""
    limit: int | None = None
    """The largest value that the file can store, where that is less than its type's (12 bits in 16)."""
    nodata: float | None = None
    """A value that the file says stands for nothing; it stays."""
    notes: tuple[str, ...] = ()
    """What cannot be kept, in words."""
