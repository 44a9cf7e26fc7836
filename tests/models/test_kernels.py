import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from jaxdae.models import kernels

SHAPES = [(2, 6, 4, 16, 17), (1, 5, 7, 3, 2), (3, 1, 1, 4, 4)]
"""Batch, height, width, channels, features: for Winograd, odd sides, a single pixel."""
TOLERANCE = 1e-5
"""Of float32 rounding, relative to the largest value."""
SEEDS = st.integers(0, 2**32 - 1)


def flax_conv(images, kernel):
    layer = nn.Conv(kernel.shape[-1], (3, 3), padding="SAME", use_bias=False)
    return layer.apply({"params": {"kernel": kernel}}, images)


def upsampled_flax_conv(images, kernel):
    return flax_conv(images.repeat(2, axis=1).repeat(2, axis=2), kernel)


def outputs_and_gradients(convolve, images, kernel, weights):
    """The output, and the gradients of its product with `weights`."""
    out, pullback = jax.vjp(convolve, images, kernel)
    return out, *pullback(weights.reshape(out.shape))


@functools.partial(jax.jit, static_argnums=0)
def compiled(convolve, images, kernel, weights):
    return outputs_and_gradients(convolve, images, kernel, weights)


def random_arrays(shape, seed, scale):
    batch, height, width, channels, features = shape
    draw = np.random.default_rng(seed).standard_normal
    shapes = (batch, height, width, channels), (3, 3, channels, features), (batch * height * width * features * scale,)
    return [draw(shape).astype(np.float32) for shape in shapes]


def assert_close(actual, expected):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * np.abs(b).max())


PAIRS = [
    pytest.param(kernels.conv, flax_conv, 1, id="plain"),
    pytest.param(kernels.upsample_conv3x3, upsampled_flax_conv, 4, id="upsampled"),
]


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=["winograd", "odd", "pixel"])
@pytest.mark.parametrize(("convolve", "reference", "scale"), PAIRS)
@given(seed=SEEDS)
def test_outputs_and_gradients_equal_the_reference(convolve, reference, scale, shape, seed):
    arrays = random_arrays(shape, seed, scale)
    assert_close(compiled(convolve, *arrays), compiled(reference, *arrays))


@pytest.mark.slow
def test_vmap_and_scan_over_images_and_kernels_equal_a_loop():
    networks = [random_arrays(SHAPES[0], seed, 1) for seed in range(3)]
    stacked = tuple(map(np.stack, zip(*networks, strict=True)))
    looped = [compiled(flax_conv, *arrays) for arrays in networks]
    expected = [np.stack(parts) for parts in zip(*looped, strict=True)]
    one = functools.partial(compiled, kernels.conv)
    for mapped in (jax.vmap(one)(*stacked), lax.map(lambda arrays: one(*arrays), stacked)):
        assert_close(mapped, expected)


def test_kernel_is_not_flipped():
    images, kernel = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(1.0), jnp.arange(9.0).reshape(3, 3, 1, 1)
    np.testing.assert_array_equal(kernels.conv(images, kernel)[0, ..., 0], np.arange(9).reshape(3, 3)[::-1, ::-1])


@functools.partial(jax.jit, static_argnums=0)
def pooled_and_gradient(pool, images, weights):
    out, pullback = jax.vjp(pool, images)
    return out, *pullback(weights)


def flax_max_pool(images):
    return nn.max_pool(images, (2, 2), strides=(2, 2))


def pool_arrays(seed, brightnesses):
    """Images of few different brightnesses, where many windows have several maxima, and weights of the outputs."""
    draw = np.random.default_rng(seed)
    return np.float32(draw.integers(0, brightnesses, (2, 4, 6, 3))), np.float32(draw.standard_normal((2, 2, 3, 3)))


@given(seed=SEEDS, brightnesses=st.sampled_from([1, 2, 1000]))
def test_max_pool_and_its_gradient_equal_flax_also_for_equal_maxima(seed, brightnesses):
    arrays = pool_arrays(seed, brightnesses)
    actual, expected = (pooled_and_gradient(pool, *arrays) for pool in (kernels.max_pool, flax_max_pool))
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@given(seed=SEEDS)
def test_gradient_of_the_maximum_goes_to_the_first_of_equals(seed):
    images, _ = pool_arrays(seed, 2)
    blocks = images.reshape(2, 2, 2, 3, 2, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 2, 3, 3, 4)
    first = np.eye(4)[blocks.argmax(-1)].reshape(2, 2, 3, 3, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(images.shape)
    _, gradient = pooled_and_gradient(kernels.max_pool, images, np.ones((2, 2, 3, 3), np.float32))
    np.testing.assert_array_equal(gradient, first)


def test_max_pool_under_vmap_and_scan_equals_a_loop():
    images, weights = map(np.stack, zip(*[pool_arrays(seed, 3) for seed in range(3)], strict=True))
    looped = [pooled_and_gradient(flax_max_pool, *arrays) for arrays in zip(images, weights, strict=True)]
    expected = [np.stack(parts) for parts in zip(*looped, strict=True)]
    one = functools.partial(pooled_and_gradient, kernels.max_pool)
    for mapped in (jax.vmap(one)(images, weights), lax.map(lambda arrays: one(*arrays), (images, weights))):
        assert_close(mapped, expected)
