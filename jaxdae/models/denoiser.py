"""`Denoiser`: one callable for everything downstream of training."""

import dataclasses
import functools
import itertools
import logging
import numbers
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxdae import parallel, rng
from jaxdae.arguments import require_callable, require_flag, require_instance
from jaxdae.components import plain
from jaxdae.data.source import EIGHT_BIT, MAX_SHARE, ValueRange, require_noisy_scale, share_beyond
from jaxdae.errors import InputError, shown
from jaxdae.models.prediction import predict
from jaxdae.noise import Noise, check_noise, format_level
from jaxdae.types import Images, PerImage, Scalar

TILE = 256
"""Larger images are denoised in tiles of this side (and their surroundings)."""
PIXELS_AT_ONCE = 2**18
"""Pixels that go through the network together."""
PIXELS_ON_DEVICE = 2**24
MOST = sys.float_info.max
MAX_DEVIATIONS = 4
"""Standard deviations of normal noise that less than `MAX_SHARE` of the values exceed by far."""
_log = logging.getLogger("jaxdae")


@dataclasses.dataclass(frozen=True)
class About:
    """What a denoiser was made for."""

    noise: Noise
    """The noise that it was trained on."""
    channels: int
    """Channels of its images."""
    value_range: ValueRange | None = EIGHT_BIT
    """The stored values that stand for 0 and 1: of 8 bits or given; None: measured of each file."""
    size: tuple[int, int] | None = None
    """The only height and width that it takes; None: any."""
    trained_on: tuple[int, int] | None = None
    """The height and width of the images or patches that it was trained on, if they are known."""
    seed: int | None = None
    """The seed of its training, if it has one."""
    origin: str = ""
    """Where it comes from, in words."""
    value_type: str = "uint8"
    """The type of stored values that `value_range` holds for, as `data.ranges.value_type` names it."""

    def __post_init__(self) -> None:
        """Raises InputError for values of other types or lengths, which a file can hold."""
        object.__setattr__(self, "noise", check_noise(self.noise))
        for name in ("channels", "value_range", "size", "trained_on", "seed"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        whole, real = numbers.Integral, numbers.Real
        fits = {
            "channels": _are((self.channels,), whole, 1, 1),
            "value_range": self.value_range is None
            or (_are(self.value_range, real, 2, -MOST) and self.value_range[0] < self.value_range[1]),
            "size": self.size is None or _are(self.size, whole, 2, 1),
            "trained_on": self.trained_on is None or _are(self.trained_on, whole, 2, 1),
            "seed": self.seed is None or _are((self.seed,), whole, 1, 0),
            "origin": isinstance(self.origin, str),
            "value_type": isinstance(self.value_type, str),
        }
        for name in (name for name, right in fits.items() if not right):
            raise InputError(f"{name} {getattr(self, name)!r} of a denoiser is not allowed (see About)")


def _are(values: Any, kind: Any, count: int, low: Any) -> bool:
    if not isinstance(values, (tuple, list)) or len(values) != count:
        return False
    return all(isinstance(x, kind) and not isinstance(x, bool) and low <= x <= MOST for x in values)


@dataclasses.dataclass(frozen=True, eq=False)
class Denoiser:
    """A network, its parameters, and what they were made for."""

    module: Any
    """The linen module. Its `prediction` says how the output becomes an image, its `reach` how images are tiled."""
    params: Any
    """Its parameters, one network's."""
    about: About

    def __post_init__(self) -> None:
        """Raises InputError unless there is a network, and what it was made for."""
        kind = type(self.module)
        if isinstance(self.module, type):
            raise InputError(f"module is the class {self.module.__name__}; give an instance, {self.module.__name__}()")
        if not all(hasattr(kind, name) or hasattr(self.module, name) for name in ("prediction", "multiple", "reach")):
            raise InputError(f"module is {shown(self.module)}, not a network; give an instance, such as UNet()")
        require_instance("about", self.about, About, "give About(noise, channels)")

    def apply(self, images: Images, level: PerImage | Scalar | None = None) -> Images:
        """The denoised images, pure: no check, no tiling; on the [0, 1] scale, which image and residual may leave."""
        return predict(self.module, self.params, images, level).image

    def __call__(
        self,
        noisy: Any,
        level: Any = None,
        *,
        mirrored: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Float[np.ndarray, "image height width channel"]:
        """Denoises images of any number and size, in bounded memory. Adds no noise.

        Args:
            noisy: (image, height, width, channel) floats on the [0, 1] scale; beyond it only if the network was trained
                without clipping.
            level: their noise level (for all, or one each), for networks that take it.
            mirrored: let the images go on as their mirror image beyond their borders, where the network itself sees
                zeros, which darken the borders of bright images; of no effect on networks without a `reach`.
            progress: called after each tile with how many are done, and of how many.

        Returns:
            The denoised images, of the same shape and scale (which the predictions image and residual may leave).
            InputError if the images have another shape, type, range or number of channels, or the level is missing,
            out of range, or of no use to the network.
        """
        require_flag("mirrored", mirrored)
        if progress is not None:
            require_callable("progress", progress)
        images = self._checked(noisy)
        levels = self.check_level(level, len(images))
        with rng.pinned():
            return _denoise_tiled(self.params, images, self.module, levels, mirrored, progress)

    def layers(self, noisy: Images, level: Any = None) -> dict[str, Float[Array, "batch rows columns feature"]]:
        """What the network sows of its hidden layers (encoder_0 .. decoder_0 ..) for images on the [0, 1] scale."""
        images = self._checked(noisy)
        levels = self.check_level(level, len(images))
        with rng.pinned():
            return _sown_layers(self.params, images, levels, self.module)

    @property
    def takes_level(self) -> bool:
        """Whether the noise level is an input of the network."""
        return getattr(self.module, "level_input", False)

    def check_level(self, level: Any, images: int = 1) -> Float[np.ndarray, "image"] | None:
        """The level of each image; InputError if it is missing, out of range, or of no use to the network."""
        if level is None and not self.takes_level:
            return None
        if level is None:
            raise InputError("this denoiser takes the noise level as an input; give its level (--noise-level)")
        if not self.takes_level:
            raise InputError(f"this denoiser takes no noise level; leave {shown(level)} out")
        try:
            if np.asarray(level).dtype.kind not in "iufV":  # text and truth values; V: bfloat16
                raise TypeError
            levels = np.broadcast_to(np.asarray(level, np.float32), images)
        except (TypeError, ValueError):
            words = f"neither a number nor one for each of {images} images"
            raise InputError(f"noise level {shown(level)} is {words}") from None
        check_noise(self.about.noise.replace(level=(float(levels.min()), float(levels.max()))))  # type: ignore[attr-defined]
        return levels

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """InputError unless arrays of a shape hold images that it takes."""
        channels, size = self.about.channels, self.about.size
        if len(shape) != 4 or min(shape) == 0:
            raise InputError(f"images of shape {shape} cannot be denoised; give (image, height, width, channel)")
        if shape[-1] != channels:
            order = "grey denoisers take colour one channel at a time"
            if shape[1] == channels:
                order = "PyTorch's order becomes it by images.transpose(0, 2, 3, 1)"
            raise InputError(
                f"images of shape {shape} have {shape[-1]} channels, but this denoiser takes {channels}; "
                f"the order is (image, height, width, channel), {order}"
            )
        if size and shape[1:3] != size:
            raise InputError(f"images of {shape[1:3]} pixels cannot be denoised; this denoiser takes {size} only")

    def _checked(self, given: Any) -> np.ndarray:
        noisy = _array(given)
        self.check_shape(noisy.shape)
        clipped = self.about.noise.clip
        in_range = noisy.min() >= 0 and noisy.max() <= 1 if clipped else np.isfinite(noisy).all()
        if not (np.issubdtype(noisy.dtype, np.floating) and in_range):
            raise InputError(
                f"images must be floats from 0 to 1, got {noisy.dtype} from {noisy.min()} to {noisy.max()}; "
                "divide 8-bit ones by 255"
            )
        if not clipped:
            require_noisy_scale(noisy)
            self._warn_of_scale(noisy)
        return noisy.astype(np.float32, copy=False)

    def _warn_of_scale(self, noisy: np.ndarray) -> None:
        """Warns of images that are on another scale, or much noisier than those of the training."""
        noise = self.about.noise
        bound = 1 + MAX_DEVIATIONS * max(noise.level[1], 0.5)
        if noise.corruption != "poisson" and share_beyond(noisy, bound) > MAX_SHARE:
            _log.warning(
                f"images reach from {noisy.min():g} to {noisy.max():g}, far beyond [0, 1] and beyond the noise of the "
                f"training ({format_level(noise.level)}); if white is not 1 in them, divide by its value"
            )


def _array(images: Any) -> np.ndarray:
    """Images as an array of numbers; InputError if they are something else."""
    if hasattr(images, "test"):
        raise InputError(f"images is {shown(images)}, not an array of images; give its .test on the [0, 1] scale")
    try:
        array = np.asarray(images)
    except ValueError:
        raise InputError(f"images given as {shown(images)} are not of one size; give one array for each size") from None
    if array.dtype.kind not in "biufV":
        what = shown(images) if array.ndim == 0 else f"of type {array.dtype}"
        raise InputError(f"images {what} cannot be denoised; give (image, height, width, channel) floats on [0, 1]")
    return array


@functools.partial(jax.jit, static_argnames="module")
def _sown_layers(params: Any, noisy: Array, levels: Array | None, module: Any) -> dict[str, Array]:
    _, sown = module.apply({"params": params}, noisy, levels, mutable="intermediates")
    return sown["intermediates"]["layers"][0] if sown else {}


def _denoise_tiled(
    params: Any,
    noisy: np.ndarray,
    module: Any,
    levels: np.ndarray | None,
    mirrored: bool,
    progress: Callable[[int, int], None] | None,
) -> np.ndarray:
    """Denoises tile by tile. Each sees all the pixels that can touch its output, so no seams arise."""
    unit, size = module.multiple, noisy.shape[1:3]
    margin = -(-module.reach // unit) * unit if mirrored and module.reach is not None else 0
    tiles = list(itertools.product(*(_tiles(side + 2 * margin + -side % unit, module) for side in size)))
    clean = np.empty_like(noisy)
    for done, (rows, columns) in enumerate(tiles, 1):
        inside = [_shifted(window, -margin) for window, _ in (rows, columns)]
        tile = _denoise_batched(params, _cut(noisy, inside[0], inside[1]), levels, module)
        kept = [
            slice(max(part.start - margin, 0), min(part.stop - margin, side))
            for (_, part), side in zip((rows, columns), size, strict=True)
        ]
        y, x = (_shifted(part, -window.start) for part, window in zip(kept, inside, strict=True))
        clean[:, kept[0], kept[1]] = tile[:, y, x]
        if progress:
            progress(done, len(tiles))
    return clean


def _cut(images: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """A window that may leave the images, by NumPy, which compiles nothing for a new size.

    Beyond the border lies the mirror image, as `models.layers.pad_to_multiple` has it.
    """
    indices = []
    for part, side in zip((rows, columns), images.shape[1:3], strict=True):
        period = max(2 * (side - 1), 1)
        index = np.arange(part.start, part.stop) % period
        indices.append(np.minimum(index, period - index))
    if rows.start >= 0 and columns.start >= 0 and rows.stop <= images.shape[1] and columns.stop <= images.shape[2]:
        return images[:, rows, columns]
    return images[:, indices[0][:, None], indices[1]]


def _tiles(side: int, module: Any) -> Iterator[tuple[slice, slice]]:
    """Cuts a side into windows of equal size: what to compute and, without the margins, what to keep of it."""
    unit = module.multiple
    margin = side if module.reach is None else -(-module.reach // unit) * unit
    window = min(side, TILE + 2 * margin)
    window -= window % unit
    if window == side:
        yield slice(0, side), slice(0, side)
        return
    for start in [*range(0, side - window, window - 2 * margin), side - window]:
        first, last = start == 0, start + window == side
        yield (
            slice(start, start + window),
            slice(start + (0 if first else margin), start + window - (0 if last else margin)),
        )


def _shifted(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


def _denoise_batched(params: Any, noisy: np.ndarray, levels: np.ndarray | None, module: Any) -> np.ndarray:
    count, height, width = noisy.shape[:3]
    group = min(count, max(1, PIXELS_ON_DEVICE // (height * width)))
    at_once = max(1, min(parallel.images_at_once(), PIXELS_AT_ONCE // (height * width)))
    stacked = (noisy,) if levels is None else (noisy, levels)
    missing = -count % group  # one compiled shape for all groups
    padded = [np.concatenate([x, np.zeros_like(x[:missing])]) if missing else x for x in stacked]
    groups = [_compiled(params, *(x[i : i + group] for x in padded), module=module, at_once=at_once)
              for i in range(0, count, group)]  # fmt: skip
    return np.concatenate(groups)[:count] if len(groups) > 1 else np.asarray(groups[0])


@functools.partial(jax.jit, static_argnames=("module", "at_once"))
def _compiled(params: Any, *batch: Array, module: Any, at_once: int) -> Array:
    return parallel.in_batches(lambda p, *b: predict(module, p, *b).image, params, *batch, at_once=at_once)
