"""The distance of a denoised image from the clean one: per image, from arrays on the [0, 1] scale.

Every function reduces the last three axes (height, width, channel) and keeps those before them. InputError for arrays
of integers, whose differences would wrap, and for images of different shapes, which would be broadcast.
"""

import functools
import operator
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxdae.errors import InputError, shown

Images = Float[Array | np.ndarray, "*batch height width channel"]
PerImage = Float[Array | np.ndarray, "*batch"]
Weight = Num[Array | np.ndarray, "..."]
"""Of every pixel, of a shape that broadcasts to the images'."""

LEAST_MSE = 1e-10
"""PSNR takes a smaller squared error as this one: no image scores above 100 dB."""
LEAST_PROBABILITY = 1e-7
"""BCE of an image (not of logits) takes brightness within this distance of 0 and 1, as Keras does."""
SSIM_WINDOW = 7

_IMAGE = (-3, -2, -1)


def bce_from_logits(logits: Images, clean: Images, weight: Weight | None = None) -> PerImage:
    """Binary cross-entropy in nats of the image sigmoid(logits), the (weighted) mean over pixels and channels."""
    _require_images(logits, clean)
    # One log1p for each pixel, where -clean log p - (1 - clean) log (1 - p) takes two.
    cross_entropy = jnp.maximum(logits, 0) - logits * clean + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    if weight is not None:
        return _weighted_mean(cross_entropy, weight)
    pixels = cross_entropy.reshape(*cross_entropy.shape[:-3], -1)
    # A mean as a product: XLA:CPU's reduction draws the log1p into a slow loop, a twelfth of a training step.
    return jnp.matmul(pixels, jnp.full(pixels.shape[-1], 1 / pixels.shape[-1]), precision="highest")


def bce(denoised: Images, clean: Images) -> PerImage:
    """Binary cross-entropy in nats, mean over pixels and channels; brightness is clipped by LEAST_PROBABILITY.

    A pixel at 0 or 1 that should be at the other end counts -log(LEAST_PROBABILITY), 16 nats (float32 keeps the upper
    end at 1 - 1.2e-7). Of images with many such pixels, as noisy ones that are clipped, the bound makes the number.
    """
    _require_images(denoised, clean)
    p = jnp.clip(denoised, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return -(clean * jnp.log(p) + (1 - clean) * jnp.log1p(-p)).mean(_IMAGE)


def mse(denoised: Images, clean: Images, weight: Weight | None = None) -> PerImage:
    """Squared error, the (weighted) mean over pixels and channels."""
    _require_images(denoised, clean)
    squares = jnp.square(denoised - clean)
    return squares.mean(_IMAGE) if weight is None else _weighted_mean(squares, weight)


def _require_images(*images: Images) -> None:
    for image in images:
        if not hasattr(image, "dtype"):
            raise InputError(f"metrics need arrays of images on the [0, 1] scale, not {shown(image)}")
        if len(image.shape) < 3:
            raise InputError(f"metrics need images (.., height, width, channel), not an array of shape {image.shape}")
        if not jnp.issubdtype(image.dtype, jnp.floating):
            raise InputError(f"metrics need floats on the [0, 1] scale, not {image.dtype}; divide 8-bit images by 255")
    first, second = (image.shape[-3:] for image in images)
    if first != second:
        raise InputError(f"images of shapes {first} and {second} cannot be compared; give (.., height, width, channel)")


def _weighted_mean(values: Images, weight: Weight) -> PerImage:
    weights = jnp.broadcast_to(weight, values.shape)
    return (weights * values).sum(_IMAGE) / weights.sum(_IMAGE)


def psnr(denoised: Images, clean: Images, weight: Weight | None = None) -> PerImage:
    """Peak signal-to-noise ratio in dB for a peak of 1, of the (weighted) squared error floored at LEAST_MSE."""
    return -10 * jnp.log10(jnp.maximum(mse(denoised, clean, weight), LEAST_MSE))


def ssim(denoised: Images, clean: Images) -> PerImage:
    """Structural similarity (Wang et al. 2004, eq. 13), mean over windows and channels.

    The window is 7x7 and uniform, (co)variances are unbiased, K1 = 0.01, K2 = 0.03 and only whole windows count: the
    defaults of `skimage.metrics.structural_similarity` with `data_range=1`. InputError if a side is shorter than that.
    """
    _require_images(denoised, clean)
    if not has_ssim(clean.shape):
        raise InputError(f"SSIM needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, got {clean.shape[-3:-1]}")
    pixels = SSIM_WINDOW**2
    unbiased = pixels / (pixels - 1)
    x, y = denoised, clean
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    var_x = unbiased * (_window_mean(x * x) - mean_x * mean_x)
    var_y = unbiased * (_window_mean(y * y) - mean_y * mean_y)
    covariance = unbiased * (_window_mean(x * y) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean(_IMAGE)


def has_ssim(shape: Sequence[int]) -> bool:
    """Whether images of a shape (.., height, width, channel) hold a whole window of SSIM."""
    return min(shape[-3:-1]) >= SSIM_WINDOW


def _window_mean(images: Images) -> Float[Array | np.ndarray, "*batch rows columns channel"]:
    # Sums of shifted slices: XLA's reduce_window is slow on a CPU.
    rows, columns = (side - SSIM_WINDOW + 1 for side in images.shape[-3:-1])
    down = functools.reduce(operator.add, [images[..., i : i + rows, :, :] for i in range(SSIM_WINDOW)])
    across = functools.reduce(operator.add, [down[..., i : i + columns, :] for i in range(SSIM_WINDOW)])
    return across / SSIM_WINDOW**2


def score(denoised: Images, clean: Images) -> dict[str, PerImage]:
    """`bce`, `mse`, `psnr` and, if they are large enough for it, `ssim` of every image, clamped to [0, 1] first."""
    _require_images(denoised, clean)
    image = jnp.clip(denoised, 0, 1)
    metrics = (bce, mse, psnr, ssim) if has_ssim(clean.shape) else (bce, mse, psnr)
    return {metric.__name__: metric(image, clean) for metric in metrics}
