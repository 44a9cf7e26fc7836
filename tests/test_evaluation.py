"""The matrix of measurements: each entry is the metric of one model on one noisy image, and no noise was trained on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CONFIG, DATA

from jaxdae import evaluation, metrics, model, noise, training

LEVELS = np.array([0.25, 0.75])
POPULATION = dataclasses.replace(CONFIG, seeds=(0, 1))
MODEL = training.make_model(POPULATION)


@pytest.fixture(scope="module")
def params():
    return training.initial_states(POPULATION, 1)[0].params


def test_every_entry_is_the_metric_of_one_model_on_one_noisy_image(params):
    scores, identity = evaluation.evaluate_population(params, DATA.test, LEVELS, config=POPULATION)
    clean = DATA.test.astype(np.float32) / 255
    for i, level in enumerate(LEVELS):
        noisy = evaluation.noisy_examples(DATA.test, float(level), config=POPULATION)
        for name in ("bce", "mse", "psnr", "ssim"):
            metric = getattr(metrics, name)
            np.testing.assert_allclose(identity[name][i], metric(noisy, clean), rtol=1e-4, atol=1e-5)
            for number in (0, 1):
                one = jax.tree.map(lambda x, number=number: x[number], params)
                denoised = model.denoise(one, noisy, model=MODEL)
                np.testing.assert_allclose(scores[name][i, number], metric(denoised, clean), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training_epoch", [noise.ONCE, 1, 100])
def test_the_noise_of_evaluation_is_none_of_training(training_epoch):
    clean = jnp.zeros((4, 8, 8, 1))
    config = dataclasses.replace(CONFIG, clip=False)
    evaluated = np.asarray(evaluation.noisy_examples(np.zeros((4, 8, 8, 1), np.uint8), 1.0, config=config))
    seed = jnp.uint32(config.evaluation_seed)
    trained = noise.corrupt_examples(seed, clean, jnp.arange(4), 1.0, 1.0, epoch=training_epoch, clip=False)
    assert abs(np.corrcoef(evaluated.ravel(), np.asarray(trained).ravel())[0, 1]) < 0.25


def test_rows_name_the_models_and_have_no_number_that_json_lacks():
    scores = {"psnr": np.array([[[10.0, 20.0], [np.nan, 1.0]]])}
    rows = evaluation.summarize(POPULATION, [0.5], scores, {"psnr": np.array([[9.0, 11.0]])})
    named = [(row["model"], row["noise_level"], row["seed"], row["psnr"]) for row in rows]
    assert named == [("identity", None, None, 10.0), (0, 0.5, 0, 15.0), (1, 0.5, 1, None)]


@pytest.mark.parametrize("images", [1, 5, 40])
def test_batches_give_back_every_image_once_and_in_order(images):
    out = evaluation.in_batches(lambda offset, x: x + offset, 1.0, jnp.arange(float(images)), at_once=4)
    np.testing.assert_array_equal(out, np.arange(images) + 1.0)
