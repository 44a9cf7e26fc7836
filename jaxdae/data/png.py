"""PNG files of any depth, with their frames and chunks.

Pillow reads up to 8 bits, imagecodecs (libpng) reads 16, which Pillow cuts to 8 in colour. The chunks that say how the
pixels are to be seen go over as they are (PNG specification, third edition).
"""

import io
import itertools
import math
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from jaxdae.data import pillow
from jaxdae.data.picture import Picture
from jaxdae.data.picture_files import require_pixels
from jaxdae.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi")
"""Kept beside those that the specification calls safe to copy (text, resolution, EXIF)."""
MADE_ANEW = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"sBIT", b"hIST", b"tIME")
LEVEL = 3
"""Of compression: on 16-bit colour in two thirds of the time of level 6, for 1 % more bytes."""

Chunks = list[tuple[bytes, bytes]]


def read(path: Path, max_pixels: int) -> Picture:
    """Reads a PNG or APNG file; InputError if it has too many pixels, ValueError if it is damaged."""
    data = path.read_bytes()
    if len(data) < 33:
        raise ValueError("it is cut off")
    width, height, depth = struct.unpack(">IIB", data[16:25])
    chunks, damaged = _chunks(data)
    controls = [content for name, content in chunks if name == b"fcTL"]
    require_pixels(path, width * height * max(1, len(controls)), max_pixels)
    if depth == 16:
        pages, alpha = _deep(data, controls)
    else:
        try:
            with pillow.opened(path, max_pixels) as image:
                pages, alpha, _ = pillow.frames(path, image, max_pixels)
        except ValueError as error:
            if "MAX_TEXT" in str(error):
                raise InputError(f"{path} has more text in it than is safe to unpack; remove its text first") from None
            raise
    kept = [(name, content) for name, content in chunks if name in COLOUR or (name[0] & 32 and name[3] & 32)]
    plays = [content[4:8] for name, content in chunks if name == b"acTL"]
    lost = {name for name, _ in chunks if name not in MADE_ANEW} - {name for name, _ in kept} | set(damaged)
    notes = f"its chunks {', '.join(sorted(name.decode('latin-1') for name in lost))} cannot be kept"
    return Picture(
        tuple(pages), tuple(alpha), "png",
        {"chunks": kept, "plays": plays, "delays": [c[20:24] for c in controls if len(pages) > 1]},
        notes=(notes,) if lost else (),
    )  # fmt: skip


def write(path: Path, picture: Picture, pages: list[np.ndarray]) -> None:
    """Writes pages as the frames of a PNG or APNG file, all of them whole, with the chunks of the picture."""
    kept = picture.kept
    encoded = [_chunks(_encoded(page, alpha))[0] for page, alpha in zip(pages, picture.alpha, strict=True)]
    delays = kept["delays"]
    hidden = len(pages) - len(delays)  # 1: the first is shown by programs that know no animation, and only by them
    body: Chunks = [encoded[0][0], *kept["chunks"]]
    if delays:
        body.append((b"acTL", struct.pack(">I", len(delays)) + kept["plays"][0]))
    count = itertools.count()
    for number, chunks in enumerate(encoded):
        if delays and number >= hidden:
            height, width = pages[number].shape[:2]
            place = struct.pack(">IIIII", next(count), width, height, 0, 0)
            body.append((b"fcTL", place + delays[number - hidden] + b"\0\0"))
        pixels = b"".join(content for name, content in chunks if name == b"IDAT")
        body.append((b"fdAT", struct.pack(">I", next(count)) + pixels) if number else (b"IDAT", pixels))
    with path.open("wb") as file:
        file.write(SIGNATURE)
        for name, content in [*body, (b"IEND", b"")]:
            file.write(struct.pack(">I", len(content)) + name + content)
            file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _deep(data: bytes, controls: list[bytes]) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    if controls and any(control[24] == 2 for control in controls):
        raise ValueError("its 16-bit frames are disposed to the previous one; save whole frames")
    values = imagecodecs.apng_decode(data) if controls else imagecodecs.png_decode(data)[None]
    values = values.reshape(-1, *struct.unpack(">II", data[20:24] + data[16:20]), math.prod(values.shape[3:]))
    channels = values.shape[-1] - 1 if values.shape[-1] in (2, 4) else values.shape[-1]
    alpha = [frame[..., channels:] if values.shape[-1] > channels else None for frame in values]
    return [frame[..., :channels] for frame in values], alpha


def _encoded(page: np.ndarray, alpha: np.ndarray | None) -> bytes:
    if page.dtype == bool:
        file = io.BytesIO()
        Image.fromarray(page[..., 0]).save(file, "PNG")
        return file.getvalue()
    values = page if alpha is None else np.concatenate([page, alpha], axis=-1)
    values = values[..., 0] if values.shape[-1] == 1 else values
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(values), level=LEVEL))


def _chunks(data: bytes) -> tuple[Chunks, list[bytes]]:
    """The chunks of a file, and the names of damaged ones."""
    at, found, damaged = len(SIGNATURE), [], []
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        content, crc = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if crc == struct.pack(">I", zlib.crc32(content, zlib.crc32(name))):
            found.append((name, content))
        else:  # the libraries refuse the file if it cannot be read without this chunk
            damaged.append(name)
        at += 12 + length
        if name == b"IEND":
            break
    return found, damaged
