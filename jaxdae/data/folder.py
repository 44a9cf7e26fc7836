"""A folder, as it lies, to pictures in memory: picture files, arrays (.npy, .npz) and IDX files, of any sizes."""

import dataclasses
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Num

from jaxdae.data.idx import is_idx, parse_idx_images
from jaxdae.data.picture_files import (
    MAX_PIXELS,
    SUFFIXES,
    TooManyPixels,
    hidden,
    is_comparison,
    too_large,
)
from jaxdae.data.room import OutOfRoom, Room
from jaxdae.errors import InputError
from jaxdae.paths import require_regular_file, special_kind

ARRAYS = (".npy", ".npz")
KINDS = (*SUFFIXES, *ARRAYS, "IDX (-ubyte, .idx, also .gz)")
TYPES = ("bool", "uint8", "uint16", "uint32", "int16", "int32")
"""Of an array, beside floats."""


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """One picture, grey or RGB, as a file stores it."""

    values: Num[np.ndarray, "height width channel"] | np.ndarray
    group: str
    """The pictures that share one value range: the file, by its path below the folder."""
    negative: bool = False
    """White is the least value (a WhiteIsZero file)."""
    unit: bool = False
    """Floats of an array that all lie on the [0, 1] scale."""

    @property
    def pixels(self) -> int:
        """Height times width."""
        return self.values.shape[0] * self.values.shape[1]


@dataclasses.dataclass(frozen=True)
class Found:
    """What a folder holds."""

    pictures: dict[str, Stored]
    """By name, sorted: the path below the folder; of a file with several, also its number."""
    passed_over: int
    """How many files are no pictures."""
    broken: dict[str, str]
    """For each file that was left out, by name, a sentence that names it."""


def read_folder(path: Path, *, strict: bool = False, max_pixels: int = MAX_PIXELS) -> Found:
    """Reads all pictures of a folder and the folders in it, or of one file.

    Hidden files (`._x.png`), comparisons (`x.png.compare.png`), other types (`Thumbs.db`), named
    pipes, sockets and devices are passed over. A picture of more than `max_pixels`, over all pages,
    is not unpacked. InputError if there is no picture, if all together are too large for the memory,
    or, with `strict`, if one cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder of pictures")
    require_regular_file(path)
    if path.is_file() and not _is_known(path):
        raise InputError(f"{path} is no picture; give a folder of pictures or one file, known: {', '.join(KINDS)}")
    files = [path] if path.is_file() else [file for file in path.rglob("*") if not file.is_dir()]
    root = path.parent if path.is_file() else path
    chosen = [file for file in sorted(files) if _is_picture(file, root)]
    if not chosen:
        raise InputError(f"{path} holds no picture; known: {', '.join(KINDS)}")
    pictures: dict[str, Stored] = {}
    broken, room = {}, Room.of(path, max_pixels)
    for file in chosen:
        name = file.relative_to(root).as_posix()
        try:
            pictures |= _read(file, name, room)
        except OutOfRoom:
            raise
        except InputError as error:
            if strict:
                raise
            broken[name] = str(error)
    if not pictures:
        raise InputError(f"{path} holds no picture that can be read: {next(iter(broken.values()))}")
    return Found(dict(sorted(pictures.items())), len(files) - len(chosen), broken)


def _is_picture(path: Path, root: Path) -> bool:
    if hidden(path.relative_to(root)) or is_comparison(path) or special_kind(path):
        return False
    return _is_known(path)


def _is_known(path: Path) -> bool:
    return path.suffix.lower() in (*SUFFIXES, *ARRAYS) or is_idx(path)


def _read(file: Path, name: str, room: Room) -> dict[str, Stored]:
    try:
        found = _pictures_in(file, name, room)
    except MemoryError:
        raise room.error(file) from None
    for picture in found.values():
        room.take(file, picture.values)
    return found


def _pictures_in(file: Path, name: str, room: Room) -> dict[str, Stored]:
    if is_idx(file):
        arrays = {name: parse_idx_images(file, _content(file, room))}
    elif file.suffix.lower() not in ARRAYS:
        return _pages_of(file, name, room)
    else:
        arrays = _arrays_of(file, name, room)
    found: dict[str, Stored] = {}
    for key, array in arrays.items():
        found |= _pictures_of(file, key, array, name)
    if any(picture.pixels > room.max_pixels for picture in found.values()):
        raise too_large(file, room.max_pixels)
    return found


def _content(file: Path, room: Room) -> bytes:
    try:
        room.require(file, file.stat().st_size)
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _arrays_of(file: Path, name: str, room: Room) -> dict[str, np.ndarray]:
    try:
        with file.open("rb") as opened:
            start = opened.read(6)
            if not start.startswith((b"\x93NUMPY", b"PK")):  # NumPy would advise to load it unsafely
                raise ValueError("it is neither an .npy nor an .npz file" if start else "it is empty")
            room.require(file, _unpacked_size(opened, start))
            opened.seek(0)
            loaded = np.load(opened, allow_pickle=False)
            one = isinstance(loaded, np.ndarray)
            arrays = {name: loaded} if one else {f"{name}:{key}": loaded[key] for key in loaded}
    except OutOfRoom:
        raise
    except Exception as error:  # a damaged file makes NumPy and zipfile fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{file} cannot be read as an array: {reason[:200]}") from None
    for key, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"{file} cannot be read as an array: {key} is none")
    return arrays


def _unpacked_size(opened: BinaryIO, start: bytes) -> int:
    """The bytes of the arrays in a file, as its directory tells them."""
    if not start.startswith(b"PK"):
        return opened.seek(0, os.SEEK_END)
    with zipfile.ZipFile(opened) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _pages_of(file: Path, name: str, room: Room) -> dict[str, Stored]:
    """The pages of a picture file, in their own type."""
    from jaxdae.data import pictures  # Pillow is not loaded where nothing is read

    try:
        # any range: `ranges` measures it, over all that share one
        picture = pictures.read(file, (0, 1), room.pixels)
    except TooManyPixels:
        if room.pixels < room.max_pixels:
            raise room.error(file) from None
        raise
    pages = [Stored(page, name, negative=picture.black > picture.white) for page in picture.pages]
    if len(pages) == 1:
        return {name: pages[0]}
    return {f"{name}:{number:06d}": page for number, page in enumerate(pages)}


def _pictures_of(file: Path, name: str, array: np.ndarray, group: str) -> Iterator[tuple[str, Stored]]:
    """The pictures of an array: (height, width), either with 1 or 3 channels last, either with many first."""
    if array.size == 0:
        raise InputError(f"{file} has a picture without pixels")
    floats = np.issubdtype(array.dtype, np.floating)
    if not floats and array.dtype.name not in TYPES:
        raise InputError(f"{file} has values of type {array.dtype}; give floats or one of {', '.join(TYPES)}")
    if floats and not np.isfinite(array).all():
        raise InputError(f"{file} holds values that are not finite; replace them first")
    unit = bool(floats and array.min() >= 0 and array.max() <= 1)
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3)):
        yield name, Stored(array if array.ndim == 3 else array[..., None], group, unit=unit)
    elif array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3)):
        for number, picture in enumerate(array if array.ndim == 4 else array[..., None]):
            yield f"{name}:{number:06d}", Stored(picture, group, unit=unit)
    else:
        raise InputError(
            f"{file} has an array of shape {array.shape}; give (picture, height, width) or (picture, height, width, 3)"
        )
