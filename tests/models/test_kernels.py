"""The operations equal those of Flax, forward and in both gradients, for every shape."""

import contextlib
import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from jax import export, lax

from jaxdae.models import kernels
from jaxdae.parallel import Population, map_members

pytestmark = pytest.mark.usefixtures("optimized")

SEEDS = st.integers(0, 2**32 - 1)


def flax_conv(images, kernel, stride=1, padding="SAME"):
    layer = nn.Conv(kernel.shape[-1], kernel.shape[:2], stride, padding=padding, use_bias=False)
    return layer.apply({"params": {"kernel": kernel}}, images)


def flax_upsample_conv(images, kernel):
    return flax_conv(images.repeat(2, axis=1).repeat(2, axis=2), kernel)


def flax_conv_transpose(images, kernel):
    layer = nn.ConvTranspose(kernel.shape[-1], kernel.shape[:2], (2, 2), use_bias=False)
    return layer.apply({"params": {"kernel": kernel}}, images)


def flax_max_pool(images):
    return nn.max_pool(images, (2, 2), strides=(2, 2))


VALID = ((0, 0), (0, 0))
LAYERS = {
    "same": (kernels.conv, flax_conv),
    "valid": (lambda x, k: kernels.conv(x, k, VALID), lambda x, k: flax_conv(x, k, padding="VALID")),
    "strided": (lambda x, k: kernels.conv(x, k, stride=2), lambda x, k: flax_conv(x, k, 2)),
    "strided valid": (lambda x, k: kernels.conv(x, k, VALID, 2), lambda x, k: flax_conv(x, k, 2, "VALID")),
    "transposed": (kernels.conv_transpose, flax_conv_transpose),
    "upsampled": (kernels.upsample_conv3x3, flax_upsample_conv),
}
POOLED = (lambda x, k: kernels.max_pool(kernels.conv(x, k)), lambda x, k: flax_max_pool(flax_conv(x, k)))
SHAPES = {
    "one channel": (2, 7, 6, 1, 5),
    "three channels": (1, 5, 8, 3, 17),
    "one feature": (2, 6, 6, 16, 1),
    "odd sides, many channels": (3, 7, 5, 64, 33),
}
"""Batch, height, width, channels, features."""
CASES = [
    pytest.param(layer, shape, size, id=f"{name}, {size[0]}x{size[1]}, {of}")
    for name, layer in LAYERS.items()
    for of, shape in SHAPES.items()
    for size in ([(3, 3)] if name == "upsampled" else [(3, 3), (2, 5)] if of == "three channels" else [(3, 3)])
]


def arrays(layer, shape, size, seed):
    """Images, a kernel, and weights of the outputs, in float64."""
    *images, channels, features = shape
    draw = np.random.default_rng(seed).standard_normal
    x, k = draw((*images, channels)), draw((*size, channels, features))
    out = jax.eval_shape(layer, jnp.zeros(x.shape), jnp.zeros(k.shape))
    return x, k, draw(out.shape)


def outputs_and_gradients(layer, images, kernel, weights):
    """The output, and the gradients of its product with `weights`."""
    out, pullback = jax.vjp(layer, images, kernel)
    return out, *pullback(weights)


compiled = jax.jit(outputs_and_gradients, static_argnums=0)


def distance(actual, expected):
    return float(np.linalg.norm(np.float64(actual) - expected) / np.linalg.norm(expected))


