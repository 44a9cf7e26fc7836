"""Linen layers over the kernels of `kernels.py`, which picks the fast formulation of each platform."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxdae.models import kernels
from jaxdae.types import Images, PRNGKey


class Conv3x3(nn.Module):
    """A 3x3 convolution with zero padding and a bias; optionally upsampling by 2 before or max-pool 2 after it."""

    features: int
    upsample: bool = False
    pool: bool = False
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch height2 width2 feature"]:
        """Returns the convolved images."""
        # As Keras initializes.
        kernel = self.param("kernel", glorot_uniform, (3, 3, images.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        convolve: Callable[[Array, Array], Array] = kernels.upsample_conv3x3 if self.upsample else kernels.conv
        inputs, weights, offset = promote_dtype(images, kernel, bias, dtype=self.dtype)
        convolved = convolve(inputs, weights)
        # The same numbers as pooling last, since neither a bias nor relu changes the order, on a quarter of the pixels.
        return (kernels.max_pool(convolved) if self.pool else convolved) + offset


def glorot_uniform(key: PRNGKey, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """Flax's `glorot_uniform`, drawn flat: the same numbers, in a program that compiles much faster on a CPU."""
    *window, inputs, features = shape
    variance = jnp.array(2 / (math.prod(window) * (inputs + features)), dtype)
    return jax.random.uniform(key, (math.prod(shape),), dtype, -1).reshape(shape) * jnp.sqrt(3 * variance)


def pad_to_multiple(images: Images, multiple: int) -> Float[Array, "batch height2 width2 channel"]:
    """Repeats the last row and column until both sides are multiples of `multiple`."""
    rows, columns = (-side % multiple for side in images.shape[1:3])
    return jnp.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")
