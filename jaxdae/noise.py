"""Corruptions: pure functions `(key, clean, level) -> noisy`, and the keys that name their random draws.

Every function takes one image `x` on the [0, 1] scale and does not clip; `corrupt` does, where it is asked to. At level
0 each of them is the identity. A draw never depends on the level: unit noise is scaled, one uniform number is
thresholded. So models at several levels that share a key see the same underlying draw, and comparisons are paired.

| name              | noisy                                       | unit of the level              | range  |
|-------------------|---------------------------------------------|--------------------------------|--------|
| `gaussian`        | x + level n, n ~ N(0, 1)                    | standard deviation             | 0..inf |
| `uniform`         | x + level u, u ~ U(-1, 1)                   | half-width                     | 0..inf |
| `speckle`         | x + x level n, n ~ N(0, 1)                  | standard deviation over signal | 0..inf |
| `salt_and_pepper` | chosen pixels 0 or 1, with equal chance     | fraction of pixels             | 0..1   |
| `masking`         | chosen pixels 0                             | fraction of pixels             | 0..1   |
| `poisson`         | level^2 Poisson(x / level^2)                | 1 / sqrt(peak count)           | 0..inf |

Source: Vincent et al. 2010 (JMLR 11:3371) for Gaussian, masking and salt-and-pepper noise in denoising autoencoders.
Poisson is the one whose draw is alike, not the same, between levels (its counts change); below level 1e-4 (10^8 counts
at x = 1) it is taken as none.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt

Image = Float[Array | np.ndarray, "height width channel"]
Scalar = Float[Array, ""] | float

INITIALIZATION, ORDER, LEVEL, NOISE = range(4)
"""The purposes of a draw, folded into its key."""

ONCE, EVALUATION = 0, 2**32 - 1
"""In the place of an epoch: a draw made once for all epochs of training, and one made for evaluation."""


def gaussian(key: Key[Array, ""], clean: Image, level: Scalar) -> Image:
    """Adds independent normal noise; `level` is its standard deviation."""
    return clean + level * jax.random.normal(key, clean.shape)


def uniform(key: Key[Array, ""], clean: Image, level: Scalar) -> Image:
    """Adds independent uniform noise; `level` is its half-width."""
    return clean + level * jax.random.uniform(key, clean.shape, minval=-1.0, maxval=1.0)


def speckle(key: Key[Array, ""], clean: Image, level: Scalar) -> Image:
    """Adds normal noise in proportion to the signal; `level` is the ratio of their sizes."""
    return clean + clean * level * jax.random.normal(key, clean.shape)


def salt_and_pepper(key: Key[Array, ""], clean: Image, level: Scalar) -> Image:
    """Turns a fraction `level` of the pixels white or black, with equal chance, in all channels."""
    drawn = _per_pixel_uniform(key, clean)
    return jnp.where(drawn < level / 2, 0.0, jnp.where(drawn >= 1 - level / 2, 1.0, clean))


def masking(key: Key[Array, ""], clean: Image, level: Scalar) -> Image:
    """Turns a fraction `level` of the pixels black, in all channels."""
    return jnp.where(_per_pixel_uniform(key, clean) < level, 0.0, clean)


def poisson(key: Key[Array, ""], clean: Image, level: Scalar) -> Image:
    """Counts photons: `level` is 1 / sqrt(expected count at brightness 1)."""
    unit = jnp.square(jnp.clip(level, _LEAST_POISSON_LEVEL, _HIGHEST_POISSON_LEVEL))
    counts = jax.random.poisson(key, clean / unit, clean.shape)
    return jnp.where(level < _LEAST_POISSON_LEVEL, clean, counts * unit)


_LEAST_POISSON_LEVEL = 1e-4  # int32 counts overflow soon below
_HIGHEST_POISSON_LEVEL = 1e9  # no photon arrives from there on, and its square is still a float32


def _per_pixel_uniform(key: Key[Array, ""], clean: Image) -> Float[Array, "height width 1"]:
    return jax.random.uniform(key, (*clean.shape[:2], 1))


CORRUPTIONS: dict[str, Callable[[Key[Array, ""], Image, Scalar], Image]] = {
    "gaussian": gaussian,
    "uniform": uniform,
    "speckle": speckle,
    "salt_and_pepper": salt_and_pepper,
    "masking": masking,
    "poisson": poisson,
}


def corrupt(
    key: Key[Array, ""], clean: Image, level: Scalar, *, corruption: str = "gaussian", clip: bool = True
) -> Float[Array, "height width channel"]:
    """Makes one clean image noisy.

    Args:
        key: the draw.
        clean: the image, on the [0, 1] scale.
        level: the noise level, in the unit of the corruption; may be traced.
        corruption: a name in `CORRUPTIONS`.
        clip: clip the result to [0, 1].

    Returns:
        The noisy image, of the same shape.
    """
    noisy = CORRUPTIONS[corruption](key, clean, level)
    return jnp.clip(noisy, 0.0, 1.0) if clip else jnp.asarray(noisy)


def draw_key(
    seed: UInt[Array, ""] | int, purpose: int, epoch: Int[Array, ""] | int = ONCE, index: Int[Array, ""] | int = 0
) -> Key[Array, ""]:
    """The key of a named draw, derived from the seed, the purpose, the epoch and the example's index in the dataset.

    Epochs count from 1; `ONCE` and `EVALUATION` are no epochs.
    """
    key = jax.random.key(seed)
    for name in (purpose, epoch, index):
        key = jax.random.fold_in(key, name)
    return key


def corrupt_examples(
    seed: UInt[Array, ""] | int,
    clean: Float[Array, "batch height width channel"],
    index: Int[Array, "batch"],
    lowest_level: Scalar,
    highest_level: Scalar,
    *,
    epoch: Int[Array, ""] | int = ONCE,
    corruption: str = "gaussian",
    clip: bool = True,
) -> Float[Array, "batch height width channel"]:
    """Makes the examples of a batch noisy, each by its own named draws.

    Args:
        seed: of the model in training, of the evaluation in evaluation.
        clean: the images, on the [0, 1] scale.
        index: the examples' positions in the dataset, which name their draws.
        lowest_level: with `highest_level`, the range from which each example's level is drawn uniformly.
        highest_level: see `lowest_level`; equal to it for a fixed level.
        epoch: names the draw; `ONCE` (the default) for noise that stays the same in all epochs.
        corruption: a name in `CORRUPTIONS`.
        clip: clip the result to [0, 1].

    Returns:
        The noisy images.
    """

    def corrupt_one(clean: Array, index: Array) -> Array:
        drawn = jax.random.uniform(draw_key(seed, LEVEL, epoch, index))
        level = lowest_level + (highest_level - lowest_level) * drawn
        return corrupt(draw_key(seed, NOISE, epoch, index), clean, level, corruption=corruption, clip=clip)

    return jax.vmap(corrupt_one)(jnp.asarray(clean), index)
