import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given
from hypothesis import strategies as st

from jaxdae import model as models
from jaxdae.model import ConvAutoencoder

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 20)


def random_images(shape, seed=0):
    return jnp.array(np.random.default_rng(seed).uniform(0, 1, shape))


def random_params(model, channels, seed=0):
    """Kernels as large as initial ones, and biases that are not zero."""
    shapes = jax.eval_shape(lambda: models.initialize(jax.random.key(0), model, channels))
    draw = np.random.default_rng(seed).normal
    return jax.tree.map(lambda leaf: jnp.array(draw(0, leaf.size**-0.5, leaf.shape)), shapes)


def plain_logits(params, images, *, model):
    """The same network of Flax's own layers."""

    def convolve(name, hidden):
        layer = nn.Conv(params[name]["bias"].size, (3, 3))
        return layer.apply({"params": params[name]}, hidden)

    height, width = images.shape[1:3]
    rows, columns = (-side % 2**model.depth for side in (height, width))
    hidden = jnp.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")
    for i in range(model.depth):
        hidden = nn.max_pool(nn.relu(convolve(f"encoder_{i}", hidden)), (2, 2), (2, 2))
    for i in range(model.depth):
        hidden = nn.relu(convolve(f"decoder_{i}", hidden)).repeat(2, axis=1).repeat(2, axis=2)
    return convolve("output", hidden)[:, :height, :width]


@functools.partial(jax.jit, static_argnames=("network", "model"))
def outputs_and_gradients(network, params, images, weights, *, model):
    out, pullback = jax.vjp(functools.partial(network, model=model), params, images)
    return out, pullback(weights)


def test_default_model_has_28353_parameters():
    params = jax.eval_shape(lambda: models.initialize(jax.random.key(0), ConvAutoencoder(), 1))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 28_353


def test_bfloat16_is_near_float32_with_logits_and_gradients_in_float32():
    model = ConvAutoencoder(4, 1)
    params, images = random_params(model, 1), random_images((2, 8, 8, 1)).astype(jnp.float32)
    args = (jax.tree.map(lambda x: x.astype(jnp.float32), params), images, images)
    narrow = outputs_and_gradients(models.forward, *args, model=model.clone(dtype=jnp.bfloat16))
    wide = outputs_and_gradients(models.forward, *args, model=model)
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(narrow[0], wide[0], atol=0.02 * np.abs(wide[0]).max())
    assert not np.array_equal(narrow[0], wide[0])
    for x, y in zip(jax.tree.leaves(narrow[1][0]), jax.tree.leaves(wide[1][0]), strict=True):
        assert jnp.linalg.norm(x - y) < 0.1 * jnp.linalg.norm(y)  # a few maxima fall the other way


@given(height=SIDES, width=SIDES, channels=st.integers(1, 4), features=st.integers(1, 3), depth=st.integers(1, 3))
def test_logits_have_the_shape_of_the_images(height, width, channels, features, depth):
    model = ConvAutoencoder(features, depth)
    images = jax.ShapeDtypeStruct((2, height, width, channels), jnp.float32)
    params = jax.eval_shape(lambda: models.initialize(jax.random.key(0), model, channels))
    out = jax.eval_shape(functools.partial(models.forward, model=model), params, images)
    assert (out.shape, out.dtype) == (images.shape, images.dtype)


@given(seed=SEEDS)
def test_logits_and_gradients_equal_a_plain_network_of_flax_layers(seed):
    model, shape = ConvAutoencoder(3), (2, 7, 10, 3)
    params, images = random_params(model, shape[-1], seed), random_images(shape, seed)
    weights = random_images(shape, seed + 1)
    actual = outputs_and_gradients(models.forward, params, images, weights, model=model)
    expected = outputs_and_gradients(plain_logits, params, images, weights, model=model)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_denoised_images_are_the_sigmoid_of_the_plain_networks_logits():
    model, shape = ConvAutoencoder(2, depth=1), (2, 5, 5, 1)
    params, images = random_params(model, shape[-1]), random_images(shape)
    denoised, out = jax.jit(lambda *x: [f(*x, model=model) for f in (models.denoise, plain_logits)])(params, images)
    np.testing.assert_allclose(denoised, 1 / (1 + np.exp(-out)), rtol=1e-5)


@pytest.mark.parametrize("head", ["linear", "residual"])
def test_other_heads_put_out_the_image_or_what_to_add_to_the_noisy_one(head):
    model, shape = ConvAutoencoder(2, depth=1, head=head), (2, 5, 5, 1)
    params, images = random_params(model, shape[-1]), random_images(shape)
    denoised, out = jax.jit(lambda *x: [f(*x, model=model) for f in (models.denoise, plain_logits)])(params, images)
    np.testing.assert_allclose(denoised, out + (images if head == "residual" else 0), atol=1e-6)
    loss = models.example_losses(jnp.asarray(denoised), images[::-1], loss="mse", head=head)
    np.testing.assert_allclose(loss, np.square(denoised - images[::-1]).mean((1, 2, 3)), rtol=1e-5)


def test_the_squared_error_of_logits_is_that_of_their_image():
    logits, clean = 8 * random_images((3, 5, 5, 1)) - 4, random_images((3, 5, 5, 1), 1)
    loss = models.example_losses(logits, clean, loss="mse", head="logits")
    np.testing.assert_allclose(loss, np.square(1 / (1 + np.exp(-logits)) - clean).mean((1, 2, 3)), rtol=1e-5)


@given(shape=st.sampled_from([(1, 1, 1, 1), (2, 3, 5, 2), (1, 8, 4, 1)]), multiple=st.sampled_from([2, 4]), seed=SEEDS)
def test_padding_repeats_the_edge(shape, multiple, seed):
    images = random_images(shape, seed)
    rows, columns = (-(-side // multiple) * multiple - side for side in shape[1:3])
    expected = np.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")
    np.testing.assert_array_equal(models.pad_to_multiple(images, multiple), expected)


@functools.partial(jax.jit, static_argnames=("model", "channels"))
def initialize(seed, *, model, channels):
    return models.initialize(jax.random.key(seed), model, channels)


def test_initial_kernels_fill_the_glorot_uniform_range_and_biases_are_zero():
    params = initialize(5, model=ConvAutoencoder(16, depth=1), channels=3)
    for layer in params.values():
        *_, fan_in, fan_out = layer["kernel"].shape
        limit = (6 / (9 * (fan_in + fan_out))) ** 0.5
        assert 0.97 * limit < np.abs(layer["kernel"]).max() <= limit
        assert abs(np.std(layer["kernel"]) / limit - 3**-0.5) < 0.05
        assert not np.any(layer["bias"])


def test_initial_parameters_depend_on_the_key():
    first, second = (initialize(seed, model=ConvAutoencoder(16, depth=1), channels=3) for seed in range(2))
    assert all(np.any(first[name]["kernel"] != second[name]["kernel"]) for name in first)


def test_sown_layers_are_named_and_sized_by_depth():
    model, shape = ConvAutoencoder(3), (2, 12, 8, 1)
    params = random_params(model, 1)
    _, sown = jax.eval_shape(lambda x: model.apply({"params": params}, x, mutable="intermediates"), jnp.zeros(shape))
    (layers,) = sown["intermediates"]["layers"]
    assert {name: layer.shape for name, layer in layers.items()} == {
        "encoder_0": (2, 6, 4, 3),
        "encoder_1": (2, 3, 2, 3),
        "decoder_0": (2, 3, 2, 3),
        "decoder_1": (2, 6, 4, 3),
    }
