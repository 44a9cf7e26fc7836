"""A folder, as it lies, to pictures in memory: picture files, .npy and .npz, of any sizes."""

import dataclasses
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from jaxdae.data.picture_files import SUFFIXES, hidden
from jaxdae.errors import InputError

ARRAYS = (".npy", ".npz")

Pixels = UInt8[np.ndarray, "height width channel"] | Float[np.ndarray, "height width channel"]
"""One picture, grey or RGB: 8-bit, or float32 on the [0, 1] scale."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a folder holds."""

    pictures: dict[str, Pixels]
    """By name, sorted: the path below the folder; of an array with several, also its number."""
    passed_over: int
    """How many files are no pictures."""
    broken: dict[str, str]
    """For each file that was left out, by name, a sentence that names it."""


def read_folder(path: Path, *, strict: bool = False) -> Found:
    """Reads all pictures of a folder and the folders in it, or of one .npy or .npz file.

    Hidden files (`._x.png`) and other types (`Thumbs.db`) are passed over. InputError if there is no picture, or, with
    `strict`, if one cannot be read.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder of pictures")
    if path.is_file() and path.suffix.lower() not in ARRAYS:
        raise InputError(f"{path} is one file; give a folder of pictures, or an .npy or .npz file")
    known = (*SUFFIXES, *ARRAYS)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    root = path.parent if path.is_file() else path
    chosen = [file for file in files if file.suffix.lower() in known and not hidden(file.relative_to(root))]
    if not chosen:
        raise InputError(f"{path} holds no picture; known: {', '.join(known)}")
    pictures: dict[str, Pixels] = {}
    broken = {}
    for file in chosen:
        name = file.relative_to(root).as_posix()
        try:
            pictures |= dict(_read(file, name))
        except InputError as error:
            if strict:
                raise
            broken[name] = str(error)
    if not pictures:
        raise InputError(f"{path} holds no picture that can be read: {next(iter(broken.values()))}")
    return Found(dict(sorted(pictures.items())), len(files) - len(chosen), broken)


def _read(file: Path, name: str) -> list[tuple[str, Pixels]]:
    if file.suffix.lower() not in ARRAYS:
        return _pages_of(file, name)
    try:
        loaded = np.load(file, allow_pickle=False)
        arrays = {name: loaded} if isinstance(loaded, np.ndarray) else {f"{name}:{key}": loaded[key] for key in loaded}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} cannot be read as an array: {str(error).splitlines()[0]}") from None
    return [item for key, array in arrays.items() for item in _pictures_of(file, key, array)]


def _pages_of(file: Path, name: str) -> list[tuple[str, Pixels]]:
    """The pages of a picture file: 8-bit as they are, others between the least and the greatest value of the file."""
    from jaxdae.data import pictures  # Pillow is not loaded where nothing is read

    picture = pictures.read(file)
    if picture.pages[0].dtype not in (np.uint8, np.bool_):
        low, high = (float(f([f(page) for page in picture.pages])) for f in (np.min, np.max))
        turned = picture.black > picture.white
        black, white = (high, low) if turned else (low, high)
        picture = dataclasses.replace(picture, black=black, white=white if low < high else black + 1)
    pages = [_stored(file, np.clip(page, 0, 1)) for page in pictures.unit_scale(picture)]
    return [(name if len(pages) == 1 else f"{name}:{number:06d}", page) for number, page in enumerate(pages)]


def _pictures_of(file: Path, name: str, array: np.ndarray) -> Iterator[tuple[str, Pixels]]:
    """The pictures of an array: (height, width), either with 1 or 3 channels last, either with many first."""
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3)):
        yield name, _stored(file, array if array.ndim == 3 else array[..., None])
    elif array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3)):
        for number, picture in enumerate(array if array.ndim == 4 else array[..., None]):
            yield f"{name}:{number:06d}", _stored(file, picture)
    else:
        raise InputError(
            f"{file} has an array of shape {array.shape}; give (picture, height, width) or (picture, height, width, 3)"
        )


def _stored(file: Path, values: np.ndarray) -> Pixels:
    """8-bit where that loses nothing, else float32 on the [0, 1] scale."""
    if values.size == 0:
        raise InputError(f"{file} has a picture without pixels")
    if values.dtype in (np.uint8, np.bool_):
        return np.ascontiguousarray(values.astype(np.uint8) * np.uint8(255 if values.dtype == np.bool_ else 1))
    if values.dtype == np.uint16:
        values = values / np.float32(65535)
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"{file} has values of type {values.dtype}; give 8-bit or 16-bit ones, or floats from 0 to 1")
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 1:
        raise InputError(f"{file} has values from {low:g} to {high:g}; floats must be from 0 to 1")
    floats = np.ascontiguousarray(values, np.float32)
    eight_bit = np.round(floats * 255).astype(np.uint8)
    return eight_bit if np.array_equal(eight_bit.astype(np.float32) / 255, floats) else floats
