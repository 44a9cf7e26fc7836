"""TIFF files: pages in their own type, and the tags that go over to a result."""

import contextlib
import io
import logging
import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, TiffImagePlugin

from jaxdae.data import pillow
from jaxdae.data.picture import Picture
from jaxdae.data.picture_files import require_pixels

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
COMPRESSIONS = {1: None, 5: "lzw", 32773: "packbits", 34925: "lzma", 50000: "zstd", 34926: "zstd"}
"""What is kept; others, which lose or are only for 1 bit, become Deflate."""
FAX = (2, 3, 4)
"""Compressions of 1 bit that become Group 4."""
FAX_TAGS = {1: "B", 2: "s", 3: "H", 4: "I", 7: "B"}
"""The types of tags that go over to them, in letters of `struct`."""
MADE_ANEW = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 282, 283, 284, 288, 289, 292,
    293, 296, 317, 320, 321, 322, 323, 324, 325, 330, 332, 333, 334, 336, 337, 338, 339, 340, 341, 347, 512, 513, 514,
    515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34675,
}  # fmt: skip
"""Tags of how the pixels are laid out, the resolution and the colour profile."""
POINTERS = {34665: "EXIF", 34853: "GPS", 40965: "interoperability"}
"""Tags that point to a directory elsewhere in the file."""
GDAL_NODATA = 42113
ALPHA = (1, 2)
"""Extra samples that are transparency."""
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR = 0, 1, 2, 6

BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
"""What undoes an orientation."""
SEEN = (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, 3, YCBCR)
"""Colour spaces that lose nothing by becoming grey or RGB; 3 is a palette."""

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it says of a damaged file is said in our own sentence


def read(path: Path, max_pixels: int) -> Picture:
    """Reads a TIFF file of any number of pages; those of unusual colour spaces through Pillow.

    InputError if it has too many pixels or cannot be converted, ValueError if it is damaged or cannot be kept.
    """
    with tifffile.TiffFile(path) as file:
        len(file.pages)  # which ends a chain of pages that bites its own tail, as iterating does not
        pages = [page.aspage() for page in file.pages]
        if not pages:
            raise ValueError("it holds no page")
        series = file.series[0]
        stacked = len(pages) == 1 and series.size > pages[0].size
        require_pixels(path, series.size if stacked else sum(p.imagewidth * p.imagelength for p in pages), max_pixels)
        if stacked and not file.is_imagej:
            raise ValueError("its frames have no pages of their own; save it as a multi-page TIFF")
        arrays = _stack(series, pages[0]) if stacked else [_pixels(path, page, n) for n, page in enumerate(pages)]
        pages = pages * len(arrays) if stacked else pages
        parts = [_split(array, page) for array, page in zip(arrays, pages, strict=True)]
        kept: dict[str, Any] = {
            "file": {"bigtiff": file.is_bigtiff, "byteorder": file.byteorder},
            "pages": [_settings(file, page, number > 0 and stacked) for number, page in enumerate(pages)],
        }
        notes, nodata = _notes(pages, parts), pages[0].nodata if GDAL_NODATA in pages[0].tags else None
    values = _alike(kept["pages"], [v for v, _ in parts])
    limit = _limit(pages, values)
    fax = all(page.dtype == bool for page in values) and int(pages[0].compression) in FAX
    black = float(kept["pages"][0]["photometric"] == WHITE_IS_ZERO)
    if limit is not None:
        for page in kept["pages"]:  # packed, which tifffile does without compression only
            page |= {"bitspersample": limit.bit_length(), "compression": None, "predictor": False, "tile": None}
    alpha = tuple(extra for _, extra in parts)
    return Picture(
        tuple(values), alpha, "tiff", kept | {"fax": fax}, black, 1 - black, limit, nodata, tuple(notes)
    )  # fmt: skip


def write(path: Path, picture: Picture, pages: list[np.ndarray]) -> None:
    """Writes pages with the tags of those that they come from."""
    if picture.kept["fax"]:
        return _write_fax(path, picture, pages)
    # A name that ends in .ome.tif would make a description of its own.
    with tifffile.TiffWriter(path, ome=False, shaped=False, **picture.kept["file"]) as file:
        for page, more, settings in zip(pages, picture.alpha, picture.kept["pages"], strict=True):
            values = page if more is None else np.concatenate([page, more], axis=-1)
            flat = values.shape[-1] == 1
            file.write(values[..., 0] if flat else values, metadata=None, software=False,
                       planarconfig=None if flat else "contig", **settings)  # fmt: skip


