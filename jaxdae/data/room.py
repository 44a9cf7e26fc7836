"""How much of a folder may be read: pixels of a picture and bytes of all, before one is unpacked."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from jaxdae.errors import InputError
from jaxdae.memory import available_memory, gigabytes, too_large_for_memory

SHARE = 4
"""Pictures may fill one part in so many of the free memory: a training holds several copies."""
MIN_ROOM = 2**26
"""Bytes that are always granted: what the system says is free is an estimate."""
BYTES_PER_PIXEL = 6
"""What a picture is counted with before its type is known: 16-bit RGB."""


class OutOfRoom(InputError):
    """The pictures of a folder are too large for the memory, all together."""


@dataclasses.dataclass
class Room:
    """What may still be read of a folder; every picture takes some of it."""

    path: Path
    max_pixels: int
    """Of one picture, over all pages."""
    free: float
    """Bytes of memory when the reading began."""
    left: float
    """Bytes that further pictures may take."""

    @classmethod
    def of(cls, path: Path, max_pixels: int) -> "Room":
        """The room for all that a folder or a file holds."""
        known = available_memory()
        free = math.inf if known is None else float(known)
        return cls(path, max_pixels, free, max(free / SHARE, MIN_ROOM))

    @property
    def pixels(self) -> int:
        """How many the next picture file may have."""
        return int(min(self.max_pixels, self.left // BYTES_PER_PIXEL))

    def require(self, file: Path, count: float) -> None:
        """Raises OutOfRoom unless so many bytes of a file may be read."""
        if count > self.left:
            raise self.error(file)

    def take(self, file: Path, values: np.ndarray) -> None:
        """Counts a picture that was read, whose values become floats unless they are of 8 bits."""
        count = values.size * (1 if values.dtype.itemsize == 1 else max(4, values.dtype.itemsize))
        self.require(file, count)
        self.left -= count

    def error(self, file: Path) -> OutOfRoom:
        """The error of a folder that is too large from a file on."""
        share = f"more than a quarter of the {gigabytes(self.free)} that are free"
        reason = "" if self.free == math.inf else f" (up to {file} they fill {share})"
        return OutOfRoom(str(too_large_for_memory(self.path, reason)))
