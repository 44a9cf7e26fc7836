"""Sources: where examples come from.

A source is a pytree: its arrays are leaves, kept on the device in their own type; the rest is structure. The contract
is `examples`, how many there are, and a pure `take(draws, index) -> Sample`, called inside the compiled program. Only
the source knows its value range, the file values that stand for 0 and 1.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from jaxdae.errors import InputError
from jaxdae.rng import Draws
from jaxdae.types import Image, Index, RawImages

ValueRange = tuple[float, float]
EIGHT_BIT: ValueRange = (0.0, 255.0)


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


def require_unit_range(images: RawImages) -> None:
    """InputError if floats are not on the [0, 1] scale; 8-bit images always are, once `to_unit` has them."""
    if jnp.issubdtype(images.dtype, jnp.floating) and images.size:
        low, high = float(images.min()), float(images.max())
        if not 0 <= low <= high <= 1:
            raise InputError(
                f"float images must be on the [0, 1] scale, not from {low:g} to {high:g}; divide by the peak"
            )
