"""Images of any size and number come back clean, in the same shape, tile by tile as well as whole."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny import CONFIG, random_images

import jaxdae
from jaxdae import denoising, evaluation, figures, model, training
from jaxdae.config import InputError
from jaxdae.runs import Run


@pytest.fixture(scope="module")
def run():
    states, best = jax.device_get(training.initial_states(dataclasses.replace(CONFIG, seeds=(0, 1), depth=2), 1))
    config = dataclasses.replace(CONFIG, seeds=(0, 1), depth=2)
    return Run(config, states.params, best, [{"epoch": 0, "train_bce": 0.0}] * 2)


def direct(run, noisy, member=0):
    return np.asarray(model.denoise(run.member_params(member), noisy, model=run.model))


def test_many_images_are_cleaned_in_batches(run, monkeypatch):
    monkeypatch.setattr(denoising, "PIXELS_ON_DEVICE", 4 * 16 * 16)
    noisy = random_images(10, 16, 16, 1)
    np.testing.assert_allclose(jaxdae.denoise(run, noisy), direct(run, noisy), atol=1e-6)


@pytest.mark.parametrize("side", [(40, 90), (61, 35), (33, 120)])
def test_tiles_have_no_seams(run, monkeypatch, side):
    noisy = random_images(1, *side, 1)
    whole = direct(run, noisy)
    monkeypatch.setattr(denoising, "TILE", 8)
    np.testing.assert_allclose(jaxdae.denoise(run, noisy), whole, atol=1e-6)


def test_every_small_side_is_cleaned_whole(run, monkeypatch):
    monkeypatch.setattr(denoising, "_denoise_batched", lambda params, noisy, model: noisy)
    for side in range(1, 400):
        noisy = random_images(1, side, 1, 1)
        np.testing.assert_array_equal(jaxdae.denoise(run, noisy), noisy)


def test_a_model_trained_without_clipping_takes_what_lies_beyond(run):
    unclipped = dataclasses.replace(run, config=dataclasses.replace(run.config, clip=False))
    assert jaxdae.denoise(unclipped, 3 * random_images(1, 16, 16, 1) - 1).shape == (1, 16, 16, 1)
    with pytest.raises(InputError, match="must be floats from 0 to 1"):
        jaxdae.denoise(run, 3 * random_images(1, 16, 16, 1) - 1)


def test_colour_is_cleaned_channel_by_channel(run):
    noisy = random_images(2, 16, 16, 3)
    clean = jaxdae.denoise(run, noisy)
    for channel in range(3):
        np.testing.assert_allclose(clean[..., [channel]], direct(run, noisy[..., [channel]]), atol=1e-6)


def test_the_model_that_is_asked_for(run):
    noisy = random_images(2, 16, 16, 1)
    np.testing.assert_allclose(jaxdae.denoise(run, noisy, member=1), direct(run, noisy, 1), atol=1e-6)
    assert not np.allclose(jaxdae.denoise(run, noisy), direct(run, noisy, 1))


@pytest.mark.parametrize(
    ("noisy", "sentence"),
    [
        (np.zeros((28, 28)), r"shape \(28, 28\) cannot be denoised; give \(image, height, width, channel\)"),
        (np.zeros((0, 8, 8, 1)), "cannot be denoised"),
        (np.zeros((1, 8, 8, 1), np.uint8), "must be floats from 0 to 1, got uint8"),
        (np.full((1, 8, 8, 1), 1.5), "from 1.5 to 1.5; divide 8-bit ones by 255"),
        (np.full((1, 8, 8, 1), np.nan), "from nan to nan"),
    ],
)
def test_what_is_refused(run, noisy, sentence):
    with pytest.raises(InputError, match=sentence):
        jaxdae.denoise(run, noisy)


def test_another_number_of_channels_is_refused(run):
    config = dataclasses.replace(run.config, seeds=(0,))
    states, best = jax.device_get(training.initial_states(config, 3))
    with pytest.raises(InputError, match="the model knows images of 3 channels, got 1"):
        jaxdae.denoise(Run(config, states.params, best, []), random_images(1, 8, 8, 1))


def test_the_pretrained_denoiser_is_the_seed_model():
    pretrained = jaxdae.load_pretrained()
    assert sum(leaf.size for leaf in jax.tree.leaves(pretrained.params)) == 28353
    assert pretrained.config.dataset == "mnist" and pretrained.config.draw == "fixed"
    assert pretrained.history[-1]["epoch"] >= 20


def test_figures_have_the_rows_that_were_given(run):
    noisy = random_images(12, 16, 16, 1)
    assert figures.noisy_digits(noisy).get_size_inches().tolist() == [20, 2]
    assert len(figures.noisy_denoised_clean(noisy, noisy).axes) == 20
    assert len(figures.noisy_denoised_clean(noisy, noisy, noisy).axes) == 30
    _, layers = evaluation.denoise_and_layers(run.member_params(0), noisy, model=run.model)
    assert {name: maps.shape[1:] for name, maps in layers.items()} == {
        "encoder_0": (8, 8, 4), "encoder_1": (4, 4, 4), "decoder_0": (4, 4, 4), "decoder_1": (8, 8, 4)
    }  # fmt: skip
    assert len(figures.feature_maps(noisy[0], np.asarray(layers["encoder_0"][0])).axes) == 9
    history = [
        {"epoch": epoch, "model": 0, "noise_level": 0.5, "seed": 0, "train_bce": None, "val_bce": 0.3}
        for epoch in (1, 2)
    ]
    axes = figures.loss_curves(history, reference=history).axes[0]
    assert len(axes.lines) == 4 and "nats" in axes.get_ylabel()
