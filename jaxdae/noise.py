"""Corruptions: pure functions `(key, clean, level) -> noisy`, and `Noise`, which says how a member's images get noisy.

Every function takes one image `clean` on the [0, 1] scale and does not clip; `corrupt` does, where it is asked to. At
level 0 each of them is the identity. A draw never depends on the level: unit noise is scaled, one uniform number is
thresholded. So members at several levels that share a seed see the same underlying draw, and comparisons are paired.

Source: Vincent et al. 2010 (JMLR 11:3371) for Gaussian, masking and salt-and-pepper noise in denoising autoencoders.
Poisson's draw is similar, not identical, between levels (its counts change); below level 1e-4 (10^8 counts at x = 1)
it is the identity.
"""

import math
import numbers
from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from jaxdae import components, rng
from jaxdae.arguments import require_flag, require_instance, require_seed
from jaxdae.components import number, structure
from jaxdae.data.source import require_images, require_noisy_scale, require_unit_range, to_unit
from jaxdae.errors import InputError, shown
from jaxdae.rng import Draws
from jaxdae.types import Image, Images, PRNGKey, RawImages, Scalar

Level = tuple[float, float]
"""The range from which each example's level is drawn uniformly; the same number twice for a fixed level."""


def gaussian(key: PRNGKey, clean: Image, level: Scalar) -> Image:
    """Adds independent normal noise; `level` is its standard deviation."""
    return clean + level * _draw(jax.random.normal, key, clean.shape)


def uniform(key: PRNGKey, clean: Image, level: Scalar) -> Image:
    """Adds independent uniform noise; `level` is its half-width."""
    return clean + level * _draw(jax.random.uniform, key, clean.shape, minval=-1.0)


def speckle(key: PRNGKey, clean: Image, level: Scalar) -> Image:
    """Adds normal noise in proportion to the signal; `level` is the ratio of their sizes."""
    return clean + clean * level * _draw(jax.random.normal, key, clean.shape)


def salt_and_pepper(key: PRNGKey, clean: Image, level: Scalar) -> Image:
    """Turns a fraction `level` of the pixels white or black, with equal chance, in all channels."""
    drawn = _per_pixel_uniform(key, clean)
    return jnp.where(drawn < level / 2, 0.0, jnp.where(drawn >= 1 - level / 2, 1.0, clean))


def masking(key: PRNGKey, clean: Image, level: Scalar) -> Image:
    """Turns a fraction `level` of the pixels black, in all channels."""
    return jnp.where(_per_pixel_uniform(key, clean) < level, 0.0, clean)


def poisson(key: PRNGKey, clean: Image, level: Scalar) -> Image:
    """Counts photons, level^2 Poisson(x / level^2): `level` is 1 / sqrt(expected count at brightness 1)."""
    unit = jnp.square(jnp.clip(level, _LEAST_POISSON_LEVEL, _HIGHEST_POISSON_LEVEL))
    counts = jax.random.poisson(key, clean / unit, clean.shape, jnp.int32)
    return jnp.where(level < _LEAST_POISSON_LEVEL, clean, counts * unit)


_LEAST_POISSON_LEVEL = 1e-4  # int32 counts overflow soon below
_HIGHEST_POISSON_LEVEL = 1e9  # no photon arrives from there on, and its square is still a float32


def _per_pixel_uniform(key: PRNGKey, clean: Image) -> Float[Array, "height width 1"]:
    return _draw(jax.random.uniform, key, (*clean.shape[:2], 1))


def _draw(sample: Callable[..., Array], key: PRNGKey, shape: tuple[int, ...], **bounds: float) -> Array:
    # Drawn flat: the same numbers, in a program that XLA:CPU compiles in half the time and runs faster.
    return sample(key, (math.prod(shape),), jnp.float32, **bounds).reshape(shape)


class Corruption(NamedTuple):
    """A corruption, and what its level means."""

    function: Callable[[PRNGKey, Image, Scalar], Image]
    unit: str
    highest: float = 5.0
    """The highest level: more noise than that is a level on another scale than [0, 1]."""
    scaled: bool = False
    """Whether the level is a brightness: on a scale of 0 to 255 it is 255 times as high."""
    unbiased: bool = True
    """Whether the mean over draws is the clean image, before clipping."""


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian": Corruption(gaussian, "standard deviation", scaled=True),
    "uniform": Corruption(uniform, "half-width", scaled=True),
    "speckle": Corruption(speckle, "standard deviation over signal"),
    "salt_and_pepper": Corruption(salt_and_pepper, "fraction of pixels", highest=1.0, unbiased=False),
    "masking": Corruption(masking, "fraction of pixels", highest=1.0, unbiased=False),
    "poisson": Corruption(poisson, "1 / sqrt(peak count)"),
}


@struct.dataclass
class Noise:
    """How clean images become noisy."""

    corruption: str = structure("gaussian", "corruption of the clean images", choices=CORRUPTIONS)
    level: Any = number(
        (0.5, 0.5),
        "level 0.5, or a range 0:1 from which each example's is drawn (blind)",
        type=tuple,
        flag="noise-level",
    )
    clip: bool = structure(True, "clip noisy images to [0, 1]")
    redraw: Any = number(True, "draw an example's noise again each epoch, not once for all (classic)", type=bool)

    def apply(self, draws: Draws, clean: Image, purpose: int = rng.NOISE) -> tuple[Image, Scalar]:
        """The noisy image of a clean one by its named draws, and its level, the same for every purpose."""
        low, high = self.level
        level = low + (high - low) * jax.random.uniform(draws.key(rng.LEVEL), dtype=jnp.float32)
        return corrupt(draws.key(purpose), clean, level, corruption=self.corruption, clip=self.clip), level


