"""What every network in the registry promises (docs/extending.md), and what one that breaks it is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from tiny import lively_params, random_images

from jaxdae import components
from jaxdae.components import structure
from jaxdae.errors import InputError
from jaxdae.models import MODELS, ConvAutoencoder, DnCNN, UNet, denoiser, initialize
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.models.prediction import PREDICTIONS, predict
from jaxdae.noise import Noise
from jaxdae.training import Member, check_member


def small(kind):
    sizes = {"width": 4, "depth": 2}
    return kind(**{name: size for name, size in sizes.items() if name in components.settings(kind)})


NETWORKS = {name: small(kind) for name, kind in MODELS.items()} | {
    "autoencoder of two widths with levels": ConvAutoencoder(width=(4, 3), level_input=True),
    "strided unet with levels": UNet(width=3, depth=1, repeat=2, down="strided", level_input=True),
    "dncnn with levels": DnCNN(width=4, depth=2, level_input=True),
    "unet with levels in bfloat16": UNet(width=3, bias=False, level_input=True, compute_dtype="bfloat16"),
}
every_network = pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)


@every_network
@pytest.mark.parametrize(("sides", "channels"), [((1, 1), 1), ((20, 7), 3)])
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_output_has_the_shape_and_type_of_the_images(model, sides, channels, prediction):
    model = model.clone(prediction=prediction)
    images, level = jax.ShapeDtypeStruct((2, *sides, channels), jnp.float32), jnp.zeros(2)
    out = jax.eval_shape(lambda p, x: predict(model, p, x, level).output, lively_params(model, channels), images)
    assert (out.shape, out.dtype) == (images.shape, images.dtype)


@pytest.mark.slow
@every_network
def test_prediction_says_how_the_output_becomes_an_image(model):
    assert components.settings(model)["prediction"].choices == PREDICTIONS
    params, images = lively_params(model), random_images(2, 8, 8, 1)

    @jax.jit
    def images_of_every_kind(params, images):
        return {kind: predict(model.clone(prediction=kind), params, images, jnp.zeros(2)).image for kind in PREDICTIONS}

    made = images_of_every_kind(params, images)
    near = 1e-5 if model.compute_dtype == "float32" else 0.02
    np.testing.assert_allclose(made["residual"], images + made["image"], atol=near)
    np.testing.assert_allclose(made["logits"], 1 / (1 + np.exp(-made["image"])), atol=near)


@pytest.mark.slow
@every_network
def test_an_output_pixel_depends_on_inputs_within_the_reach_and_near_its_end(model):
    """At every position within a block that is seen together."""
    side = -(-3 * model.reach // model.multiple) * model.multiple
    model, params = model.clone(prediction="image"), lively_params(model, positive=True)

    @jax.jit
    def dependence(row):
        def pixel(images):
            return predict(model, params, images, jnp.zeros(1)).output[0, row, side // 2, 0]

        return jax.grad(pixel)(random_images(1, side, side, 1))[0, ..., 0]

    furthest = 0
    for row in range(side // 2, side // 2 + model.multiple):
        furthest = max(furthest, np.abs(np.argwhere(np.asarray(dependence(row)))[:, 0] - row).max())
    assert furthest <= model.reach < furthest + 2 * model.multiple


@pytest.mark.slow
@every_network
def test_tiles_have_no_seams(model, monkeypatch):
    made = Denoiser(model, lively_params(model), About(Noise(), channels=1))
    noisy, level = random_images(1, 93, 35, 1), 0.3 if made.takes_level else None
    whole = jax.jit(made.apply)(noisy, level)
    monkeypatch.setattr(denoiser, "TILE", 8)
    np.testing.assert_allclose(made(noisy, level), whole, atol=1e-5 if model.compute_dtype == "float32" else 0.02)


class Broken(nn.Module):
    """A network with every fault, one at a time."""

    fault: str = structure("", "which")
    prediction: str = structure("logits", "network output", choices=PREDICTIONS)
    multiple = reach = 1

    @nn.compact
    def __call__(self, images, level=None):
        if self.fault == "statistics":
            self.variable("batch_stats", "mean", lambda: jnp.zeros(()))
        features = 8 if self.fault == "channels" else images.shape[-1]
        return nn.Conv(features, (3, 3), padding="VALID" if self.fault == "sides" else "SAME")(images)


class Undeclared(nn.Module):
    """A network with a field that is none of `structure`."""

    width: int = 16
    prediction: str = structure("logits", "network output", choices=PREDICTIONS)
    multiple = reach = 1


class Reachless(nn.Module):
    """A network that does not say how far it sees."""

    prediction: str = structure("logits", "network output", choices=PREDICTIONS)
    multiple = 1


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Reachless(), "Reachless does not say its reach"),
        (Broken("statistics"), "Broken has batch_stats; a network may have parameters only"),
        (Broken("channels"), r"Broken made \(2, 4, 4, 8\) of \(2, 4, 4, 1\); it must keep"),
        (Broken("sides"), r"Broken made \(2, 2, 2, 1\) of \(2, 4, 4, 1\); it must keep"),
        (Undeclared(), r"declare the field width of Undeclared"),
    ],
)
def test_a_network_that_breaks_the_contract_is_told_so_before_its_training(model, sentence):
    with pytest.raises(InputError, match=sentence):
        check_member(Member(model=model))
        jax.eval_shape(lambda: predict(model, initialize(jax.random.key(0), model, 1), jnp.zeros((2, 4, 4, 1))))
