"""What all networks promise: the shape of the images, the reach, scaling without biases, the level as an input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny import lively_params, random_images, random_params

from jaxdae.errors import InputError
from jaxdae.models import MODELS, ConvAutoencoder, DnCNN, UNet, count_parameters, initialize
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.models.layers import he_normal
from jaxdae.models.prediction import predict
from jaxdae.noise import Noise

SMALL = {
    "autoencoder": ConvAutoencoder(width=(4, 3), depth=2),
    "unet": UNet(width=4, depth=2),
    "unet strided": UNet(width=3, depth=1, repeat=2, down="strided"),
    "dncnn": DnCNN(width=4, depth=3),
}
PARAMETERS = {"autoencoder": 28_353, "unet": 359_585, "dncnn": 56_097}
small = pytest.mark.parametrize("model", SMALL.values(), ids=SMALL)


def output_of(model, params, images, level=None):
    return predict(model, params, images, level).output


apply = jax.jit(output_of, static_argnums=0)


def variant(model, **fields):
    return model.clone(**fields)


@pytest.mark.parametrize("name", MODELS)
def test_the_default_networks_have_their_known_number_of_parameters(name):
    params = jax.eval_shape(lambda: initialize(jax.random.key(0), MODELS[name](), 1))
    assert count_parameters(params) == PARAMETERS[name]


@pytest.mark.slow
@small
def test_without_biases_the_output_scales_with_the_input_and_the_level(model):
    blind = variant(model, bias=False, prediction="residual")
    images = random_images(2, 9, 8, 1)
    params = lively_params(blind)
    expected = apply(blind, params, images)
    for a in (0.25, 3.0):
        np.testing.assert_allclose(apply(blind, params, a * images), a * expected, rtol=1e-5, atol=1e-5)
    told = variant(blind, level_input=True)
    params = lively_params(told)
    expected = apply(told, params, images, 0.4)
    np.testing.assert_allclose(apply(told, params, 3 * images, 3 * 0.4), 3 * expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(apply(told, params, images, 0.8), expected, atol=1e-3)


@pytest.mark.slow
@small
def test_the_level_is_one_for_all_images_or_one_for_each(model):
    told = variant(model, level_input=True)
    params, images = lively_params(told), random_images(2, 8, 8, 1)
    together = apply(told, params, images, jnp.array([0.1, 0.9]))
    for i, level in enumerate((0.1, 0.9)):
        np.testing.assert_allclose(together[i], apply(told, params, images, level)[i], rtol=1e-5, atol=1e-6)
    assert not np.allclose(together[1], apply(told, params, images, 0.1)[1], atol=1e-3)


def test_a_level_is_given_where_it_is_needed_and_nowhere_else():
    images = random_images(2, 8, 8, 1)
    about = About(Noise(), channels=1)
    told, blind = (Denoiser(DnCNN(4, 2, level_input=taken), None, about) for taken in (True, False))
    refused = [
        (told, None, "takes the noise level as an input; give its level"),
        (told, (0.1, 0.2, 0.3), "is neither a number nor one for each of 2 images"),
        (told, "high", "is neither a number"),
        (told, -0.1, "noise level -0.1 is out of range: gaussian takes 0 to 5"),
        (told, float("nan"), "noise level nan.* is out of range"),
        (told, 25, "noise level 25 is out of range: .* to 255 it is 0.0980392"),
        (blind, 0.5, "takes no noise level; leave 0.5 out"),
    ]
    for made, level, sentence in refused:
        for call in (made, made.layers):
            with pytest.raises(InputError, match=sentence):
                call(images, level)


def plain_conv(params, hidden, strides=1):
    size = params["kernel"].shape[:2]
    return nn.Conv(params["bias"].size, size, strides).apply({"params": params}, hidden)


def plain_dncnn(model, params, images):
    hidden = images
    for i in range(model.depth - 1):
        hidden = nn.relu(plain_conv(params[f"hidden_{i}"], hidden))
    return images + plain_conv(params["output"], hidden)


def plain_unet(model, params, images):
    """For sides that are multiples of 2^depth."""

    def stage(hidden, name):
        for i in range(model.repeat):
            hidden = nn.relu(plain_conv(params[f"{name}_{i}"], hidden))
        return hidden

    skips, hidden = [], images
    for i in range(model.depth):
        skips.append(stage(hidden, f"encoder_{i}"))
        down = params[f"down_{i}"]
        if model.down == "unshuffled":
            kernel = down["kernel"].reshape(2, 2, -1, down["bias"].size)
            down = {"kernel": kernel, "bias": down["bias"]}  # as a 2x2 convolution of stride 2
        hidden = plain_conv(down, skips[-1], 2)
    hidden = stage(hidden, "middle")
    for i in reversed(range(model.depth)):
        up = params[f"up_{i}"]
        larger = nn.ConvTranspose(up["bias"].size, (2, 2), (2, 2)).apply({"params": up}, hidden)
        hidden = stage(jnp.concatenate([larger, skips[i]], axis=-1), f"decoder_{i}")
    return images + plain_conv(params["output"], hidden)


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", ["unet", "unet strided", "dncnn"])
def test_output_and_gradients_equal_those_of_a_plain_network_of_flax_layers(name):
    model, plain = SMALL[name], plain_dncnn if name == "dncnn" else plain_unet
    params, images, weights = random_params(model, 3), random_images(2, 8, 12, 3), random_images(2, 8, 12, 3, seed=1)

    def both(network):
        out, pullback = jax.vjp(lambda p, x: network(model, p, x), params, images)
        return out, *pullback(weights)

    actual, expected = (jax.jit(both, static_argnums=0)(network) for network in (output_of, plain))
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_initial_kernels_keep_the_variance_through_a_relu():
    kernel = he_normal(jax.random.key(0), (3, 3, 32, 64))
    assert float(jnp.std(kernel)) == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (ConvAutoencoder(width=(4, 3, 2)), r"width \(4, 3, 2\) has 3 values, but depth is 2"),
        (ConvAutoencoder(width=(4, 0)), "width 0 is not allowed: give an integer of at least 1"),
        (UNet(down="pooled"), "down 'pooled' is not known; .*strided"),
        (DnCNN(depth=1), "depth 1 is not allowed: give an integer of at least 2"),
    ],
)
def test_fields_that_are_not_allowed_are_named(model, sentence):
    from jaxdae.training import Member, check_member

    with pytest.raises(InputError, match=sentence):
        check_member(Member(model=model))


def test_one_width_stands_for_all_stages():
    def shapes(width):
        params = jax.eval_shape(lambda: initialize(jax.random.key(0), ConvAutoencoder(width), 1))
        return jax.tree.map(lambda x: x.shape, params)

    assert shapes(4) == shapes((4, 4)) != shapes((4, 3))
