"""Picture files of many types and pages to arrays with black at 0 and white at 1, and back as they were."""

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from jaxdae.data import netpbm, pillow, png, tiff
from jaxdae.data.picture import Picture
from jaxdae.data.picture_files import MAX_PIXELS
from jaxdae.errors import InputError
from jaxdae.paths import require_regular_file

PERCENTILES = (0.1, 99.9)
FAR = 100
"""Values that lie so many ranges outside are no part of a picture (nodata, hot pixels), and stay as they are."""
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
        InputError: it is no file, is damaged or too large, or could not be written back as it was.
    """
    require_regular_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow warns of in a damaged file is said in our own sentence
            found = _read(path, max_pixels)
    except InputError:
        raise
    except Exception as error:  # a damaged file makes the libraries fail in any way
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as a picture: {reason[:200]}") from None
    if not all(page.size for page in found.pages):
        raise InputError(f"{path} cannot be read as a picture: it holds no pixel")
    if not all(np.isfinite(page).all() for page in found.pages if np.issubdtype(page.dtype, np.floating)):
        raise InputError(f"{path} holds values that are not finite; replace them first")
    return in_range(found, value_range or measured(found.pages, found.nodata, found.limit))


def in_range(picture: Picture, value_range: tuple[float, float]) -> Picture:
    """The picture with other values for black and white, the lower first; a WhiteIsZero one keeps its order."""
    low, high = value_range[::-1] if picture.black > picture.white else value_range
    return dataclasses.replace(picture, black=low, white=high)


def left_as_they_are(picture: Picture) -> str:
    """A sentence on the values that are no part of the picture; empty if there are none."""
    deep = [page for page in picture.pages if page.dtype.itemsize > 1]
    kept = sum(int(np.count_nonzero(_scaled(picture, page[rows])[1])) for page in deep for rows in _bands(page))
    ends = f"{picture.black:g} to {picture.white:g}"
    note = f"{kept} values stay as they are: nodata, or further from {ends} than {FAR} times this range"
    return note if kept else ""


def unit_scale(picture: Picture) -> list[Float[np.ndarray, "height width channel"]]:
    """The pages with black at 0 and white at 1; values beyond these stay beyond, those far beyond become 0 or 1."""
    scaled = []
    for page in picture.pages:
        values = np.empty(page.shape, np.float32)
        for rows in _bands(page):
            part, far = _scaled(picture, page[rows])
            values[rows] = np.where(far, part > 0, part)
        scaled.append(values)
    return scaled


def stored(picture: Picture, pages: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pages of `unit_scale` as the file stores them, in its type and clamped to nothing but that type.

    Values far beyond black and white are those of the file.
    """
    values = []
    for page, old in zip(pages, picture.pages, strict=True):
        new = np.empty(page.shape, old.dtype)
        for rows in _bands(page):
            part: np.ndarray = page[rows].astype(_precision(old.dtype))
            part *= picture.white - picture.black
            part += picture.black
            far = _scaled(picture, old[rows])[1]
            new[rows] = np.where(far, old[rows], _as_type(part, old.dtype, picture.limit))
        values.append(new)
    return values


def _scaled(picture: Picture, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stored values with black at 0 and white at 1, and which of them are no part of the picture."""
    scaled: np.ndarray = values.astype(_precision(values.dtype))
    with np.errstate(over="ignore"):
        scaled -= picture.black
        scaled /= picture.white - picture.black
    if values.dtype.itemsize == 1:
        return scaled, np.zeros((1, 1, 1), bool)
    far = np.abs(scaled - 0.5) > FAR + 0.5
    return scaled, far if picture.nodata is None else far | (values == picture.nodata)


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


def measured(pages: Sequence[np.ndarray], nodata: float | None = None, limit: int | None = None) -> tuple[float, float]:
    """The values that stand for black and white: the type's for 8 bits and less, percentiles of the whole file else."""
    kind = pages[0].dtype
    if kind.kind == "b":
        return 0.0, 1.0
    if kind == np.uint8:
        return 0.0, float(limit or 255)
    values = pages[0] if len(pages) == 1 else np.concatenate([page.ravel() for page in pages])
    if nodata is not None and (values == nodata).any():
        values = values[values != nodata]
    low, high = _percentiles(values)
    for end, reached in ((values.min(initial=0), low), (values.max(initial=0), high)):
        rest = values[values != end] if end == reached else values[:0]
        if rest.size:  # one value, often met, far from all others: nodata of which no tag tells
            inner = _percentiles(rest)
            if min(abs(float(end) - x) for x in inner) > FAR * (inner[1] - inner[0]) > 0:
                low, high = inner
    return low, high if high > low else low + 1


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, PERCENTILES) if values.size else (0, 0)
    return float(low), float(high)


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
