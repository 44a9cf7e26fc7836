"""Picture files of many types and pages to arrays with black at 0 and white at 1, and back as they were."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdae.data import netpbm, pillow, png, tiff
from jaxdae.data.picture import Picture
from jaxdae.errors import InputError

MAX_PIXELS = 500_000_000
PERCENTILES = (0.1, 99.9)
BAND = 2**22
"""Values that are scaled together."""
WRITERS = {"tiff": tiff.write, "png": png.write, "netpbm": netpbm.write, "pillow": pillow.write}


def read(path: Path, value_range: tuple[float, float] | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads a picture of any number of pages.

    Args:
        path: the file.
        value_range: the stored values that stand for black and white; None: those of up to 8 bits, or else the
            percentiles of PERCENTILES over all pages.
        max_pixels: a file of more pixels, over all pages, is refused.

    Raises:
        InputError: it is damaged, too large, or could not be written back as it was.
    """
    try:
        found = _read(path, max_pixels)
    except InputError:
        raise
    except Exception as error:  # a damaged file makes the libraries fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as a picture: {reason[:200]}") from None
    if not all(np.isfinite(page).all() for page in found.pages if np.issubdtype(page.dtype, np.floating)):
        raise InputError(f"{path} holds values that are not finite; replace them first")
    low, high = value_range or _measured(found)
    if found.black > found.white:
        low, high = high, low
    return dataclasses.replace(found, black=low, white=high)


def unit_scale(picture: Picture) -> list[Float[np.ndarray, "height width channel"]]:
    """The pages with black at 0 and white at 1; values beyond these stay beyond."""
    scaled = []
    for page in picture.pages:
        values = np.empty(page.shape, np.float32)
        for rows in _bands(page):
            part: np.ndarray = page[rows].astype(_precision(page.dtype))
            part -= picture.black
            part /= picture.white - picture.black
            values[rows] = part
        scaled.append(values)
    return scaled


def stored(picture: Picture, pages: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pages of `unit_scale` as the file stores them, in its type and clamped to nothing but that type."""
    values = []
    for page, old in zip(pages, picture.pages, strict=True):
        new = np.empty(page.shape, old.dtype)
        for rows in _bands(page):
            part: np.ndarray = page[rows].astype(_precision(old.dtype))
            part *= picture.white - picture.black
            part += picture.black
            new[rows] = _as_type(part, old.dtype, picture.limit)
        values.append(new)
    return values


def _bands(page: np.ndarray) -> Iterator[slice]:
    """Rows that are scaled together: a picture of 100 megapixels is 0.4 GB as floats, once is enough."""
    step = max(1, BAND * len(page) // page.size)
    return (slice(start, start + step) for start in range(0, len(page), step))


def write(path: Path, picture: Picture, pages: Sequence[np.ndarray]) -> None:
    """Writes new pages on the scale of `unit_scale` in place of a picture's own."""
    WRITERS[picture.container](path, picture, stored(picture, pages))


def _read(path: Path, max_pixels: int) -> Picture:
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise ValueError("it is empty")
    if start == png.SIGNATURE:
        return png.read(path, max_pixels)
    if start[:4] in tiff.SIGNATURES:
        return tiff.read(path, max_pixels)
    if netpbm.is_netpbm(start):
        return netpbm.read(path, max_pixels)
    return pillow.read(path, max_pixels)


def _measured(picture: Picture) -> tuple[float, float]:
    """The values that stand for black and white: the type's for 8 bits and less, percentiles of the whole file else."""
    kind = picture.pages[0].dtype
    if kind.kind == "b":
        return 0.0, 1.0
    if kind == np.uint8:
        return 0.0, float(picture.limit or 255)
    pages = picture.pages
    low, high = np.percentile(pages[0] if len(pages) == 1 else np.concatenate([p.ravel() for p in pages]), PERCENTILES)
    return float(low), float(high if high > low else low + 1)


def _precision(kind: np.dtype) -> type:
    """The floats that hold every value of a type."""
    return np.float32 if kind.itemsize <= 2 else np.float64


def _as_type(values: np.ndarray, kind: np.dtype, limit: int | None) -> np.ndarray:
    if kind.kind == "b":
        return values >= 0.5
    if np.issubdtype(kind, np.integer):
        limits = np.iinfo(kind)
        most = values.dtype.type(limits.max if limit is None else limit)
        if int(most) > limits.max:  # 2^63 - 1 is no float
            most = np.nextafter(most, values.dtype.type(0))
        np.round(values, out=values)
        return np.clip(values, limits.min, most, out=values).astype(kind)
    return values.astype(kind)
