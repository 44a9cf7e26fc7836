"""IDX files of images, as MNIST is published, gzipped or not."""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxdae.errors import InputError

IMAGES, LABELS = 2051, 2049
"""The magic numbers of 8-bit values in three dimensions, and in one."""
MOST_UNPACKED = 2**28
"""Bytes that a small gzip file may unpack to."""


def is_idx(path: Path) -> bool:
    """Whether a file is named as IDX files are: images-idx3-ubyte, images.idx3-ubyte or images.idx, also with .gz."""
    return path.name.lower().removesuffix(".gz").endswith(("ubyte", ".idx"))


def parse_idx_images(path: Path, content: bytes) -> UInt8[np.ndarray, "example height width 1"]:
    """The images of an IDX file (magic number 2051), gzipped or not; InputError that names the path if it is none."""
    content = unpacked(path, content)
    header = np.frombuffer(content[:16].ljust(16, b"\0"), ">i4")
    shape = tuple(int(n) for n in header[1:])
    if header[0] == LABELS:
        raise InputError(f"{path} is an IDX file of labels, in one dimension; give the one of images")
    if header[0] != IMAGES or min(shape) < 0 or len(content) != 16 + math.prod(shape):
        raise InputError(
            f"{path} is not an IDX file of images: expected magic number 2051 and 16 bytes more than its pixels, "
            f"got {header[0]} and {len(content)} bytes for {shape} pixels"
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(*shape, 1)


def unpacked(path: Path, content: bytes) -> bytes:
    """The content of a file without its gzip wrapping, if it has one; InputError if that is damaged."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    most = MOST_UNPACKED + 100 * len(content)  # pictures that are all noise or strokes pack tenfold at best
    try:
        with gzip.open(io.BytesIO(content)) as file:
            found = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): it is not a complete gzip file; fetch it again") from None
    if len(found) > most:
        raise InputError(f"{path} is not read: it would unpack to more than {most:,} bytes; give it unpacked")
    return found
