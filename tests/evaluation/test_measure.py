"""Levels x denoisers x images: each entry is the metric of one denoiser on one noisy image."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import DATA, MEMBER, random_params

import jaxdae
from jaxdae import metrics
from jaxdae.errors import InputError
from jaxdae.evaluation import measure
from jaxdae.evaluation.measure import default_levels
from jaxdae.models import ConvAutoencoder
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.noise import Noise, check_noise

LEVELS = (0.25, 0.75)
NOISE = Noise(redraw=False)
LOGITS, IMAGE = MEMBER.model, ConvAutoencoder(width=4, depth=1, prediction="image")
CLEAN = DATA.test.astype(np.float32) / 255


def denoiser(module, seed, level=0.5, **fields):
    about = About(check_noise(Noise(level=level, **fields)), channels=1, seed=seed)
    return Denoiser(module, random_params(module, seed=seed), about)


DENOISERS = [denoiser(LOGITS, 0), denoiser(IMAGE, 1), denoiser(LOGITS, 2)]


@pytest.fixture(scope="module")
def measured():
    return measure(DENOISERS, DATA.test, NOISE, LEVELS, seed=5)


@jax.jit
def expected_scores(noisy):
    """Of the noisy images and of the three denoisers, whose networks differ in what they predict only."""
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(denoiser.params for denoiser in DENOISERS))
    logits, image, other_logits = jax.vmap(lambda p: LOGITS.apply({"params": p}, noisy))(params)
    denoised = jnp.stack([noisy, jax.nn.sigmoid(logits), image, jax.nn.sigmoid(other_logits)])
    return metrics.score(denoised, jnp.broadcast_to(CLEAN, denoised.shape))


@pytest.mark.slow
def test_every_entry_is_the_metric_of_one_denoiser_on_one_noisy_image(measured):
    scores, identity = measured
    assert list(scores) == ["bce", "mse", "psnr", "ssim"] and scores["psnr"].shape == (2, 3, 20)
    for i, level in enumerate(LEVELS):
        expected = expected_scores(jaxdae.noisy_examples(DATA.test, Noise(level=level), seed=5))
        for name in scores:
            found = [identity[name][i], *scores[name][i]]
            np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_noise_that_is_not_clipped_is_measured_so():
    scores, _ = measure(DENOISERS[:1], DATA.test, Noise(clip=False), [0.75])
    noisy = np.asarray(jaxdae.noisy_examples(DATA.test, Noise(level=0.75, clip=False)))
    assert noisy.min() < 0 < 1 < noisy.max()
    expected = metrics.mse(DENOISERS[0].apply(noisy), CLEAN)
    np.testing.assert_allclose(scores["mse"][0, 0], expected, rtol=1e-4)


@pytest.mark.slow
def test_rows_hold_the_means_by_test_noise_and_level(measured):
    rows = jaxdae.evaluate(DENOISERS, DATA.test, LEVELS, seed=5)
    assert [(row["member"], row["seed"], row["test_level"]) for row in rows] == [
        (member, seed, level) for level in LEVELS for member, seed in (("identity", None), (0, 0), (1, 1), (2, 2))
    ]
    assert {(row["test_corruption"], row["noise_level"]) for row in rows[1:4]} == {("gaussian", "0.5")}
    scores, identity = measured
    assert rows[0]["psnr"] == pytest.approx(identity["psnr"][0].mean())
    assert rows[6]["mse"] == pytest.approx(scores["mse"][1, 1].mean())


@pytest.fixture
def without_measuring(monkeypatch):
    """Notes what is measured; every psnr is 1, and that of the last denoiser not finite."""
    calls = []

    def measure(denoisers, images, noise, levels, *, noisy, seed, mesh):
        calls.append((len(denoisers), noise.corruption, noise.clip, list(levels)))
        scores = np.ones((len(levels), len(denoisers), 2))
        scores[:, -1, 0] = np.nan
        return {"psnr": scores}, {"psnr": np.ones((len(levels), 2))}

    monkeypatch.setattr(importlib.import_module("jaxdae.evaluation.measure"), "measure", measure)
    return calls


def test_denoisers_are_measured_with_their_own_noise_unless_another_is_given(without_measuring):
    several = [denoiser(LOGITS, 0, 0.25), denoiser(LOGITS, 0, (0, 1)), denoiser(LOGITS, 0, 0.5, clip=False)]
    several.append(denoiser(LOGITS, 0, (0, 0.5), corruption="masking"))
    rows = jaxdae.evaluate(several, DATA.test)
    assert without_measuring == [
        (2, "gaussian", True, [0.25]), (1, "gaussian", False, [0.5]), (1, "masking", True, [0.25])
    ]  # fmt: skip
    assert [row["psnr"] for row in rows if row["member"] != "identity"] == [1.0, None, None, None]
    without_measuring.clear()
    rows = jaxdae.evaluate(several, DATA.test, [0.1], corruption="speckle", members=[3, 0])
    assert without_measuring == [(2, "speckle", True, [0.1])]
    assert [(row["member"], row["noise_level"]) for row in rows] == [("identity", None), (3, "0:0.5"), (0, "0.25")]


def test_default_levels_are_the_fixed_ones_or_the_middles_of_ranges():
    fixed, blind = (check_noise(Noise(level=level)).replace for level in (0.5, (0, 1)))
    assert default_levels([fixed(), blind()]) == [0.5]
    assert default_levels([blind(), blind(level=(0.0, 0.5))]) == [0.25, 0.5]


@pytest.mark.parametrize(
    ("noise", "levels", "images", "sentence"),
    [
        (NOISE, [-1.0], DATA.test, "noise level -1 is out of range"),
        (Noise("masking"), [0.5, 1.5], DATA.test, "masking takes 0 to 1"),
        (Noise("gausian"), [0.5], DATA.test, "corruption 'gausian' is not known"),
        (NOISE, [0.5], DATA.test.astype(np.int32), "images of type int32 cannot be used"),
        (NOISE, [], DATA.test, "there is no test level"),
        (NOISE, [0.5], DATA.test.astype(np.float32), "float images must be on the .0, 1. scale, not from 0 to 255"),
        (NOISE, [0.5], DATA.test.transpose(0, 3, 1, 2), "seem to have their 1 channels first; give images.transpose"),
    ],
)
def test_what_cannot_be_measured_is_refused(noise, levels, images, sentence):
    with pytest.raises(InputError, match=sentence):
        measure(DENOISERS, images, noise, levels)


def test_a_denoiser_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="member 3 does not exist; give 0 to 2"):
        jaxdae.evaluate(DENOISERS, DATA.test, members=[3])