def _pixels(path: Path, page: Any, number: int) -> np.ndarray:
    """The values of a page (height, width, sample)."""
    if not _direct(page):
        if page.bitspersample > 8:
            raise ValueError("its colour space has more than 8 bits; convert it to 16-bit RGB first")
        with _quiet(), pillow.opened(path, math.inf) as image:  # counted above
            image.seek(number)
            image.load()  # which turns it by its orientation
            turned = page.tags[274].value if 274 in page.tags else 1
            values, alpha = pillow.values(path, image.transpose(BACK[turned]) if turned in BACK else image)
        if values.dtype == bool:
            raise ValueError("its bits have a colour space; save it as black and white")
        return values if alpha is None else np.concatenate([values, alpha], axis=-1)
    if page.dtype is None or page.dtype.kind == "c":
        kind = "complex numbers" if page.dtype is not None else f"values of {page.bitspersample} bits"
        raise ValueError(f"it holds {kind}; save its magnitude as floats")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError(f"its pages have the axes {page.axes}; save it as a multi-page TIFF of grey or RGB")
    values = page.asarray()
    values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else values
    return values[..., None] if values.ndim == 2 else values


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides what libtiff prints of a damaged file, past Python: it is said in our own sentence."""
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # there is no stderr
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _direct(page: Any) -> bool:
    """Whether tifffile gives the values to denoise; else Pillow converts them."""
    jpeg = int(page.photometric) == YCBCR and int(page.compression) == 7  # whose library converts it
    return jpeg or int(page.photometric) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)


def _stack(series: Any, page: Any) -> list[np.ndarray]:
    """The frames of a stack that ImageJ wrote behind one page."""
    values = series.asarray().reshape(-1, *page.shape)
    if page.axes == "SYX":
        values = np.moveaxis(values, 1, -1)
    return list(values if page.axes != "YX" else values[..., None])


def _split(values: np.ndarray, page: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """What is denoised, and the samples that go over as they are: alpha, or what RGB has beside its colours."""
    samples = values.shape[-1]
    if int(page.photometric) in (WHITE_IS_ZERO, BLACK_IS_ZERO):  # of a microscope, say, with any number of channels
        colours = max(1, samples - sum(int(sample) in ALPHA for sample in page.extrasamples))
    else:
        colours = 1 if samples < 3 else 3
    return values[..., :colours], values[..., colours:] if samples > colours else None


def _alpha(page: Any) -> bool:
    return any(int(sample) in ALPHA for sample in page.extrasamples)


def _alike(settings: list[dict[str, Any]], pages: list[np.ndarray]) -> list[np.ndarray]:
    """Pages of one type and polarity, where 1 bit or 8 are enough for that."""
    bilevel = [page.dtype == bool for page in pages]
    if any(bilevel) and not all(bilevel):
        pages = [page.astype(np.uint8) * np.uint8(255) if page.dtype == bool else page for page in pages]
    if len({page.dtype for page in pages}) > 1:
        raise ValueError("its pages have values of several types; save them apart")
    turned = {setting["photometric"] == WHITE_IS_ZERO for setting in settings}
    if len(turned) > 1:
        if pages[0].dtype not in (np.uint8, np.bool_):
            raise ValueError("only some of its pages are WhiteIsZero; save them apart")
        pages = [~p if s["photometric"] == WHITE_IS_ZERO else p for s, p in zip(settings, pages, strict=True)]
        for setting in settings:
            setting["photometric"] = max(setting["photometric"], BLACK_IS_ZERO)
    return pages


def _limit(pages: list[Any], values: list[np.ndarray]) -> int | None:
    """The largest value, if the file has fewer bits than the type that its values are read into."""
    bits = {page.bitspersample if page.dtype == v.dtype else 8 for page, v in zip(pages, values, strict=True)}
    kind = values[0].dtype
    if kind.kind != "u" or bits == {8 * kind.itemsize}:
        return None
    if len(bits) > 1:
        raise ValueError("its pages have several depths; save them apart")
    return 2 ** bits.pop() - 1


def _settings(file: Any, page: Any, later: bool) -> dict[str, Any]:
    """How a page is written; `later` if it is one of a stack that shares the tags of its first."""
    usual = int(page.photometric) in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    left = MADE_ANEW | set(POINTERS)
    compression = COMPRESSIONS.get(int(page.compression), "zlib")
    tiled = page.is_tiled and page.tilewidth % 16 == page.tilelength % 16 == 0
    settings: dict[str, Any] = {
        "photometric": int(page.photometric) if usual else RGB,
        "compression": compression,
        "predictor": compression in ("lzw", "zlib", "lzma", "zstd") and int(page.predictor) > 1,
        "tile": (page.tilelength, page.tilewidth) if tiled else None,
        "subfiletype": int(page.subfiletype) or None,
        "extrasamples": [int(sample) for sample in page.extrasamples] or None,
        "extratags": [] if later else [_raw(file, tag) for tag in page.tags if tag.code not in left],
    }
    if 34675 in page.tags and int(page.photometric) in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, YCBCR):
        settings["iccprofile"] = page.tags[34675].value
    if 282 in page.tags and 283 in page.tags:
        settings["resolution"] = (page.tags[282].value, page.tags[283].value)
        unit = page.tags[296].value if 296 in page.tags else 2
        settings["resolutionunit"] = int(unit) if unit in (1, 2, 3) else 1
    return settings


def _raw(file: Any, tag: Any) -> tuple[int, int, int, bytes, bool]:
    """A tag as its bytes, which need no understanding since the byte order stays."""
    file.filehandle.seek(tag.valueoffset)
    return tag.code, int(tag.dtype), tag.count, file.filehandle.read(tag.valuebytecount), True


def _notes(pages: list[Any], parts: list[tuple[np.ndarray, np.ndarray | None]]) -> list[str]:
    notes = []
    if any(page.subifds for page in pages):
        notes.append("its smaller copies (a pyramid) cannot be kept")
    pointers = sorted({POINTERS[tag.code] for page in pages for tag in page.tags if tag.code in POINTERS})
    if pointers:
        notes.append(f"its {', '.join(pointers)} tags cannot be kept")
    names = {5: "CMYK", 8: "Lab", 9: "Lab"}
    spaces = sorted({names.get(int(p.photometric), p.photometric.name) for p in pages if p.photometric not in SEEN})
    if spaces:
        notes.append(f"its colour space {', '.join(spaces)} cannot be kept; the result is sRGB")
    if any(extra is not None and not _alpha(page) for page, (_, extra) in zip(pages, parts, strict=True)):
        notes.append("its samples beside red, green and blue stay as they are")
    if len({page.dtype == bool for page in pages}) > 1:
        notes.append("its 1-bit pages become 8-bit ones, as the others are")
    return notes


def _write_fax(path: Path, picture: Picture, pages: list[np.ndarray]) -> None:
    """Writes bits by Group 4, which tifffile cannot, by Pillow."""
    order = picture.kept["file"]["byteorder"]
    whole = io.BytesIO()
    with contextlib.closing(TiffImagePlugin.AppendingTiffWriter(whole, True)) as file:
        for page, settings in zip(pages, picture.kept["pages"], strict=True):
            tags = TiffImagePlugin.ImageFileDirectory_v2()
            for code, kind, count, raw, _ in settings["extratags"]:
                if kind in FAX_TAGS:
                    tags.tagtype[code] = kind
                    tags[code] = _value(raw, f"{order}{count}{FAX_TAGS[kind]}")
            if "resolution" in settings:
                x, y = (TiffImagePlugin.IFDRational(*value) for value in settings["resolution"])
                tags[282], tags[283], tags[296] = x, y, settings["resolutionunit"]
            if "iccprofile" in settings:
                tags[34675] = settings["iccprofile"]
            Image.fromarray(page[..., 0]).save(file, "TIFF", compression="group4", tiffinfo=tags)
            file.newFrame()
    if picture.kept["pages"][0]["photometric"] == WHITE_IS_ZERO:
        whole.seek(0)
        with tifffile.TiffFile(whole) as written:  # in place: Pillow would turn the bits one by one
            for written_page in written.pages:
                written_page.aspage().tags[262].overwrite(WHITE_IS_ZERO)
    path.write_bytes(whole.getbuffer())


def _value(raw: bytes, form: str) -> Any:
    """The value of a tag as Pillow takes it: text, bytes or integers."""
    if form.endswith("s"):
        return raw.rstrip(b"\0").decode("latin-1")
    if form.endswith("B"):
        return raw
    return struct.unpack(form, raw)
