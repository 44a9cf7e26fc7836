"""The operations under the layers, in the formulation that suits each platform: convolutions, upsampling, pools.

On GPU and TPU they are the usual XLA operations. On a CPU, jaxlib hands one kind of convolution to a fast library: a
*forward* one (NHWC x HWIO, stride 1; no reversal, dilation, groups or other order of dimensions). Any other kind takes
many times longer, in a loop above all (jax-ml/jax#12868). So both gradients of a convolution are written as forward
convolutions too; operands are laid out behind a barrier, or XLA folds the transposition into the dimension numbers.
Matrix products replace it where they are faster still (results/formulations/README.md). The numbers agree to float32
rounding. Everything works under jit, jvp, grad, vmap and scan.

On any platform, members that step together "by products" (`parallel.Population`) have convolutions as products, and
what is traced inside `plain()` has the usual XLA operations.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdae.models import winograd
from jaxdae.models.bilinear import bilinear
from jaxdae.parallel import by_products
from jaxdae.types import Images, Kernel

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zeros above and below, left and right."""

_barrier = lax.optimization_barrier
_plain = contextvars.ContextVar("plain", default=False)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """What is traced inside has XLA's own operations on every platform, as a file for all of them needs (an export).

    Not for functions that are called outside too: a program that is compiled already stays as it is.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def conv(
    images: Images, kernel: Kernel, padding: Padding | None = None, stride: int = 1
) -> Float[Array, "batch height2 width2 feature"]:
    """A convolution with stride 1 or 2 (no flip of the kernel).

    Without a padding, zeros surround the images so that the output has 1/stride of their size, as padding SAME does.
    """
    if padding is None:
        rows, columns = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], (stride, stride), "SAME")
        padding = (rows, columns)
    return _choose(
        images,
        kernel,
        lambda x, k: (_cpu_conv if stride == 1 else _cpu_strided_conv)(x, k, padding),
        lambda x, k: _xla_conv(x, k, padding, stride),
        lambda x, k: _sliced_conv(x, k, padding, stride),
    )


def conv_transpose(images: Images, kernel: Kernel) -> Float[Array, "batch height2 width2 feature"]:
    """A transposed convolution with stride 2 to twice the size, as `lax.conv_transpose` with padding SAME."""
    return _choose(images, kernel, _phase_conv_transpose, _xla_conv_transpose, _phase_conv_transpose)


def upsample_conv3x3(images: Images, kernel: Kernel) -> Float[Array, "batch height2 width2 feature"]:
    """Nearest-neighbour upsampling to twice the size, then a 3x3 convolution to the same size."""
    # A few features leave the fast product of `_nine_products` little to do in its gradient.
    on_cpu = _narrow_upsample_conv if kernel.shape[3] < 8 else _nine_products
    return _choose(images, kernel, on_cpu, _xla_upsample_conv, _nine_products)


_Operation = Callable[[Array, Array], Array]


def _choose(images: Images, kernel: Kernel, cpu: _Operation, native: _Operation, products: _Operation) -> Array:
    """One of three formulations: for members that step together by products, for a CPU, for accelerators."""
    operands = jnp.asarray(images), jnp.asarray(kernel)
    if _plain.get():
        return native(*operands)
    return products(*operands) if by_products() else lax.platform_dependent(*operands, cpu=cpu, default=native)


def max_pool(images: Images) -> Float[Array, "batch height2 width2 channel"]:
    """The maximum of every 2x2 block of even sides. Of equal maxima the first, by rows, gets the gradient."""
    if _plain.get():
        return _xla_max_pool(jnp.asarray(images))
    return lax.platform_dependent(images, cpu=_cpu_max_pool, default=_xla_max_pool)


def mean_pool(images: Images) -> Float[Array, "batch height2 width2 channel"]:
    """The mean of every 2x2 block of even sides."""
    batch, height, width, channels = images.shape
    return jnp.asarray(images).reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def pixel_unshuffle(images: Images) -> Float[Array, "batch height2 width2 channel4"]:
    """The pixels of every 2x2 block of even sides as channels, in the order (row, column, channel)."""
    batch, height, width, channels = images.shape
    blocks = jnp.reshape(images, (batch, height // 2, 2, width // 2, 2, channels)).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(batch, height // 2, width // 2, 4 * channels)


def pixel_shuffle(images: Float[Array, "batch height width channel4"]) -> Float[Array, "batch height2 width2 channel"]:
    """The inverse of `pixel_unshuffle`."""
    batch, height, width, channels = images.shape
    blocks = jnp.reshape(images, (batch, height, width, 2, 2, channels // 4)).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(batch, 2 * height, 2 * width, channels // 4)


_NHWC = ("NHWC", "HWIO", "NHWC")


def _xla_conv(images: Array, kernel: Array, padding: Padding, stride: int = 1) -> Array:
    return lax.conv_general_dilated(images, kernel, (stride, stride), padding, dimension_numbers=_NHWC)


def _xla_conv_transpose(images: Array, kernel: Array) -> Array:
    return lax.conv_transpose(images, kernel, (2, 2), "SAME", dimension_numbers=_NHWC)


def _xla_upsample_conv(images: Array, kernel: Array) -> Array:
    return _xla_conv(images.repeat(2, axis=1).repeat(2, axis=2), kernel, ((1, 1), (1, 1)))


def _xla_max_pool(images: Array) -> Array:
    return lax.reduce_window(images, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def _sliced_conv(images: Array, kernel: Array, padding: Padding, stride: int) -> Array:
    """One product of what every output pixel sees with all taps; a batched one under vmap."""
    padded = jnp.pad(images, ((0, 0), *padding, (0, 0)))
    size, features = kernel.shape[:2], kernel.shape[3]
    rows, columns = (stride * ((side - taps) // stride) + 1 for side, taps in zip(padded.shape[1:3], size, strict=True))
    seen = [padded[:, i : i + rows : stride, j : j + columns : stride] for i in range(size[0]) for j in range(size[1])]
    return jnp.concatenate(seen, axis=-1) @ kernel.reshape(-1, features)


def _fast_conv(images: Array, kernel: Array, padding: Padding) -> Array:
    return winograd.conv3x3(images, kernel) if _winograd_pays(kernel, padding) else _xla_conv(images, kernel, padding)


def _winograd_pays(kernel: Array | jax.ShapeDtypeStruct, padding: Padding) -> bool:
    # Its sums cost more than its products save where channels are few, and digits where they are short.
    is_3x3 = kernel.shape[:2] == (3, 3) and padding == ((1, 1), (1, 1))
    return is_3x3 and min(kernel.shape[2:]) >= 32 and jnp.finfo(kernel.dtype).bits >= 32


def _conv_images(cotangent: Array, kernel: Array, padding: Padding) -> Array:
    turned = _barrier(kernel[::-1, ::-1].swapaxes(2, 3))
    return _cpu_conv(cotangent, turned, _opposite(padding, kernel.shape[:2]))


def _conv_kernel(cotangent: Array, images: Array, padding: Padding) -> Array:
    # A few features are too few for a library of convolutions.
    by = _conv_kernel_by_product if cotangent.shape[3] < 8 else _conv_kernel_by_conv
    return by(cotangent, images, padding)


def _conv_kernel_by_conv(cotangent: Array, images: Array, padding: Padding) -> Array:
    # Channels as batch, examples as channels: the cotangent is the kernel.
    as_kernel = _barrier(cotangent.transpose(1, 2, 0, 3))
    return _cpu_conv(_channels_first(images), as_kernel, padding).transpose(1, 2, 0, 3)


def _conv_kernel_by_product(cotangent: Array, images: Array, padding: Padding) -> Array:
    """One product of the cotangent, shifted by each tap, with the images."""
    sides, channels, features = images.shape[1:3], images.shape[3], cotangent.shape[3]
    rows, columns = (
        side + sum(pads) - out + 1 for side, pads, out in zip(sides, padding, cotangent.shape[1:3], strict=True)
    )
    around = jnp.pad(cotangent, ((0, 0), *_opposite(padding, (rows, columns)), (0, 0))).transpose(3, 0, 1, 2)
    starts = [(i, j) for i in reversed(range(rows)) for j in reversed(range(columns))]
    seen = jnp.stack([around[:, :, i : i + sides[0], j : j + sides[1]] for i, j in starts])
    products = lax.dot(seen.reshape(rows * columns * features, -1), images.reshape(-1, channels))
    return products.reshape(rows, columns, features, channels).swapaxes(2, 3)


def _opposite(padding: Padding, size: Sequence[int]) -> Padding:
    """The padding with which the convolution by the turned kernel is the transpose."""
    rows, columns = ((taps - 1 - before, taps - 1 - after) for taps, (before, after) in zip(size, padding, strict=True))
    return rows, columns


_cpu_conv = bilinear("conv", _fast_conv, _conv_images, _conv_kernel)


def _channels_first(images: Array) -> Array:
    """[n, h, w, c] as [c, h, w, n]: of few channels by a product with the identity, exact and the fastest way."""
    batch, height, width, channels = images.shape
    if channels >= 64:
        return _barrier(images.transpose(3, 1, 2, 0))
    pixels = images.transpose(1, 2, 0, 3).reshape(-1, channels)
    turned = lax.dot_general(jnp.eye(channels, dtype=images.dtype), pixels, (((1,), (1,)), ((), ())))
    return turned.reshape(channels, height, width, batch)


def _cpu_strided_conv(images: Array, kernel: Array, padding: Padding) -> Array:
    """Stride 2 as a convolution of 2x2 blocks, whose pixels are channels."""
    (rows, columns), (channels, features) = ((size + size % 2 for size in kernel.shape[:2]), kernel.shape[2:])
    widths = []
    for side, size, (before, after) in zip(images.shape[1:3], kernel.shape[:2], padding, strict=True):
        outputs = (side + before + after - size) // 2 + 1
        widths.append((before, 2 * outputs - 2 + size + size % 2 - side - before))  # negative: what no output sees
    blocks = pixel_unshuffle(
        lax.pad(images, jnp.zeros((), images.dtype), [(0, 0, 0), *((*w, 0) for w in widths), (0, 0, 0)])
    )
    even = jnp.pad(kernel, ((0, rows - kernel.shape[0]), (0, columns - kernel.shape[1]), (0, 0), (0, 0)))
    taps = even.reshape(rows // 2, 2, columns // 2, 2, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return _cpu_conv(blocks, taps.reshape(rows // 2, columns // 2, 4 * channels, features), ((0, 0), (0, 0)))


def _phase_conv_transpose(images: Array, kernel: Array) -> Array:
    """Each of the four phases of the output is a convolution of the small image by a part of the kernel."""
    channels, features = kernel.shape[2:]
    phases, padding = kernel, []
    for axis, size in enumerate(kernel.shape[:2]):
        before = -(-size // 2) if size > 1 else 0  # zeros that SAME puts before the dilated image
        # Phase a of pixel m sees pixel m + t through tap 2 t + before - a; zeros stand for taps outside the kernel.
        first, last = -(before // 2), (size - before) // 2
        taps = [[2 * t + before - a for a in range(2)] for t in range(first, last + 1)]
        spare = jnp.concatenate([phases, jnp.zeros_like(lax.slice_in_dim(phases, 0, 1, axis=2 * axis))], 2 * axis)
        chosen = jnp.array([[tap if 0 <= tap < size else size for tap in pair] for pair in taps])
        phases = jnp.take(spare, chosen, axis=2 * axis)  # [t, a, ..] in place of the axis
        padding.append((-first, last))
    rows, _, columns = phases.shape[:3]
    stacked = phases.transpose(0, 2, 4, 1, 3, 5).reshape(rows, columns, channels, 4 * features)
    return pixel_shuffle(conv(images, stacked, (padding[0], padding[1])))


def _nine_products(images: Array, kernel: Array) -> Array:
    """Nine products for each small pixel, where upsampling first would take 36.

    Along one axis both pixels that come from x[0] see x[-1], x[0] and x[1] alone. With the kernel w0, w1, w2 they are

        first  = w0 x[-1] + (w1 + w2) x[0] = w0 (x[-1] - x[0]) + (w0 + w1 + w2) x[0]
        second = (w0 + w1) x[0] + w2 x[1]  = w2 (x[1] - x[0])  + (w0 + w1 + w2) x[0]

    so three products give both, and along two axes nine give all four.
    """
    batch, height, width, _ = images.shape
    taps = [tap for row in _taps(kernel) for tap in _taps(row)]
    # Differences commute with the product: taken after it, all nine products, and both gradients, are one large one.
    products = jnp.split(_product(images, jnp.concatenate(taps, axis=1)), 9, axis=-1)
    terms = [_differences(_differences(products[3 * a + b], 1)[a], 2)[b] for a in range(3) for b in range(3)]
    rows = [_pair(terms[3 * a : 3 * a + 3]) for a in range(3)]
    columns = [_pair(column) for column in zip(*rows, strict=True)]
    stacked = jnp.stack([jnp.stack([column[a] for column in columns], axis=3) for a in range(2)], axis=2)
    return stacked.reshape(batch, 2 * height, 2 * width, -1)


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


def _product_kernel(cotangent: Array, images: Array) -> Array:
    pixels, cotangents = (x.reshape(-1, x.shape[-1]) for x in (images, cotangent))
    # The first operand is turned behind a barrier: XLA:CPU would copy the second, nine times larger.
    gradient = lax.dot(_barrier(pixels.T), cotangents, preferred_element_type=jnp.promote_types(pixels, jnp.float32))
    return gradient.astype(pixels.dtype)


_product = bilinear(
    "pixelwise_product",
    lambda images, matrix: images @ matrix,
    lambda cotangent, matrix: cotangent @ matrix.T,
    _product_kernel,
)


def _narrow_images(cotangent: Array, kernel: Array) -> Array:
    """Each phase of the output is a 2x2 convolution of the small image; the transposes of all four as one."""
    phases = _phases(cotangent)
    turned = _phase_kernels(kernel)[::-1, ::-1].reshape(2, 2, -1, phases.shape[-1]).swapaxes(2, 3)
    return _cpu_conv(phases, _barrier(turned), ((0, 0), (0, 0)))


def _narrow_kernel(cotangent: Array, images: Array) -> Array:
    (height, width, channels), features = images.shape[1:], cotangent.shape[3]
    first = _phases(cotangent).transpose(3, 0, 1, 2)
    rows = [first[:, :, 1 - s : 1 - s + height, 1 - t : 1 - t + width] for s in range(2) for t in range(2)]
    products = lax.dot(jnp.stack(rows).reshape(16 * features, -1), images.reshape(-1, channels))
    gradient = products.reshape(2, 2, 2, 2, features, channels).transpose(0, 1, 5, 2, 3, 4)
    kernel = jax.ShapeDtypeStruct((3, 3, channels, features), images.dtype)
    return jax.linear_transpose(_phase_kernels, kernel)(gradient)[0]


def _phases(cotangent: Array) -> Array:
    """The four phases of the output, [n, h + 1, w + 1, (a b o)]."""
    batch, height, width, features = cotangent.shape
    blocks = cotangent.reshape(batch, height // 2, 2, width // 2, 2, features)
    # Phase (a, b) at pixel i took the inputs i + a - 1 and i + a: padded so that all start at the same.
    padded = [
        jnp.pad(blocks[:, :, a, :, b], ((0, 0), (a, 1 - a), (b, 1 - b), (0, 0))) for a in range(2) for b in range(2)
    ]
    return jnp.concatenate(padded, axis=3)


def _phase_kernels(kernel: Array) -> Array:
    """[3, 3, c, o] as the 2x2 kernels of the four phases, [2, 2, c, (a), (b), o]."""

    def halves(w: Array) -> Array:  # rows 2i see w0 | w1 + w2, rows 2i + 1 see w0 + w1 | w2: [tap, ..., phase]
        return jnp.stack([jnp.stack([w[0], w[0] + w[1]], -1), jnp.stack([w[1] + w[2], w[2]], -1)])

    columns = halves(kernel.swapaxes(0, 1))  # [t, 3, c, o, b]
    return halves(columns.swapaxes(0, 1)).transpose(0, 1, 2, 5, 4, 3)


_narrow_upsample_conv = bilinear("narrow_upsample_conv", _nine_products, _narrow_images, _narrow_kernel)


@jax.custom_jvp
def _cpu_max_pool(images: Array) -> Array:
    corners = _corners(images)
    return jnp.maximum(jnp.maximum(corners[0], corners[1]), jnp.maximum(corners[2], corners[3]))


@_cpu_max_pool.defjvp
def _cpu_max_pool_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    highest, corners = _cpu_max_pool(*primals), _corners(*primals)
    first = jnp.select([corner == highest for corner in corners[:3]], [0, 1, 2], 3).astype(jnp.int8)
    # One comparison for each pixel, which is its own transpose: XLA's select_and_scatter is serial, and the derivative
    # of `maximum` splits ties.
    corner = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 2, 1, 2, 1)
    chosen = jnp.where(first[:, :, None, :, None] == corner, _blocks(*tangents), 0)
    return highest, chosen.sum((2, 4))


def _corners(images: Array) -> list[Array]:
    return [_blocks(images)[:, :, i, :, j] for i in range(2) for j in range(2)]


def _blocks(images: Array) -> Array:
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels)