@contextlib.contextmanager
def unoptimized():
    """In float64, where only the formulas are compared."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "shape", "size"), CASES)
def test_outputs_and_gradients_equal_those_of_flax_in_float64(layer, shape, size):
    ours, flax = layer
    given = arrays(ours, shape, size, seed=0)
    with jax.enable_x64(True), unoptimized():
        expected = jax.device_get(compiled(flax, *map(jnp.asarray, given)))
        exact = compiled(ours, *map(jnp.asarray, given))
    rounded = compiled(ours, *map(np.float32, given))
    for name, wanted, a, b in zip(("output", "images", "kernel"), expected, exact, rounded, strict=True):
        assert a.dtype == np.float64 and distance(a, wanted) < 1e-14, name
        assert b.dtype == np.float32 and distance(b, wanted) < (1e-6 if name == "output" else 3e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_members_together_or_in_turn_equal_a_loop(name):
    ours, flax = LAYERS[name]
    networks = [[np.float32(x) for x in arrays(ours, (2, 6, 5, 3, 4), (3, 3), seed)] for seed in range(3)]
    stacked = tuple(map(np.stack, zip(*networks, strict=True)))
    looped = [compiled(flax, *each) for each in networks]
    one = functools.partial(compiled, ours)
    for way in get_args(Population.__annotations__["way"]):
        mapped = jax.jit(lambda *s, way=way: map_members(one, *s, population=Population(way)))
        for a, b in zip(mapped(*stacked), zip(*looped, strict=True), strict=True):
            assert distance(a, np.stack(b)) < 3e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LAYERS, "pooled"])
def test_derivatives_forward_and_second_agree_with_flax(name):
    """A jvp, and a Hessian-vector product (reverse over forward)."""
    ours, flax = (LAYERS | {"pooled": POOLED})[name]
    images, kernel, weights = (np.float32(x) for x in arrays(ours, (2, 6, 6, 3, 4), (3, 3), 0))
    tangents = [np.float32(x) for x in arrays(ours, (2, 6, 6, 3, 4), (3, 3), 1)[:2]]

    def along(layer):
        forward = jax.jit(lambda x, k: jax.jvp(layer, (x, k), tuple(tangents))[1])
        return forward(images, kernel), *jax.jit(jax.grad(lambda *p: jnp.sum(weights * forward(*p) ** 2), (0, 1)))(
            images, kernel
        )

    for a, b in zip(along(ours), along(flax), strict=True):
        assert distance(a, b) < 3e-6


@pytest.mark.slow
def test_wide_convolutions_in_bfloat16_are_as_exact_as_native_ones():
    images, kernel, _ = arrays(kernels.conv, (2, 14, 14, 32, 32), (3, 3), 0)
    exact = jax.device_get(flax_conv(np.float32(images), np.float32(kernel)))
    narrow = [jnp.asarray(x, jnp.bfloat16) for x in (images, kernel)]
    ours, native = (distance(jax.jit(layer)(*narrow), exact) for layer in (kernels.conv, flax_conv))
    assert ours < 1.2 * native


@pytest.mark.slow
def test_vmap_takes_any_axis_and_what_is_shared():
    images, kernel, _ = (np.float32(x) for x in arrays(kernels.conv, (2, 6, 5, 3, 4), (3, 3), 0))
    along_width = np.stack([images, 2 * images, 3 * images], axis=2)
    same = lambda x, k: kernels._cpu_conv(x, k, ((1, 1), (1, 1)))  # noqa: E731
    mapped = jax.jit(jax.vmap(same, in_axes=(2, None), out_axes=1))(along_width, kernel)
    expected = np.stack([times * flax_conv(images, kernel) for times in (1, 2, 3)], axis=1)
    assert distance(mapped, expected) < 1e-6


def test_pixel_unshuffle_and_shuffle_are_inverse_and_ordered_by_row_column_channel():
    images = jnp.arange(4 * 6 * 2.0).reshape(1, 4, 6, 2)
    blocks = kernels.pixel_unshuffle(images)
    np.testing.assert_array_equal(blocks[0, 0, 1], images[0, :2, 2:4].ravel())
    np.testing.assert_array_equal(kernels.pixel_shuffle(blocks), images)


def test_mean_pool_equals_that_of_flax():
    images = np.random.default_rng(0).random((2, 4, 6, 3), np.float32)
    np.testing.assert_allclose(kernels.mean_pool(images), nn.avg_pool(images, (2, 2), (2, 2)), rtol=1e-6)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", LAYERS)
def test_accelerators_get_native_convolutions(name, platform):
    """One convolution forward and two backward, no products of the formulation for CPUs."""
    ours = LAYERS[name][0]
    given = [jax.ShapeDtypeStruct(x.shape, np.float32) for x in arrays(ours, (2, 6, 5, 3, 16), (3, 3), 0)]
    program = jax.jit(functools.partial(outputs_and_gradients, ours))
    text = export.export(program, platforms=[platform])(*given).mlir_module()
    assert text.count("stablehlo.convolution") == 3
    assert "dot_general" not in text and "optimization_barrier" not in text


def test_kernel_is_not_flipped():
    images, kernel = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(1.0), jnp.arange(9.0).reshape(3, 3, 1, 1)
    np.testing.assert_array_equal(kernels.conv(images, kernel)[0, ..., 0], np.arange(9).reshape(3, 3)[::-1, ::-1])


@functools.partial(jax.jit, static_argnums=0)
def pooled_and_gradient(pool, images, weights):
    out, pullback = jax.vjp(pool, images)
    return out, *pullback(weights)


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
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), tuple(mapped), tuple(expected))


def test_plain_operations_are_the_same_on_every_platform():
    images, kernel = (np.random.default_rng(0).random(shape, np.float32) for shape in ((2, 4, 6, 3), (3, 3, 3, 32)))

    def network(x):
        return kernels.max_pool(kernels.upsample_conv3x3(kernels.conv(x, kernel), np.ones((3, 3, 32, 2), np.float32)))

    chosen = str(jax.make_jaxpr(lambda x: network(x))(images))
    with kernels.plain():
        plain, result = str(jax.make_jaxpr(lambda x: network(x))(images)), network(images)
    assert "platform_index" in chosen and "platform_index" not in plain
    assert str(jax.make_jaxpr(lambda x: network(x))(images)) == chosen
    np.testing.assert_allclose(result, network(images), rtol=1e-5)
