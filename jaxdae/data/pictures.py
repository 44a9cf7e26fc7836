"""Picture files of many types and pages to arrays with black at 0 and white at 1, and back as they were."""

import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageCms, PngImagePlugin

from jaxdae.data import png16, tiff
from jaxdae.data.picture_files import require_pixels
from jaxdae.errors import InputError

MAX_PIXELS = 500_000_000
PERCENTILES = (0.1, 99.9)
KEPT = ("exif", "icc_profile", "dpi", "xmp", "XML:com.adobe.xmp", "loop", "comment", "default_image")
"""What Pillow takes over: orientation, colour profile, resolution, animation."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture file in memory."""

    pages: tuple[np.ndarray, ...]
    """Grey or RGB values (height, width, channel), as the file stores them."""
    alpha: tuple[np.ndarray | None, ...]
    """Their transparency, kept as it is."""
    black: float
    white: float
    """The stored values that stand for 0 and 1; black is the larger one in a WhiteIsZero file."""
    container: str
    """"tiff", "png16" or "pillow": what writes it."""
    kept: dict
    """What the writer takes over: orientation, colour profile, resolution, compression, timing."""
    lost: tuple[str, ...] = ()
    """What cannot be kept, in words."""


def read(path: Path, value_range: tuple[float, float] | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads a picture of any number of pages.

    Args:
        path: the file.
        value_range: the stored values that stand for black and white; None: those of 8 bits, or else the percentiles
            of PERCENTILES over all pages.
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
    return in_range(found, value_range or measured(found.pages))


def in_range(picture: Picture, value_range: tuple[float, float]) -> Picture:
    """The picture with other values for black and white, the lower first; a WhiteIsZero one keeps its order."""
    low, high = value_range[::-1] if picture.black > picture.white else value_range
    return dataclasses.replace(picture, black=low, white=high)


def unit_scale(picture: Picture) -> list[Float[np.ndarray, "height width channel"]]:
    """The pages with black at 0 and white at 1; values beyond these stay beyond."""
    scaled = []
    for page in picture.pages:
        values: np.ndarray = page.astype(_precision(page.dtype))
        values -= picture.black  # in place: a picture of 100 megapixels is 0.4 GB
        values /= picture.white - picture.black
        scaled.append(values.astype(np.float32, copy=False))
    return scaled


def stored(picture: Picture, pages: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pages of `unit_scale` as the file stores them, in its type and clamped to nothing but that type."""
    values = []
    for page, old in zip(pages, picture.pages, strict=True):
        scaled: np.ndarray = page.astype(_precision(old.dtype))
        scaled *= picture.white - picture.black
        scaled += picture.black
        values.append(_as_type(scaled, old.dtype))
    return values


def write(path: Path, picture: Picture, pages: Sequence[np.ndarray]) -> None:
    """Writes new pages on the scale of `unit_scale` in place of a picture's own."""
    values = stored(picture, pages)
    if picture.container == "tiff":
        tiff.write(path, values, list(picture.alpha), picture.kept)
    elif picture.container == "png16":
        [alpha] = picture.alpha
        png16.write(
            path, values[0] if alpha is None else np.concatenate([values[0], alpha], -1), picture.kept["chunks"]
        )
    else:
        images = [_image(page, alpha) for page, alpha in zip(values, picture.alpha, strict=True)]
        more = {"save_all": True, "append_images": images[1:]} if len(images) > 1 else {}
        images[0].save(path, **(picture.kept | more))


def _read(path: Path, max_pixels: int) -> Picture:
    with path.open("rb") as file:
        start = file.read(4)
    if png16.is_deep_colour(path):
        require_pixels(path, math.prod(png16.size(path)), max_pixels)
        values, chunks = png16.read(path)
        channels = values.shape[-1] - 1 if values.shape[-1] in (2, 4) else values.shape[-1]
        alpha = values[..., channels:] if values.shape[-1] > channels else None
        return Picture((values[..., :channels],), (alpha,), 0, 1, "png16", {"chunks": chunks})
    if start[:2] in (b"II", b"MM"):
        found = tiff.read(path, max_pixels)
        if found:
            pages, extra, how = found
            black = float(how["white_is_zero"])
            lost = (how["lost"],) if how["lost"] else ()
            return Picture(tuple(pages), tuple(extra), black, 1 - black, "tiff", how, lost)
    return _read_by_pillow(path, max_pixels)


def _read_by_pillow(path: Path, max_pixels: int) -> Picture:
    pages, alphas, durations, lost = [], [], [], []
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # --max-pixels is the limit
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            if image.format == "MPO":
                frames, lost = 1, ["the further pictures of an MPO file"]
            require_pixels(path, image.width * image.height * frames, max_pixels)
            kept = {key: image.info[key] for key in KEPT if key in image.info}
            kept["format"] = "JPEG" if image.format == "MPO" else image.format
            for number in range(frames):
                image.seek(number)
                image.load()
                durations.append(image.info.get("duration", 0))
                page, alpha, converted = _values(path, image)
                pages.append(page)
                alphas.append(alpha)
                if converted:
                    kept["icc_profile"] = None
                    lost = [*lost, f"the colour space {image.mode} (the result is sRGB)"] if number == 0 else lost
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if "XML:com.adobe.xmp" in kept and kept["format"] == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", kept.pop("XML:com.adobe.xmp"))
        kept["pnginfo"] = text
    if frames > 1 and kept["format"] in ("PNG", "GIF", "WEBP"):
        kept["duration"] = durations[1:] if kept.get("default_image") else durations
        kept |= {"disposal": 2 if kept["format"] == "GIF" else 0} | ({"blend": 0} if kept["format"] == "PNG" else {})
    if kept["format"] in ("JPEG", "WEBP"):
        kept["quality"] = 95
    if kept["format"] == "TIFF":
        kept["compression"] = "group4" if pages[0].dtype == bool else "tiff_deflate"
    return Picture(tuple(pages), tuple(alphas), 0, 1, "pillow", kept, tuple(lost))


def _values(path: Path, image: Image.Image) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Grey or RGB values, alpha, and whether the colour space was another one."""
    if image.mode in ("CMYK", "LAB"):
        profile = image.info.get("icc_profile")
        if image.mode == "CMYK" and not profile:
            raise InputError(f"{path} is CMYK without a colour profile; convert it to RGB first")
        source = ImageCms.createProfile("LAB") if image.mode == "LAB" else io.BytesIO(profile or b"")
        rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return np.asarray(rgb), None, True
    transparent = image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info
    if image.mode == "1" and not transparent:
        return np.asarray(image)[..., None], None, False
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)[..., None]
        deep = image.mode == "I" and image.format in ("PNG", "PPM")
        return values.astype(np.uint16) if deep or image.mode.startswith("I;") else values, None, False
    grey = image.mode in ("1", "L", "LA", "La")
    mode = ("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB")
    values = np.asarray(image.convert("RGBA").convert(mode) if transparent else image.convert(mode))
    values = values[..., None] if values.ndim == 2 else values
    channels = 1 if grey else 3
    return values[..., :channels], values[..., channels:] if transparent else None, False


def measured(pages: Sequence[np.ndarray]) -> tuple[float, float]:
    """The values that stand for black and white: the type's for 8 bits and 1, percentiles of the whole file else."""
    kind = pages[0].dtype
    if kind.kind == "b":
        return 0.0, 1.0
    if kind == np.uint8:
        return 0.0, 255.0
    low, high = np.percentile(np.concatenate([page.ravel() for page in pages]), PERCENTILES)
    return float(low), float(high if high > low else low + 1)


def _precision(kind: np.dtype) -> type:
    """The floats that hold every value of a type."""
    return np.float32 if kind.itemsize <= 2 else np.float64


def _as_type(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    if kind.kind == "b":
        return values >= 0.5
    if np.issubdtype(kind, np.integer):
        limits = np.iinfo(kind)
        np.round(values, out=values)
        return np.clip(values, limits.min, limits.max, out=values).astype(kind)
    return values.astype(kind)


def _image(page: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    values = page if alpha is None else np.concatenate([page, alpha], axis=-1)
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)
