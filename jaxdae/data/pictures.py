"""Picture files to arrays on the [0, 1] scale and back, keeping name, size, format and depth."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from jaxdae.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture file in memory."""

    pixels: Float[np.ndarray, "height width channel"]
    """Grey or RGB, on the [0, 1] scale."""
    alpha: np.ndarray | None
    """Its transparency, kept as it is."""
    sixteen_bit: bool
    kept: dict
    """Orientation, colour profile and resolution."""


def find(inputs: Sequence[Path], out: Path) -> dict[Path, Path]:
    """The pictures in files and folders, each with the path of its result; folders keep their order below `out`.

    InputError if an input does not exist or is no picture, a folder has none, or a result would replace a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; choose a folder")
    targets: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            if out.resolve() == given.resolve():
                raise InputError(f"--out {out} is the folder of the pictures themselves; choose another one")
            inside = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and out not in p.parents)
            if not inside:
                raise InputError(f"{given} holds no picture; known: {', '.join(SUFFIXES)}")
            targets |= {path: out / path.relative_to(given) for path in inside}
        elif not given.exists():
            raise InputError(f"{given} does not exist")
        elif given.suffix.lower() not in SUFFIXES:
            raise InputError(f"{given} is not a picture that can be written back; known: {', '.join(SUFFIXES)}")
        else:
            targets[given] = out / given.name
    owner: dict[Path, Path] = {}
    for source, target in targets.items():
        if target in owner:
            raise InputError(f"{owner[target]} and {source} would both become {target}; denoise them apart")
        if target.exists():
            raise InputError(f"{target} exists already; choose another folder with --out")
        owner[target] = source
    return targets


def read(path: Path) -> Picture:
    """Reads a PNG, JPEG or TIFF file; InputError if it is damaged or could not be written back as it was."""
    try:
        with Image.open(path) as image:
            image.load()
            if getattr(image, "n_frames", 1) > 1:
                raise InputError(f"{path} has {image.n_frames} pages; split it into files of one page")  # type: ignore[attr-defined]
            kept = {key: image.info[key] for key in ("exif", "icc_profile", "dpi") if key in image.info}
            if image.mode == "I" and np.asarray(image).max() > 65535:
                raise InputError(f"{path} has more than 16 bits per pixel; convert it to 16 or 8 bits first")
            if image.mode.startswith("I"):
                pixels = np.asarray(image, np.float32)[..., None] / 65535
                return Picture(np.clip(pixels, 0, 1), None, True, kept)
            if image.mode in ("F", "CMYK", "LAB", "YCbCr") and path.suffix.lower() not in (".jpg", ".jpeg"):
                raise InputError(f"{path} has colour mode {image.mode}; convert it to grey or RGB first")
            transparent = image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info
            grey = image.mode in ("1", "L", "LA")
            values = np.asarray(image.convert(("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB")))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from None
    values = values[..., None] if values.ndim == 2 else values
    channels = 1 if grey else 3
    alpha = values[..., channels:] if transparent else None
    pixels = values[..., :channels].astype(np.float32)
    pixels /= 255  # in place: a picture of 100 megapixels is 0.4 GB
    return Picture(pixels, alpha, False, kept)


def write(path: Path, picture: Picture, pixels: Float[np.ndarray, "height width channel"]) -> None:
    """Writes new pixels in place of a picture's own, clamped to [0, 1]."""
    scaled = np.clip(pixels, 0, 1)
    scaled *= 65535 if picture.sixteen_bit else 255  # in place, as in `read`
    np.round(scaled, out=scaled)
    if picture.sixteen_bit:
        image = Image.fromarray(scaled[..., 0].astype(np.uint16))
    else:
        values = scaled.astype(np.uint8)
        if picture.alpha is not None:
            values = np.concatenate([values, picture.alpha], axis=-1)
        image = Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
    quality = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg") else {}
    image.save(path, **(picture.kept | quality))
