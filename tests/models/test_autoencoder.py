"""The autoencoder is a plain network of Flax layers, with Keras's initial weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st
from tiny import random_images, random_params

from jaxdae.models import ConvAutoencoder
from jaxdae.models.layers import Conv, glorot_uniform, pad_to_multiple
from jaxdae.models.prediction import predict

pytestmark = pytest.mark.usefixtures("optimized")

MODEL = ConvAutoencoder(3)
IMAGES = random_images(2, 7, 10, 3)


def plain_output(params, images):
    """The output of the same network made of Flax's own layers."""

    def convolve(name, hidden):
        layer = nn.Conv(params[name]["bias"].size, (3, 3))
        return layer.apply({"params": params[name]}, hidden)

    height, width = images.shape[1:3]
    rows, columns = (-side % 2**MODEL.depth for side in (height, width))
    hidden = jnp.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="reflect")
    for i in range(MODEL.depth):
        hidden = nn.max_pool(nn.relu(convolve(f"encoder_{i}", hidden)), (2, 2), (2, 2))
    for i in range(MODEL.depth):
        hidden = nn.relu(convolve(f"decoder_{i}", hidden)).repeat(2, axis=1).repeat(2, axis=2)
    return convolve("output", hidden)[:, :height, :width]


@functools.partial(jax.jit, static_argnums=0)
def output_and_gradients(network, params, images, weights):
    out, pullback = jax.vjp(network, params, images)
    return out, *pullback(weights)


def network_of(model):
    return lambda params, images: predict(model, params, images).output


@pytest.mark.slow
def test_output_and_gradients_equal_a_plain_network_of_flax_layers():
    params = random_params(MODEL, 3)
    arguments = params, IMAGES, random_images(*IMAGES.shape, seed=1)
    actual = output_and_gradients(network_of(MODEL), *arguments)
    expected = output_and_gradients(plain_output, *arguments)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


@pytest.mark.slow
def test_bfloat16_is_near_float32_with_output_and_gradients_in_float32():
    narrow, params = MODEL.clone(compute_dtype="bfloat16"), random_params(MODEL, 3)
    gradients = jax.eval_shape(lambda p, x: output_and_gradients(network_of(narrow), p, x, x), params, IMAGES)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    near, exact = (jax.jit(network_of(model))(params, IMAGES) for model in (narrow, MODEL))
    np.testing.assert_allclose(near, exact, atol=0.02 * np.abs(exact).max())
    assert not np.array_equal(near, exact)


@pytest.mark.parametrize(("sides", "channels", "depth"), [((1, 1), 1, 3), ((20, 7), 4, 2), ((8, 6), 2, 1)])
def test_the_output_has_the_shape_of_the_images(sides, channels, depth):
    model = ConvAutoencoder(2, depth)
    images = jax.ShapeDtypeStruct((2, *sides, channels), jnp.float32)
    out = jax.eval_shape(network_of(model), random_params(model, channels), images)
    assert (out.shape, out.dtype) == (images.shape, images.dtype)


@given(shape=st.sampled_from([(1, 1, 1, 1), (2, 3, 5, 2), (1, 8, 4, 1)]), multiple=st.sampled_from([2, 4]))
def test_padding_is_the_mirror_image(shape, multiple):
    images = random_images(*shape)
    rows, columns = (-side % multiple for side in shape[1:3])
    expected = np.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(pad_to_multiple(images, multiple), expected)


def test_initial_kernels_fill_the_glorot_uniform_range_and_biases_are_zero():
    layer = jax.jit(Conv(16).init)(jax.random.key(5), jnp.zeros((1, 2, 2, 8)))["params"]
    limit = (6 / (9 * (8 + 16))) ** 0.5
    assert 0.97 * limit < np.abs(layer["kernel"]).max() <= limit
    assert abs(np.std(layer["kernel"]) / limit - 3**-0.5) < 0.05
    assert not np.any(layer["bias"])


@pytest.mark.slow
def test_initial_kernels_are_those_of_flax():
    key, shape = jax.random.key(5), (3, 3, 1, 4)
    np.testing.assert_array_equal(glorot_uniform(key, shape), nn.initializers.glorot_uniform()(key, shape))


def test_sown_layers_are_named_and_sized_by_depth():
    params = random_params(MODEL)
    _, sown = jax.eval_shape(
        lambda x: MODEL.apply({"params": params}, x, mutable="intermediates"), jnp.zeros((2, 12, 8, 1))
    )
    (layers,) = sown["intermediates"]["layers"]
    assert {name: layer.shape for name, layer in layers.items()} == {
        "encoder_0": (2, 6, 4, 3),
        "encoder_1": (2, 3, 2, 3),
        "decoder_0": (2, 3, 2, 3),
        "decoder_1": (2, 6, 4, 3),
    }
