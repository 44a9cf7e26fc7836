"""JPEG, WebP, GIF and BMP files, and the pixels of PNG and of unusual TIFF files, through Pillow."""

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, JpegImagePlugin

from jaxdae.data.picture import Picture
from jaxdae.data.picture_files import require_pixels, too_large
from jaxdae.errors import InputError

FORMATS = ("JPEG", "MPO", "WEBP", "GIF", "BMP")
"""What is written."""
KEPT = {
    "JPEG": ("exif", "icc_profile", "dpi", "xmp", "comment"),
    "WEBP": ("exif", "icc_profile", "xmp", "loop", "background"),
    "GIF": ("loop", "comment"),
    "BMP": ("dpi",),
}
"""What Pillow takes over: orientation, colour profile, resolution, animation."""
NAMES = {"exif": "EXIF data", "icc_profile": "colour profile", "xmp": "XMP data"}
"""What is named where it cannot be kept."""
QUALITY = 95
FINE = 369
"""The sum of libjpeg's luminance steps at quality 95; a file of finer ones keeps its own."""
NUDGE = 16
"""In grey levels: what one pixel of a repeated frame is changed by, since the encoders merge equal frames."""


@contextlib.contextmanager
def opened(path: Path, max_pixels: float) -> Iterator[Image.Image]:
    """An image, read as far as its size; InputError if it has too many pixels over all frames."""
    limit = Image.MAX_IMAGE_PIXELS  # of a GIF, a later frame can be larger; Pillow fails at twice its limit
    Image.MAX_IMAGE_PIXELS = max(1, int(max_pixels) // 2) if max_pixels < math.inf else None
    try:
        with Image.open(path) as image:
            require_pixels(path, image.width * image.height * _frame_count(image), max_pixels)
            yield image
    except Image.DecompressionBombError:
        raise too_large(path, max_pixels) from None
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def frames(
    path: Path, image: Image.Image, max_pixels: float
) -> tuple[list[np.ndarray], list[np.ndarray | None], list[int]]:
    """All frames (height, width, channel), their alpha, and their durations in milliseconds, of equal channels."""
    pages, alphas, durations, pixels = [], [], [], 0
    for number in range(_frame_count(image)):
        image.seek(number)
        pixels += image.width * image.height
        require_pixels(path, pixels, max_pixels)
        page, alpha = values(path, image)
        pages.append(page)
        alphas.append(alpha)
        durations.append(image.info.get("duration", 0))
    channels = max(page.shape[-1] for page in pages)
    pages = [np.broadcast_to(page, (*page.shape[:2], channels)) for page in pages]
    if any(alpha is not None for alpha in alphas):
        alphas = [np.full((*p.shape[:2], 1), 255, np.uint8) if a is None else a
                  for p, a in zip(pages, alphas, strict=True)]  # fmt: skip
    return pages, alphas, durations


def values(path: Path, image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """The 8-bit grey or RGB values of the current frame, or its bits, and its alpha; CMYK and Lab become sRGB."""
    image.load()
    if image.mode in ("CMYK", "LAB"):
        profile = image.info.get("icc_profile")
        if image.mode == "CMYK" and not profile:
            raise InputError(f"{path} is CMYK without a colour profile; convert it to RGB first")
        source = ImageCms.createProfile("LAB") if image.mode == "LAB" else io.BytesIO(profile or b"")
        rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return np.asarray(rgb), None
    transparent = image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info
    if image.mode == "1" and not transparent:
        return np.asarray(image)[..., None], None
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"):
        raise ValueError(f"pixels of the kind {image.mode} in a {image.format} file; save it as TIFF")
    mode = ("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB")
    array = np.asarray(image.convert("RGBA").convert(mode) if transparent else image.convert(mode))
    array = array[..., None] if array.ndim == 2 else array
    channels = 1 if grey else 3
    return array[..., :channels], array[..., channels:] if transparent else None


def read(path: Path, max_pixels: int) -> Picture:
    """Reads a JPEG, WebP, GIF or BMP file; InputError if it is of another kind, or has too many pixels."""
    with opened(path, max_pixels) as image:
        if image.format not in FORMATS:
            raise InputError(f"{path} is a {image.format} file, which cannot be written back; save it as PNG or TIFF")
        first, mode = dict(image.info), image.mode
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        kept = {key: first[key] for key in KEPT[kind] if key in first} | {"format": kind}
        notes = [f"its {name} cannot be kept" for key, name in NAMES.items() if key in first and key not in KEPT[kind]]
        if kind == "JPEG":
            more, lost = _jpeg(image)
            kept |= more
            notes += lost
        pages, alpha, durations = frames(path, image, max_pixels)
    if mode == "CMYK":
        kept.pop("icc_profile", None)
        notes.append("its colour space CMYK cannot be kept; the result is sRGB")
    if kind == "WEBP":
        kept |= {"lossless": True, "exact": True} if _lossless(path) else {"quality": QUALITY}
    if kind == "GIF":
        notes.append("the result is quantized again, since a frame of a GIF has 256 colours")
    if kind == "BMP" and alpha[0] is not None:
        notes.append("its transparency cannot be kept")
        alpha = [None]
    if len(pages) > 1:
        kept |= {"duration": durations} | ({"disposal": 1 if alpha[0] is None else 2} if kind == "GIF" else {})
    return Picture(tuple(pages), tuple(alpha), "pillow", kept, notes=tuple(notes))


def write(path: Path, picture: Picture, pages: list[np.ndarray]) -> None:
    """Writes pages in the picture's own format; ValueError if its encoder cannot keep all frames."""
    images = [_image(page, alpha) for page, alpha in zip(_told_apart(pages), picture.alpha, strict=True)]
    more = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
    file = io.BytesIO()
    images[0].save(file, **(picture.kept | more))
    with Image.open(file) as written:
        count = _frame_count(written)
    if count != len(images):
        raise ValueError(f"its encoder keeps {count} of {len(images)} frames")
    path.write_bytes(file.getbuffer())


def _frame_count(image: Image.Image) -> int:
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _jpeg(image: Image.Image) -> tuple[dict, list[str]]:
    """How a JPEG file is written as finely as it was, and what is lost of it."""
    tables = getattr(image, "quantization", {})
    more: dict = {"progressive": bool(image.info.get("progressive") or image.info.get("progression"))}
    more |= {"qtables": tables} if sum(tables.get(0, [FINE])) < FINE else {"quality": QUALITY}
    if image.mode == "RGB" and (sampling := JpegImagePlugin.get_sampling(image)) >= 0:
        more["subsampling"] = sampling
    segments = sorted({name for name, _ in getattr(image, "applist", [])} - {"APP0", "APP1", "APP2", "APP14", "COM"})
    lost = [f"its segments {', '.join(segments)} (such as IPTC captions) cannot be kept"] if segments else []
    if image.format == "MPO":
        lost.append("the further pictures of an MPO file cannot be kept")
    return more, lost


def _lossless(path: Path) -> bool:
    """Whether a WebP file was compressed without loss: it has chunks VP8L, and none VP8, at the top or in frames."""
    data, at, kinds = path.read_bytes(), 12, set()
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        kinds.add(name)
        at += 8 + (16 if name == b"ANMF" else length + length % 2)  # into a frame, or over anything else
    return b"VP8L" in kinds and b"VP8 " not in kinds


def _told_apart(pages: list[np.ndarray]) -> list[np.ndarray]:
    """Pages of which none equals the one before."""
    told = pages[:1]
    for page in pages[1:]:
        if np.array_equal(page, told[-1]):
            page = page.copy()
            page[0, 0] ^= NUDGE
        told.append(page)
    return told


def _image(page: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    array = page if alpha is None else np.concatenate([page, alpha], axis=-1)
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
