"""The operations under the layers, in the formulation that suits each platform: convolution, upsampling, max-pool.

On GPU and TPU they are the usual XLA operations. XLA:CPU runs a convolution many times slower inside a loop than
outside (jax-ml/jax#12868), and matrix products fast in both; so on a CPU convolutions are products of slices. The
numbers agree to float32 rounding. Everything works under jit, grad, vmap and scan; not under jvp, on a CPU.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxdae.types import Images

Kernel = Float[Array | np.ndarray, "3 3 channel feature"]


def conv3x3(images: Images, kernel: Kernel) -> Float[Array, "batch height width feature"]:
    """A 3x3 convolution with stride 1 and zero padding to the same size (no flip of the kernel)."""
    return lax.platform_dependent(images, kernel, cpu=_cpu_any_conv3x3, default=_xla_conv3x3)


def upsample_conv3x3(images: Images, kernel: Kernel) -> Float[Array, "batch height2 width2 feature"]:
    """Nearest-neighbour upsampling to twice the size, then `conv3x3`."""
    return lax.platform_dependent(images, kernel, cpu=_cpu_upsample_conv3x3, default=_xla_upsample_conv3x3)


def max_pool(images: Images) -> Float[Array, "batch height2 width2 channel"]:
    """The maximum of every 2x2 block of even sides. Of equal maxima the first, by rows, gets the gradient."""
    return lax.platform_dependent(images, cpu=_cpu_max_pool, default=_xla_max_pool)


def _xla_conv3x3(images: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _xla_upsample_conv3x3(images: Array, kernel: Array) -> Array:
    return _xla_conv3x3(images.repeat(2, axis=1).repeat(2, axis=2), kernel)


def _xla_max_pool(images: Array) -> Array:
    return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _patches(images: Array) -> Array:
    """The 3x3 neighbourhood of every pixel, as 9 times the channels, in the order of `kernel.reshape(9 c, o)`."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Slices: several times faster than lax.conv_general_dilated_patches.
    return jnp.concatenate([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=-1)


@jax.custom_vjp
def _cpu_conv3x3(images: Array, kernel: Array) -> Array:
    return _patches(images) @ kernel.reshape(-1, kernel.shape[-1])


def _cpu_conv3x3_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    # The images are kept, not their patches: a ninth of the memory traffic, and new patches are cheap.
    return _cpu_conv3x3(images, kernel), (images, kernel)


def _cpu_conv3x3_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    # Two more products of patches; autodiff would add nine padded arrays into the images' gradient instead.
    images, kernel = saved
    products = jnp.einsum("nhwp,nhwo->po", _patches(images), cotangent, preferred_element_type=jnp.float32)
    kernel_gradient = products.reshape(kernel.shape).astype(kernel.dtype)
    return _cpu_conv3x3(cotangent, kernel[::-1, ::-1].swapaxes(2, 3)), kernel_gradient


_cpu_conv3x3.defvjp(_cpu_conv3x3_forward, _cpu_conv3x3_backward)


def _cpu_any_conv3x3(images: Array, kernel: Array) -> Array:
    # Winograd's sums cost the same for every channel, and what they save grows with the channels; bfloat16 is too
    # coarse for them.
    height, width = images.shape[1:3]
    pays = min(kernel.shape[2:]) >= 16 and height % 2 == width % 2 == 0 and images.dtype.itemsize >= 4
    return _winograd_conv3x3(images, kernel) if pays else _cpu_conv3x3(images, kernel)


@jax.custom_vjp
def _winograd_conv3x3(images: Array, kernel: Array) -> Array:
    """Winograd's F(2x2, 3x3): 16 products for every 2x2 block of an image with even sides, instead of 36.

    Along one axis the outputs y0, y1 come from the inputs d0 .. d3 and the kernel w0, w1, w2 by four products,

        (d0 - d2) w0,  (d1 + d2) (w0 + w1 + w2) / 2,  (d2 - d1) (w0 - w1 + w2) / 2,  (d1 - d3) w2,

    as y0 = first + second + third and y1 = second - third - fourth. Along two axes this is done twice.
    """
    batch, height, width, _ = images.shape
    features = kernel.shape[-1]
    products = jnp.einsum("tnc,tco->tno", _input_tiles(images), _kernel_tiles(kernel))
    rows = [_block(products[a::4]) for a in range(4)]  # along height, for every tile column a
    pixels = [_block(columns) for columns in zip(*rows, strict=True)]
    shape = (batch, height // 2, width // 2, features)
    stacked = jnp.stack([jnp.stack([pixel.reshape(shape) for pixel in row], axis=3) for row in pixels], axis=2)
    return stacked.reshape(batch, height, width, features)


def _winograd_forward(images: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _winograd_conv3x3(images, kernel), (images, kernel)


def _winograd_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    images, kernel = saved
    # Transposed behind a barrier, or XLA:CPU takes the transposition into its slower kind of product.
    tiles = lax.optimization_barrier(_input_tiles(images).swapaxes(1, 2))
    products = jnp.einsum("tcn,tno->tco", tiles, _transform(_block_transposed, cotangent, 2))
    gradient = products.reshape(4, 4, *kernel.shape[2:])
    kernel_gradient = jnp.einsum("ai,bj,abco->ijco", _WINOGRAD, _WINOGRAD, gradient)
    return _winograd_conv3x3(cotangent, kernel[::-1, ::-1].swapaxes(2, 3)), kernel_gradient


_winograd_conv3x3.defvjp(_winograd_forward, _winograd_backward)

_WINOGRAD = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
"""What the four products along an axis take of the three weights."""


def _kernel_tiles(kernel: Array) -> Array:
    return jnp.einsum("ai,bj,ijco->abco", _WINOGRAD, _WINOGRAD, kernel).reshape(16, *kernel.shape[2:])


def _input_tiles(images: Array) -> Array:
    return _transform(_tile, jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))), 4)


