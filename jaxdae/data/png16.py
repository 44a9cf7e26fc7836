"""PNG files of 16-bit colour or grey with alpha, which Pillow cuts to 8 bits: read and written by the specification."""

import struct
import zlib
from pathlib import Path

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Of each colour type but the palette's."""
KEPT = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"pHYs", b"eXIf", b"iTXt", b"tEXt", b"zTXt")
"""Chunks that go over as they are: gamma, colour, resolution, orientation, text."""


def is_deep_colour(path: Path) -> bool:
    """Whether a file is a PNG of 16 bits with more than one channel, or with a transparent grey value."""
    start = _start(path)
    if start[:8] != SIGNATURE or len(start) < 33 or start[24] != 16:
        return False
    return start[25] != 0 or b"tRNS" in dict(_chunks(path))


def size(path: Path) -> tuple[int, int]:
    """Width and height."""
    return struct.unpack(">II", _start(path)[16:24])


def read(path: Path) -> tuple[np.ndarray, list[tuple[bytes, bytes]]]:
    """Values (height, width, channel) in uint16, alpha last, and the chunks to keep; ValueError if it is unusual."""
    chunks = _chunks(path)
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", dict(chunks)[b"IHDR"])
    if interlaced or any(name == b"acTL" for name, _ in chunks):
        raise ValueError("16-bit colour that is interlaced or animated; save it without, or as TIFF")
    channels = CHANNELS[colour]
    stride = 2 * channels * width
    packed = zlib.decompressobj().decompress(b"".join(d for n, d in chunks if n == b"IDAT"), height * (stride + 1))
    lines = np.frombuffer(packed, np.uint8).reshape(height, stride + 1)
    values = _unfilter(lines, 2 * channels).view(">u2").astype(np.uint16).reshape(height, width, channels)
    key = dict(chunks).get(b"tRNS")
    if key is not None and colour in (0, 2):
        transparent = (values == np.frombuffer(key, ">u2")).all(axis=-1, keepdims=True)
        values = np.concatenate([values, np.where(transparent, 0, 65535).astype(np.uint16)], axis=-1)
    return values, [(name, data) for name, data in chunks if name in KEPT]


def write(path: Path, values: np.ndarray, kept: list[tuple[bytes, bytes]]) -> None:
    """Writes uint16 values (height, width, channel) with chunks of another file."""
    height, width, channels = values.shape
    colour = {count: kind for kind, count in CHANNELS.items()}[channels]
    rows = np.ascontiguousarray(values.astype(">u2")).view(np.uint8).reshape(height, -1)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    lines = np.concatenate([np.full((height, 1), 2, np.uint8), rows - above], axis=1)  # filter 2: minus the row above
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = [(b"IHDR", header), *kept, (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(SIGNATURE)
        for name, data in body:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(33)


def _chunks(path: Path) -> list[tuple[bytes, bytes]]:
    data, at, found = path.read_bytes(), 8, []
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        content, crc = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if crc != struct.pack(">I", zlib.crc32(name + content)):
            raise ValueError(f"its chunk {name.decode('latin-1')} is damaged")
        found.append((name, content))
        at += 12 + length
    return found


def _unfilter(lines: np.ndarray, step: int) -> np.ndarray:
    rows = np.zeros((len(lines), lines.shape[1] - 1), np.uint8)
    above = np.zeros(rows.shape[1], np.uint8)
    for row, line in zip(rows, lines, strict=True):
        kind, coded = line[0], line[1:]
        if kind == 0:
            row[:] = coded
        elif kind == 1:
            row[:] = np.cumsum(coded.reshape(-1, step), axis=0, dtype=np.uint8).ravel()
        elif kind == 2:
            row[:] = coded + above
        elif kind in (3, 4):
            row[:] = _predicted(coded.tolist(), above.tolist(), step, paeth=kind == 4)
        else:
            raise ValueError(f"its filter {kind} does not exist")
        above = row
    return rows


def _predicted(coded: list[int], above: list[int], step: int, *, paeth: bool) -> list[int]:
    row = [0] * step + coded
    up = [0] * step + above
    for i in range(step, len(row)):
        left, over, corner = row[i - step], up[i], up[i - step]
        if paeth:
            guess = left + over - corner
            near = min((abs(guess - left), 0, left), (abs(guess - over), 1, over), (abs(guess - corner), 2, corner))[2]
        else:
            near = (left + over) // 2
        row[i] = (row[i] + near) & 255
    return row[step:]
