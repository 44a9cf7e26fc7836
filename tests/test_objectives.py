"""What a network is trained to do with an example, and the loss of every image."""

import numpy as np
import pytest
from tiny import random_images

from jaxdae import metrics
from jaxdae.data import Sample
from jaxdae.errors import InputError
from jaxdae.models import ConvAutoencoder
from jaxdae.models.prediction import Prediction
from jaxdae.noise import Noise
from jaxdae.objectives import Example, Supervised
from jaxdae.rng import Draws

OUTPUT, CLEAN = 8 * random_images(3, 5, 5, 2) - 4, random_images(3, 5, 5, 2, seed=1)
WEIGHT = random_images(3, 5, 5, 1, seed=2)


def losses(loss, kind, weight=None):
    example = Example(CLEAN[::-1], CLEAN, weight, np.zeros(3))
    return Supervised(loss).losses(lambda images, level: Prediction(OUTPUT, kind), example, Draws(0, 1, np.arange(3)))


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def test_the_supervised_target_is_the_clean_image():
    draws, noise = Draws(3, 2, 7), Noise(level=(0.2, 0.9))
    example = Supervised().example(draws, Sample(CLEAN[0]), noise)
    noisy, level = noise.apply(draws, CLEAN[0])
    np.testing.assert_array_equal(example.input, noisy)
    np.testing.assert_array_equal(example.target, CLEAN[0])
    assert example.weight is None and example.level == level and 0.2 <= level <= 0.9


def test_each_image_has_its_mean_loss():
    np.testing.assert_allclose(losses("bce", "logits"), metrics.bce(sigmoid(OUTPUT), CLEAN), rtol=1e-5)
    for kind, image in (("logits", sigmoid(OUTPUT)), ("image", OUTPUT), ("residual", OUTPUT)):
        np.testing.assert_allclose(losses("mse", kind), np.square(image - CLEAN).mean((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_a_weighted_loss_is_the_weighted_mean_over_pixels(loss):
    image = sigmoid(OUTPUT)
    cross_entropy = -CLEAN * np.log(image) - (1 - CLEAN) * np.log(1 - image)
    pixels = cross_entropy if loss == "bce" else np.square(image - CLEAN)
    weights = np.broadcast_to(WEIGHT, pixels.shape)
    expected = [np.average(p, weights=w) for p, w in zip(pixels, weights, strict=True)]
    np.testing.assert_allclose(losses(loss, "logits", WEIGHT), expected, rtol=1e-5)
    np.testing.assert_allclose(losses(loss, "logits", np.ones_like(WEIGHT)), losses(loss, "logits"), rtol=1e-5)


def test_bce_needs_logits():
    for prediction in ("image", "residual"):
        model = ConvAutoencoder(prediction=prediction)
        Supervised("mse").check(Noise(), model)
        with pytest.raises(InputError, match=f"loss bce needs prediction logits, not {prediction}, .*; use loss mse"):
            Supervised("bce").check(Noise(), model)