def _transform(along_axis: Callable[[list[Array]], Sequence[Array]], images: Array, size: int) -> Array:
    """Transforms every window of size x size at stride 2, along rows and columns: (16, windows, channels)."""
    rows = along_axis(_phases(images, 1, size))
    tiles = [tile for row in rows for tile in along_axis(_phases(row, 2, size))]
    return jnp.stack([tile.reshape(-1, tile.shape[-1]) for tile in tiles])


def _phases(images: Array, axis: int, size: int) -> list[Array]:
    """The first, second, .. pixels along an axis of all windows of `size` at stride 2."""
    last = images.shape[axis] - size + 1
    return [lax.slice_in_dim(images, i, i + last, 2, axis) for i in range(size)]


def _tile(d: Sequence[Array]) -> tuple[Array, ...]:
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def _block(m: Sequence[Array] | Array) -> tuple[Array, Array]:
    return m[0] + m[1] + m[2], m[1] - m[2] - m[3]


def _block_transposed(y: Sequence[Array]) -> tuple[Array, ...]:
    return y[0], y[0] + y[1], y[0] - y[1], -y[1]


def _cpu_upsample_conv3x3(images: Array, kernel: Array) -> Array:
    """Nine products for each small pixel, where upsampling first would take 36.

    Along one axis both pixels that come from x[0] see x[-1], x[0] and x[1] alone. With the kernel w0, w1, w2 they are

        first  = w0 x[-1] + (w1 + w2) x[0] = w0 (x[-1] - x[0]) + (w0 + w1 + w2) x[0]
        second = (w0 + w1) x[0] + w2 x[1]  = w2 (x[1] - x[0])  + (w0 + w1 + w2) x[0]

    so three products give both, and along two axes nine give all four.
    """
    batch, height, width, _ = images.shape
    features = kernel.shape[-1]
    taps = [tap for row in _taps(kernel) for tap in _taps(row)]
    # Differences commute with the product: taken after it, all nine products, and both gradients, are one large one.
    products = jnp.split(_product(images, jnp.concatenate(taps, axis=1)), 9, axis=-1)
    terms = [_differences(_differences(products[3 * a + b], 1)[a], 2)[b] for a in range(3) for b in range(3)]
    rows = [_pair(terms[3 * a : 3 * a + 3]) for a in range(3)]
    columns = [_pair(column) for column in zip(*rows, strict=True)]
    stacked = jnp.stack([jnp.stack([column[a] for column in columns], axis=3) for a in range(2)], axis=2)
    return stacked.reshape(batch, 2 * height, 2 * width, features)


@jax.custom_vjp
def _product(images: Array, matrix: Array) -> Array:
    return images @ matrix


def _product_forward(images: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    return images @ matrix, (images, matrix)


def _product_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    # Autodiff has the second gradient's operands the other way round, which XLA:CPU is twice as slow with.
    images, matrix = saved
    gradient = jnp.einsum("nhwc,nhwp->cp", images, cotangent, preferred_element_type=jnp.float32)
    return cotangent @ matrix.T, gradient.astype(matrix.dtype)


_product.defvjp(_product_forward, _product_backward)


def _taps(kernel: Array) -> tuple[Array, Array, Array]:
    return kernel[0], kernel[0] + kernel[1] + kernel[2], kernel[2]


def _differences(images: Array, axis: int) -> tuple[Array, Array, Array]:
    """x[-1] - x[0], x[0] and x[1] - x[0], with zeros outside the image."""
    zero = jnp.zeros_like(lax.slice_in_dim(images, 0, 1, axis=axis))
    before = jnp.concatenate([zero, lax.slice_in_dim(images, 0, -1, axis=axis)], axis)
    after = jnp.concatenate([lax.slice_in_dim(images, 1, None, axis=axis), zero], axis)
    return before - images, images, after - images


def _pair(terms: Sequence[Array]) -> tuple[Array, Array]:
    return terms[0] + terms[1], terms[1] + terms[2]


@jax.custom_vjp
def _cpu_max_pool(images: Array) -> Array:
    return _cpu_max_pool_forward(images)[0]


def _cpu_max_pool_forward(images: Array) -> tuple[Array, Array]:
    batch, height, width, channels = images.shape
    blocks = images.reshape(batch, height // 2, 2, width // 2, 2, channels)
    corners = [blocks[:, :, i, :, j] for i in range(2) for j in range(2)]
    highest = jnp.maximum(jnp.maximum(corners[0], corners[1]), jnp.maximum(corners[2], corners[3]))
    first = jnp.select([corner == highest for corner in corners[:3]], [0, 1, 2], 3).astype(jnp.int8)
    return highest, first


def _cpu_max_pool_backward(first: Array, cotangent: Array) -> tuple[Array]:
    # One comparison for each pixel: XLA's select_and_scatter is serial, and the gradient of `maximum` splits ties.
    batch, height, width, channels = cotangent.shape
    corner = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 2, 1, 2, 1)
    spread = jnp.where(first[:, :, None, :, None] == corner, cotangent[:, :, None, :, None], 0)
    return (spread.reshape(batch, 2 * height, 2 * width, channels),)


_cpu_max_pool.defvjp(_cpu_max_pool_forward, _cpu_max_pool_backward)
