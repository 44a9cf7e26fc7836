"""Linen layers over the operations of `kernels.py`, which picks the fast formulation of each platform.

Flax's own `nn.Conv` computes the same, many times slower inside a compiled loop on a CPU.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxdae.models import kernels
from jaxdae.models.kernels import max_pool, mean_pool, pixel_shuffle, pixel_unshuffle
from jaxdae.types import Images, PerImage, PRNGKey, Scalar

__all__ = [
    "Conv", "ConvTranspose", "append_level", "glorot_uniform", "he_normal", "max_pool", "mean_pool", "pad_to_multiple",
    "pixel_shuffle", "pixel_unshuffle",
]  # fmt: skip

Initializer = Callable[[PRNGKey, Sequence[int], DTypeLike], Array]


def glorot_uniform(key: PRNGKey, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """Flax's `glorot_uniform`, Keras's default, drawn flat: the same numbers, in a program that compiles faster."""
    *window, inputs, features = shape
    variance = jnp.array(2 / (math.prod(window) * (inputs + features)), dtype)
    return jax.random.uniform(key, (math.prod(shape),), dtype, -1).reshape(shape) * jnp.sqrt(3 * variance)


def he_normal(key: PRNGKey, shape: Sequence[int], dtype: DTypeLike = jnp.float32) -> Array:
    """Normal, of the variance that a relu after it keeps (He et al. 2015), for deep networks."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape) * math.sqrt(2 / math.prod(shape[:-1]))


class _Layer(nn.Module):
    """What layers with a square kernel share."""

    features: int
    size: int = 3
    bias: bool = True
    initializer: Initializer = glorot_uniform
    dtype: DTypeLike | None = None

    def _parameters(self, images: Images) -> tuple[Array, Array, Array | float]:
        """The images, the kernel and the bias (0 without one) in the layer's type."""
        kernel = self.param("kernel", self.initializer, (self.size, self.size, images.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)) if self.bias else None
        inputs, weights, offset = promote_dtype(images, kernel, bias, dtype=self.dtype)
        return jnp.asarray(inputs), jnp.asarray(weights), 0.0 if offset is None else offset


class Conv(_Layer):
    """A convolution, optionally with upsampling by 2 before it (size 3) or max-pool 2 after it."""

    stride: int = 1
    """1 or 2."""
    padding: Literal["same", "valid"] = "same"
    upsample: bool = False
    pool: bool = False

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch height2 width2 feature"]:
        """Returns the convolved images."""
        inputs, weights, offset = self._parameters(images)
        if self.upsample:
            convolved = kernels.upsample_conv3x3(inputs, weights)
        else:
            padding = ((0, 0), (0, 0)) if self.padding == "valid" else None
            convolved = kernels.conv(inputs, weights, padding, self.stride)
        # The same numbers as pooling last, since neither a bias nor relu changes the order, on a quarter of the pixels.
        return (max_pool(convolved) if self.pool else convolved) + offset


class ConvTranspose(_Layer):
    """A transposed convolution with stride 2, to twice the size."""

    size: int = 2

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch height2 width2 feature"]:
        """Returns the images of twice the size."""
        inputs, weights, offset = self._parameters(images)
        return kernels.conv_transpose(inputs, weights) + offset


def pad_to_multiple(images: Images, multiple: int) -> Float[Array, "batch height2 width2 channel"]:
    """The mirror image beyond the last row and column, until both sides are multiples of `multiple`.

    Repeated rows of noise would look like texture, which the network keeps.
    """
    padded = jnp.asarray(images)
    for axis in (1, 2):
        side = images.shape[axis]
        # Of a symbol (`jax.export`), JAX sees only of this form that it is a multiple.
        length = multiple * ((side + multiple - 1) // multiple)
        if not isinstance(side, int) or length > side:
            period = jnp.maximum(2 * (side - 1), 1)
            index = jnp.arange(length) % period
            padded = jnp.take(padded, jnp.minimum(index, period - index), axis=axis)
    return padded


def append_level(images: Images, level: PerImage | Scalar | None) -> Float[Array, "batch height width channel1"]:
    """The images with their noise level as one more, constant channel (Zhang et al. 2018, FFDNet)."""
    if level is None:
        raise ValueError("this network takes the noise level as an input, and none was given")
    levels = jnp.broadcast_to(jnp.asarray(level, images.dtype), images.shape[:1])
    plane = jnp.broadcast_to(levels[:, None, None, None], (*images.shape[:3], 1))
    return jnp.concatenate([images, plane], axis=-1)
