"""Images of any size and number are denoised in the same shape; test_contract.py compares tiles with the whole."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny import random_images, random_params

import jaxdae
from jaxdae.errors import InputError
from jaxdae.models import ConvAutoencoder, count_parameters, denoiser
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.noise import Noise

MODEL = ConvAutoencoder(width=4, depth=2)
ABOUT = About(Noise(), channels=1)


DENOISE = Denoiser(MODEL, random_params(MODEL), ABOUT)
apply = jax.jit(DENOISE.apply)


@pytest.mark.slow
def test_many_images_are_denoised_in_groups(monkeypatch):
    monkeypatch.setattr(denoiser, "PIXELS_ON_DEVICE", 4 * 16 * 16)
    noisy = random_images(10, 16, 16, 1)
    denoised = DENOISE(noisy)
    assert isinstance(denoised, np.ndarray) and denoised.dtype == np.float32
    np.testing.assert_allclose(denoised, apply(noisy), atol=1e-6)


@pytest.mark.parametrize("size", [*(pytest.param(s, marks=pytest.mark.slow) for s in ((1, 1), (61, 35))), (3, 2)])
def test_mirrored_images_are_denoised_as_parts_of_larger_ones(monkeypatch, size):
    noisy, seen = random_images(1, *size, 1), []
    margin = -(-MODEL.reach // 4) * 4
    sides = [(margin, margin + -side % 4) for side in size]
    whole = apply(np.pad(noisy, ((0, 0), *sides, (0, 0)), mode="reflect"))
    if size[0] > 8:
        monkeypatch.setattr(denoiser, "TILE", 8)
    mirrored = DENOISE(noisy, mirrored=True, progress=lambda done, of: seen.append((done, of)))
    np.testing.assert_allclose(mirrored, whole[:, margin:, margin:][:, : size[0], : size[1]], atol=1e-6)
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)] and (len(seen) > 9) == (size[0] > 8)


@pytest.fixture
def identity_network(monkeypatch):
    monkeypatch.setattr(denoiser, "_denoise_batched", lambda params, noisy, levels, module: noisy)


def test_every_side_is_covered_by_its_tiles(identity_network, monkeypatch):
    for tile, sides in ((8, range(1, 100)), (256, (*range(1, 20), *range(230, 290), *range(500, 530)))):
        monkeypatch.setattr(denoiser, "TILE", tile)
        for side in sides:
            noisy = random_images(1, side, 1, 1)
            np.testing.assert_array_equal(DENOISE(noisy), noisy)
            np.testing.assert_array_equal(DENOISE(noisy, mirrored=True), noisy)


def test_a_network_without_reach_sees_whole_pictures(monkeypatch):
    class Whole(ConvAutoencoder):
        reach = None

    seen = []
    monkeypatch.setattr(denoiser, "TILE", 8)
    monkeypatch.setattr(denoiser, "_denoise_batched", lambda _, noisy, *rest: seen.append(noisy.shape) or noisy)
    Denoiser(Whole(width=4, depth=2), None, ABOUT)(random_images(1, 41, 90, 1))
    assert seen == [(1, 44, 92, 1)]


@pytest.mark.parametrize(
    ("noisy", "sentence"),
    [
        (np.zeros((28, 28)), r"shape \(28, 28\) cannot be denoised; give \(image, height, width, channel\)"),
        (np.zeros((0, 8, 8, 1)), "cannot be denoised"),
        (
            np.zeros((8, 1, 28, 28)),
            r"\(8, 1, 28, 28\) have 28 channels, .* takes 1; the order is .*images.transpose\(0, 2, 3, 1\)",
        ),
        (np.zeros((8, 28, 28, 3), np.float32), "have 3 channels, but this denoiser takes 1"),
        (np.zeros((1, 8, 8, 1), np.uint8), "must be floats from 0 to 1, got uint8"),
        (np.zeros((1, 8, 8, 1), bool), "must be floats from 0 to 1, got bool"),
        (np.full((1, 8, 8, 1), 1.5), "from 1.5 to 1.5; divide 8-bit ones by 255"),
        (np.full((1, 8, 8, 1), np.nan), "from nan to nan"),
    ],
)
def test_images_that_do_not_fit_are_refused_in_one_sentence(noisy, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        DENOISE(noisy)
    assert "\n" not in str(error.value)


def test_a_denoiser_of_one_size_refuses_others(identity_network):
    of_one_size = dataclasses.replace(DENOISE, about=dataclasses.replace(ABOUT, size=(16, 16)))
    assert of_one_size(random_images(10, 16, 16, 1)).shape == (10, 16, 16, 1)
    with pytest.raises(InputError, match=r"images of \(16, 8\) pixels .* takes \(16, 16\) only"):
        of_one_size(random_images(1, 16, 8, 1))


def test_a_network_trained_without_clipping_takes_values_beyond_0_and_1(identity_network):
    noisy = 3 * random_images(10, 16, 16, 1) - 1
    unclipped = dataclasses.replace(DENOISE, about=dataclasses.replace(ABOUT, noise=Noise(clip=False)))
    np.testing.assert_array_equal(unclipped(noisy), noisy)
    with pytest.raises(InputError, match="must be floats from 0 to 1"):
        DENOISE(noisy)
    with pytest.raises(InputError, match="from -inf"):
        unclipped(np.where(noisy < 0, -np.inf, noisy))


def test_layers_are_those_of_the_network():
    layers = DENOISE.layers(random_images(10, 16, 16, 1))
    assert {name: layer.shape[1:] for name, layer in layers.items()} == {
        "encoder_0": (8, 8, 4), "encoder_1": (4, 4, 4), "decoder_0": (4, 4, 4), "decoder_1": (8, 8, 4)
    }  # fmt: skip


def test_the_packaged_denoiser_is_the_classic_model():
    digits = jaxdae.load_denoiser("digits")
    assert count_parameters(digits.params) == 28_353
    assert digits.module == ConvAutoencoder() and digits.about.channels == 1
    assert digits.about.noise == Noise(level=(0.5, 0.5), redraw=False)
