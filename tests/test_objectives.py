"""What a network is trained to do with an example, and the loss of every image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import random_images

from jaxdae import metrics, rng
from jaxdae.data import Sample
from jaxdae.errors import InputError
from jaxdae.models import ConvAutoencoder
from jaxdae.models.prediction import Prediction
from jaxdae.noise import CORRUPTIONS, Noise
from jaxdae.objectives import Example, Noise2Noise, Supervised
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


def test_the_logarithmic_loss_is_minus_the_psnr_of_each_image():
    expected = 10 * np.log10(np.square(OUTPUT - CLEAN).mean((1, 2, 3)))
    np.testing.assert_allclose(losses("log_mse", "image"), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ["bce", "mse", "log_mse"])
def test_a_weighted_loss_is_the_weighted_mean_over_pixels(loss):
    image = sigmoid(OUTPUT)
    cross_entropy = -CLEAN * np.log(image) - (1 - CLEAN) * np.log(1 - image)
    pixels = cross_entropy if loss == "bce" else np.square(image - CLEAN)
    weights = np.broadcast_to(WEIGHT, pixels.shape)
    means = [np.average(p, weights=w) for p, w in zip(pixels, weights, strict=True)]
    expected = 10 * np.log10(means) if loss == "log_mse" else means
    np.testing.assert_allclose(losses(loss, "logits", WEIGHT), expected, rtol=1e-5)
    np.testing.assert_allclose(losses(loss, "logits", np.ones_like(WEIGHT)), losses(loss, "logits"), rtol=1e-5)


def test_the_loss_follows_the_prediction_unless_it_is_given():
    for prediction, loss in (("logits", "bce"), ("image", "mse"), ("residual", "mse")):
        model = ConvAutoencoder(prediction=prediction)
        assert Supervised().check(Noise(), model) == Supervised(loss)
        assert Supervised("mse").check(Noise(), model) == Supervised("mse")


UNCLIPPED = Noise(level=(0.5, 0.5), clip=False)
IMAGE = ConvAutoencoder(prediction="image")


def test_the_target_of_noise2noise_is_a_second_draw_at_the_same_level():
    draws, noise = Draws(3, 2, 7), Noise(level=(0.2, 0.9), clip=False)
    example = Noise2Noise().example(draws, Sample(CLEAN[0]), noise)
    noisy, level = noise.apply(draws, CLEAN[0])
    np.testing.assert_array_equal(example.input, noisy)
    assert example.level == level
    key = rng.draw_key(3, rng.TARGET, 2, 7)
    np.testing.assert_allclose(
        example.target, CLEAN[0] + level * jax.random.normal(key, CLEAN[0].shape), rtol=1e-5, atol=1e-6
    )
    assert abs(np.corrcoef((example.input - CLEAN[0]).ravel(), (example.target - CLEAN[0]).ravel())[0, 1]) < 0.4


@pytest.mark.slow
def test_the_gradient_of_noise2noise_is_the_supervised_one_in_expectation():
    """To the standard error, over many draws; on clipped noise it is not."""
    images = random_images(4000, 2, 2, 1)
    draws = Draws(0, 1, jnp.arange(len(images)))

    def gradients(objective, noise):
        def gradient(index, image):
            example = objective.example(Draws(0, 1, index), Sample(image), noise)
            one = jax.tree.map(lambda x: x[None], example._replace(weight=None, level=jnp.zeros(())))

            def loss(scale):
                return objective.losses(lambda x, level: Prediction(scale * x, "image"), one, draws)[0]

            return jax.grad(loss)(0.7)

        return jax.jit(jax.vmap(gradient))(draws.index, images)

    for noise, equal in ((UNCLIPPED, True), (UNCLIPPED.replace(clip=True), False)):
        difference = np.asarray(gradients(Noise2Noise("mse"), noise) - gradients(Supervised("mse"), noise))
        error = difference.std(ddof=1) / len(difference) ** 0.5
        assert (abs(difference.mean()) < 3 * error) == equal


@pytest.mark.parametrize(
    ("objective", "noise", "sentence"),
    [
        (Noise2Noise(), Noise(), "but clipping moves it; add --no-clip"),
        (Noise2Noise(), Noise("masking", (0.5, 0.5), clip=False), "but masking moves it; take gaussian noise"),
        (Noise2Noise("bce"), UNCLIPPED, "noise2noise with loss bce has no minimum for targets beyond"),
        (Noise2Noise("log_mse"), UNCLIPPED, "noise2noise with loss log_mse does not learn the mean"),
        (Noise2Noise("bce", allow_bias=True), UNCLIPPED, "loss bce needs prediction logits, not image"),
    ],
)
def test_what_noise2noise_cannot_learn_from_is_refused_with_the_reason(objective, noise, sentence):
    with pytest.raises(InputError, match=sentence):
        objective.check(noise, IMAGE)


def test_noise2noise_is_allowed_where_it_is_right_or_the_curious_want_it():
    assert Noise2Noise().check(UNCLIPPED, IMAGE) == Noise2Noise("mse")
    curious = Noise2Noise("bce", allow_bias=True)
    assert curious.check(Noise(), ConvAutoencoder()) == curious


@pytest.mark.slow
def test_the_corruptions_that_keep_the_mean_are_known():
    clean = np.full((1, 64, 64, 1), 0.4, np.float32)
    for name, corruption in CORRUPTIONS.items():
        noisy = corruption.function(rng.draw_key(0, rng.NOISE), clean[0], 0.3)
        error = np.std(noisy) / 64
        assert (abs(float(np.mean(noisy)) - 0.4) < 4 * error) == corruption.unbiased, name


def test_bce_needs_logits():
    for prediction in ("image", "residual"):
        model = ConvAutoencoder(prediction=prediction)
        Supervised("mse").check(Noise(), model)
        with pytest.raises(InputError, match=f"loss bce needs prediction logits, not {prediction}, .*; use loss mse"):
            Supervised("bce").check(Noise(), model)
