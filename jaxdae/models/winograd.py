"""3x3 convolutions with 16 products for every 2x2 block of the output instead of 36 (Winograd; Lavin & Gray 2016).

Along one axis, two neighbouring outputs of a kernel of three are sums of four products of a sum of inputs with a sum of
taps; along two axes, 16. All products of one place in the blocks are one matrix product, 16 in all.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

Grid = Sequence[Sequence[Array]]
"""Arrays of equal shape by row and column."""


def conv3x3(images: Array, kernel: Array) -> Array:
    """The convolution with padding SAME and stride 1."""
    batch, height, width, _ = images.shape
    taps = jnp.stack(_flat(_transform(_of_taps, [[kernel[i, j] for j in range(3)] for i in range(3)])))
    products = lax.dot_general(_seen(images), taps, (((2,), (1,)), ((0,), (0,))))
    blocks = products.reshape(4, 4, batch, (height + 1) // 2, (width + 1) // 2, -1)
    corners = _transform(_of_products, [[blocks[i, j] for j in range(4)] for i in range(4)])
    whole = jnp.stack([jnp.stack(row, axis=3) for row in corners], axis=2)
    return whole.reshape(batch, 2 * blocks.shape[3], 2 * blocks.shape[4], -1)[:, :height, :width]


def _seen(images: Array) -> Array:
    """The 16 sums of the 4x4 pixels around every block of the output: [16, blocks, channel]."""
    height, width, channels = images.shape[1:]
    rows, columns = height + height % 2, width + width % 2
    padded = jnp.pad(images, ((0, 0), (1, 1 + rows - height), (1, 1 + columns - width), (0, 0)))
    pixels = [
        [padded[:, i : i + rows : 2, j : j + columns : 2].reshape(-1, channels) for j in range(4)] for i in range(4)
    ]
    return jnp.stack(_flat(_transform(_of_pixels, pixels)))


def _transform(along_one_axis: Callable[..., Sequence[Array]], grid: Grid) -> Grid:
    rows = [along_one_axis(*row) for row in grid]
    columns = [along_one_axis(*column) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True))


def _flat(grid: Grid) -> list[Array]:
    return [array for row in grid for array in row]


def _of_pixels(a: Array, b: Array, c: Array, d: Array) -> Sequence[Array]:
    return a - c, b + c, c - b, b - d


def _of_taps(a: Array, b: Array, c: Array) -> Sequence[Array]:
    return a, (a + b + c) / 2, (a - b + c) / 2, c


def _of_products(a: Array, b: Array, c: Array, d: Array) -> Sequence[Array]:
    return a + b + c, b - c - d
