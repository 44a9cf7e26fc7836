"""TIFF files: pages in their own type, and the tags that go over to a result."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from jaxdae.data.picture_files import require_pixels

KEPT = (270, 274, 305, 306, 315, 700, 33432)
"""Description, orientation, software, date, artist, XMP, copyright."""
PLAIN = (0, 1, 2)
"""WhiteIsZero, BlackIsZero, RGB; other photometrics need Pillow's conversions."""

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it says of a damaged file is said in our own sentence


def read(path: Path, max_pixels: int) -> tuple[list[np.ndarray], list[np.ndarray | None], dict[str, Any]] | None:
    """Pages (height, width, channel), their extra samples and how to write them; None if Pillow must convert them.

    InputError if the file has too many pixels, ValueError if it is damaged or cannot be read exactly.
    """
    with tifffile.TiffFile(path) as file:
        pages = [page.aspage() for page in file.pages]
        if not pages:
            raise ValueError("it holds no page")
        require_pixels(path, sum(page.imagewidth * page.imagelength for page in pages), max_pixels)
        if file.is_imagej and (file.imagej_metadata or {}).get("images", 1) > len(pages):
            raise ValueError("its frames have no pages of their own; save it as a multi-page TIFF")
        if any(int(page.photometric) not in PLAIN or page.dtype == bool for page in pages):
            if any(page.bitspersample > 8 for page in pages):
                raise ValueError("its colour space has more than 8 bits; convert it to 16-bit RGB first")
            return None
        arrays = [_pixels(path, page, number) for number, page in enumerate(pages)]
        first = pages[0]
        how = {
            "file": {"bigtiff": file.is_bigtiff, "byteorder": file.byteorder},
            "pages": [_tags(page) for page in pages],
            "white_is_zero": int(first.photometric) == 0,
            "lost": "its smaller copies (a pyramid)" if any(page.subifds for page in pages) else "",
        }
    channels = [3 if int(page.photometric) == 2 else 1 for page in pages]
    extra = [a[..., c:] if a.shape[-1] > c else None for a, c in zip(arrays, channels, strict=True)]
    return [a[..., :c] for a, c in zip(arrays, channels, strict=True)], extra, how


def write(path: Path, pages: list[np.ndarray], extra: list[np.ndarray | None], how: dict[str, Any]) -> None:
    """Writes pages with the tags of those that they come from."""
    with tifffile.TiffWriter(path, **how["file"]) as file:
        for page, more, tags in zip(pages, extra, how["pages"], strict=True):
            values = page if more is None else np.concatenate([page, more], axis=-1)
            file.write(values[..., 0] if values.shape[-1] == 1 else values, metadata=None, planarconfig=None if
                       values.shape[-1] == 1 else "contig", **tags)  # fmt: skip


def _pixels(path: Path, page: Any, number: int) -> np.ndarray:
    try:
        values = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        values = _by_pillow(path, page, number)
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"its pages have the axes {page.axes}; save it as a multi-page TIFF of grey or RGB")
    values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
    return values[..., None] if values.ndim == 2 else values


def _by_pillow(path: Path, page: Any, number: int) -> np.ndarray:
    """Compressions that tifffile does not know alone, where Pillow keeps every bit."""
    with Image.open(path) as image:
        image.seek(number)
        values = np.asarray(image)
        if (page.dtype.itemsize > 1 and image.mode not in ("I;16", "I;16B", "I", "F")) or values.size != page.size:
            raise ValueError(f"compression {page.compression.name} of 16-bit colour; save it with Deflate or without")
        values = values.astype(page.dtype)
    return np.moveaxis(values, -1, 0) if page.axes == "SYX" else values


def _tags(page: Any) -> dict[str, Any]:
    tags: dict[str, Any] = {
        "photometric": int(page.photometric),
        "compression": None if page.compression == 1 else "zlib",
        "extrasamples": [int(sample) for sample in page.extrasamples] or None,
        "extratags": [
            (tag.code, tag.dtype, tag.count, tag.value, True) for code in KEPT if (tag := page.tags.get(code))
        ],
    }
    if 34675 in page.tags:
        tags["iccprofile"] = page.tags[34675].value
    if 282 in page.tags and 283 in page.tags:
        tags["resolution"] = (page.tags[282].value, page.tags[283].value)
        tags["resolutionunit"] = int(page.tags[296].value) if 296 in page.tags else 2
    return tags
