"""Sources: where examples come from.

A source is a pytree: its arrays are leaves, kept on the device in their own type; the rest is structure. The contract
is `examples`, how many there are, and a pure `take(draws, index) -> Sample`, called inside the compiled program. Only
the source knows its value range, the file values that stand for 0 and 1.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxdae.errors import InputError, shown
from jaxdae.rng import Draws
from jaxdae.types import Image, Index, RawImages

ValueRange = tuple[float, float]
EIGHT_BIT: ValueRange = (0.0, 255.0)
MAX_CHANNELS = 4
"""More are taken for a side of the image."""
MAX_NOISY, MAX_SHARE = 26.0, 0.005
"""At the highest noise level, 5, less than this share of the values is larger: five standard deviations of normal noise
beyond white, two photons of Poisson noise. On the scale to 255 more of them are, save in an almost black picture."""


class Sample(NamedTuple):
    """What a source knows of one example, on the [0, 1] scale."""

    clean: Image | None
    noisy: Image | None = None
    """A real noisy image, where the source has one."""
    other: Image | None = None
    """Another noisy image of the same scene, where the source has no clean one."""


@runtime_checkable
class Source(Protocol):
    """The contract."""

    @property
    def examples(self) -> int:
        """How many examples there are."""

    def take(self, draws: Draws, index: Index) -> Sample:
        """One example; `draws` are its own, for a source that draws (a crop, a flip)."""


@struct.dataclass
class InMemory:
    """Clean images in memory, all of one size; or pairs."""

    images: RawImages
    value_range: ValueRange = struct.field(pytree_node=False, default=EIGHT_BIT)
    noisy: RawImages | None = None
    """Of pairs: a real noisy image for each, in the same type."""
    noisy_target: bool = struct.field(pytree_node=False, default=False)
    """Of pairs: `images` are noisy too."""
    beyond: bool = struct.field(pytree_node=False, default=False)
    """Some values lie beyond the value range."""

    @property
    def examples(self) -> int:
        """How many images there are."""
        return self.images.shape[0]

    def take(self, draws: Draws, index: Index) -> Sample:
        """The clean image at a position, or the pair."""
        target, noisy = (x if x is None else rescale(x[index], self.value_range) for x in (self.images, self.noisy))
        return Sample(None, noisy, target) if self.noisy_target else Sample(target, noisy)


def pixels_of(source: Source) -> int:
    """Height times width of a source's examples."""
    zero = jnp.zeros((), jnp.int32)
    sample = jax.eval_shape(lambda: source.take(Draws(zero, zero, zero), zero))
    height, width, _ = (sample.noisy if sample.clean is None else sample.clean).shape
    return height * width


def rescale(values: Array | np.ndarray, value_range: ValueRange) -> Float[Array, "..."]:
    """Stored values on the [0, 1] scale, as float32."""
    low, high = value_range
    stored = jnp.asarray(values).astype(jnp.float32)
    return (stored - low if low else stored) / (high - low)


def to_unit(images: RawImages) -> Float[Array, "example height width channel"]:
    """8-bit images, or floats on the [0, 1] scale, as float32 on that scale; InputError for another type."""
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return rescale(images, EIGHT_BIT)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(f"images of type {images.dtype} cannot be used: give 8-bit ones, or floats from 0 to 1")
    return images.astype(jnp.float32)


def require_images(images: Any, name: str = "images") -> None:
    """InputError unless a value is an array of 8-bit or float images, (image, height, width, channel)."""
    if hasattr(images, "test"):
        raise InputError(f"{name} is {shown(images)}, not an array of images; give its .test or .train")
    if not (hasattr(images, "dtype") and hasattr(images, "shape")):
        raise InputError(f"{name} is {shown(images)}; give an array of images, (image, height, width, channel)")
    if len(images.shape) != 4 or min(images.shape) == 0:
        raise InputError(f"{name} of shape {tuple(images.shape)} cannot be used: give (image, height, width, channel)")
    require_channels_last(images.shape, name)
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(f"{name} of type {images.dtype} cannot be used: give 8-bit ones, or floats from 0 to 1")


def require_channels_last(shape: Sequence[int], name: str = "images") -> None:
    """InputError if a shape (image, height, width, channel) can only be (image, channel, height, width)."""
    if is_channels_first(shape):
        first = shape[1]
        raise InputError(
            f"{name} of shape {tuple(shape)} seem to have their {first} channels first; "
            "give images.transpose(0, 2, 3, 1)"
        )


def is_channels_first(shape: Sequence[int]) -> bool:
    """Whether a shape of images can only be (image, channel, height, width)."""
    _, first, width, last = shape
    return first <= MAX_CHANNELS < last and width > MAX_CHANNELS


def require_noisy_scale(images: Any, name: str = "images") -> None:
    """InputError if floats, which may lie beyond [0, 1], are not finite or can only be on another scale."""
    values = np.asarray(images)
    if values.dtype == np.uint8:
        return
    if not np.isfinite(values).all():
        raise InputError(f"{name} have values that are not finite; give floats on the [0, 1] scale")
    require_scale(values, name)


def require_scale(values: np.ndarray, name: str = "images") -> None:
    """InputError if more values lie far beyond [0, 1] than noise explains."""
    if share_beyond(values, MAX_NOISY) > MAX_SHARE:
        raise InputError(
            f"{name} must be floats on the [0, 1] scale, which noise may leave, not from {values.min():g} to "
            f"{values.max():g}; divide by the value of white (255 for 8-bit images)"
        )


def share_beyond(values: np.ndarray, bound: float) -> float:
    """The share of values whose size exceeds a bound; 0 if they are one or two, such as hot pixels."""
    if not values.size or max(-values.min(), values.max()) <= bound:
        return 0.0
    count = int(np.count_nonzero(values > bound)) + int(np.count_nonzero(values < -bound))
    return count / values.size if count > 2 else 0.0


def require_unit_range(images: RawImages) -> None:
    """InputError if floats are not on the [0, 1] scale; 8-bit images always are, once `to_unit` has them."""
    if jnp.issubdtype(images.dtype, jnp.floating) and images.size:
        low, high = float(images.min()), float(images.max())
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"float images must be on the [0, 1] scale, not from {low:g} to {high:g}; divide by the peak"
            )
