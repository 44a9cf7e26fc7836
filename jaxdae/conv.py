"""The 3x3 convolution, alone and after a nearest-neighbour upsampling, and how each platform carries it out.

On GPU and TPU both are `lax.conv_general_dilated`. XLA:CPU runs that operation many times slower inside a loop than
outside (jax-ml/jax#12868), and matrix products fast in both; so on a CPU both are products of shifted slices.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channel"]
Kernel = Float[Array, "3 3 channel feature"]


def conv3x3(images: Images, kernel: Kernel) -> Float[Array, "batch height width feature"]:
    """A 3x3 convolution with stride 1 and zero padding to the same size (no flip of the kernel)."""
    return lax.platform_dependent(images, kernel, cpu=_dot_conv3x3, default=_lax_conv3x3)


def upsample_conv3x3(images: Images, kernel: Kernel) -> Float[Array, "batch height2 width2 feature"]:
    """Nearest-neighbour upsampling to twice the size, then `conv3x3`."""
    return lax.platform_dependent(
        images, kernel, cpu=_dot_upsample_conv3x3, default=lambda x, k: _lax_conv3x3(_upsample(x), k)
    )


def _lax_conv3x3(images: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _upsample(images: Array) -> Array:
    return images.repeat(2, axis=1).repeat(2, axis=2)


def _pad(images: Array) -> Array:
    return jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _patches(images: Array) -> Array:
    """The 3x3 neighbourhood of every pixel, as 9 times the channels."""
    height, width = images.shape[1:3]
    padded = _pad(images)
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1)


@jax.custom_vjp
def _dot_conv3x3(images: Array, kernel: Array) -> Array:
    return _patches(images) @ kernel.reshape(-1, kernel.shape[-1])


def _dot_conv3x3_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _dot_conv3x3(images, kernel), (images, kernel)


def _dot_conv3x3_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    # Both gradients are products of patches too; autodiff would pad and add nine slices instead.
    images, kernel = saved
    kernel_gradient = jnp.einsum("bhwp,bhwf->pf", _patches(images), cotangent).reshape(kernel.shape)
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)
    return _patches(cotangent) @ flipped.reshape(-1, flipped.shape[-1]), kernel_gradient


_dot_conv3x3.defvjp(_dot_conv3x3_forward, _dot_conv3x3_backward)


def _dot_upsample_conv3x3(images: Array, kernel: Array) -> Array:
    """Each output pixel sees 2x2 different input pixels: four 2x2 convolutions, one for each of its phases."""
    batch, height, width, _ = images.shape
    padded = _pad(images)

    def phase(a: int, b: int) -> Array:
        reach = [padded[:, a + i : a + i + height, b + j : b + j + width] for i in range(2) for j in range(2)]
        folded = _fold(_fold(kernel, a, axis=0), b, axis=1)
        return jnp.concatenate(reach, axis=-1) @ folded.reshape(-1, kernel.shape[-1])

    phases = jnp.stack([jnp.stack([phase(a, b) for b in range(2)], axis=3) for a in range(2)], axis=2)
    return phases.reshape(batch, 2 * height, 2 * width, kernel.shape[-1])


def _fold(kernel: Array, phase: int, *, axis: int) -> Array:
    """Adds the two of three rows (or columns) of the kernel that fall on the same pixel before the upsampling."""
    first, second, third = jnp.split(kernel, 3, axis=axis)
    pair = [first, second + third] if phase == 0 else [first + second, third]
    return jnp.concatenate(pair, axis=axis)