def corrupt(
    key: PRNGKey, clean: Image, level: Scalar, *, corruption: str = "gaussian", clip: bool = True
) -> Float[Array, "height width channel"]:
    """Makes one clean image noisy; its shape stays.

    Args:
        key: the draw.
        clean: the image, on the [0, 1] scale.
        level: the noise level, in the unit of the corruption; may be traced.
        corruption: a name in `CORRUPTIONS`.
        clip: clip the result to [0, 1].

    InputError for integers, which would become 0 and 1.
    """
    if not jnp.issubdtype(clean.dtype, jnp.floating):
        raise InputError(
            f"clean images must be floats on the [0, 1] scale, not {clean.dtype}; divide 8-bit ones by 255"
        )
    noisy = CORRUPTIONS[corruption].function(key, clean, level)
    return jnp.clip(noisy, 0.0, 1.0) if clip else jnp.asarray(noisy)


def corrupt_batch(
    noise: Noise, draws: Draws, clean: Images
) -> tuple[Float[Array, "batch height width channel"], Float[Array, "batch"]]:
    """The noisy images of a batch, and their levels; `draws` has one seed, one epoch, and an index for each image."""
    noisy, levels = jax.vmap(noise.apply, in_axes=(EACH, 0))(draws, jnp.asarray(clean))
    return jnp.asarray(noisy), jnp.asarray(levels)


EACH = Draws(None, None, 0)  # type: ignore[arg-type]
"""The axes of a batch's draws under vmap: one seed, one epoch, an index for each example."""


def noisy_examples(
    images: RawImages,
    noise: Noise,
    *,
    seed: int = 0,
    index: Int[Array | np.ndarray, "example"] | None = None,
    beyond: bool = False,
) -> Float[Array, "example height width channel"]:
    """The noisy images of the evaluation: the very ones that `evaluation.measure` measures.

    Args:
        images: clean images: 8-bit, or floats on the [0, 1] scale.
        noise: the corruption, level (of a range, each image's own draw) and clipping.
        seed: of the evaluation's noise.
        index: the positions of the images in their dataset; by default the first ones.
        beyond: floats may lie beyond [0, 1], as those of a measured value range do.

    Returns:
        The noisy images; beyond [0, 1] only if `noise.clip` is False. InputError if the noise, or the type or range of
        the images, is not allowed.
    """
    if isinstance(images, Noise):
        raise InputError("images is a Noise; did you swap images and noise?")
    noise = check_noise(noise)
    require_seed(seed)
    require_flag("beyond", beyond)
    require_images(images)
    if index is not None:
        _require_index(index, len(images))
    if beyond:
        require_noisy_scale(images)
    else:
        require_unit_range(images)
    with rng.pinned():
        positions = jnp.arange(images.shape[0]) if index is None else jnp.asarray(index)
        return corrupt_batch(noise, Draws(jnp.uint32(seed), jnp.uint32(rng.EVALUATION), positions), to_unit(images))[0]


def _require_index(index: Any, count: int) -> None:
    """InputError unless a value is an array of one position in a dataset for each image."""
    is_array = hasattr(index, "dtype") and np.issubdtype(index.dtype, np.integer)
    if not is_array or tuple(index.shape) != (count,) or int(index.min()) < 0:
        raise InputError(f"index {shown(index)} is not allowed: give an array of {count} integers of at least 0")


def check_noise(noise: Noise) -> Noise:
    """The noise with its level as the pair (low, high); InputError if a field or the level is not allowed."""
    way_out = "give its .noise" if hasattr(noise, "noise") else "give Noise(level=0.5)"
    require_instance("noise", noise, Noise, way_out)
    noise = components.checked(noise)
    low, high = level_range(noise.level)
    corruption = CORRUPTIONS[noise.corruption]
    if not 0 <= low <= high <= corruption.highest:
        way_out = "a range low:high rising"
        if corruption.scaled and 0 <= low <= high <= 255 * corruption.highest:
            on_unit = format_level((low / 255, high / 255))
            way_out = f"on the [0, 1] scale of the images; on the scale to 255 it is {on_unit} (--noise-scale 255)"
        raise InputError(
            f"noise level {format_level((low, high))} is out of range: {noise.corruption} takes 0 to "
            f"{corruption.highest:g}, {way_out}"
        )
    return noise.replace(level=(low, high))  # type: ignore[attr-defined]


def level_range(level: Any) -> Level:
    """A level in any form, 0.5, (0, 1), "0.5" or "0:1", as the pair (low, high); InputError if it has none."""
    try:
        ends = level.split(":", 1) if isinstance(level, str) else [level] if isinstance(level, numbers.Real) else level
        if isinstance(ends, (Mapping, Set)) or any(isinstance(end, (bool, np.bool_)) for end in ends):
            raise TypeError
        low, high = [float(end) for end in ends] * (2 // len(ends))
        return low, high
    except (TypeError, ValueError, ArithmeticError):
        raise InputError(f"noise level {shown(level)} is neither a number (0.5) nor a range (0:1)") from None


def format_level(level: Level) -> str:
    """A level as it is typed: 0.5, or 0:1 for a range."""
    low, high = level
    return f"{low:g}" if str(low) == str(high) else f"{low:g}:{high:g}"  # NaN is not equal to itself
