"""Classical denoisers: what tuning and calibration promise, and the numbers that they are known to give."""

import functools
import importlib.util
import os
import sys
import types

import _filters
import jax.numpy as jnp
import numpy as np
import pytest
from _filters import FAMILIES, TUNING_IMAGES, Baseline, apply, fit

from jaxdae import load, metrics
from jaxdae.errors import InputError

FILTERS = ["identity", "median", "gaussian", "wiener", "tv", "nlm", "wavelet"]
NAMES = [*FILTERS, "linear_mmse"]

needs_mnist = pytest.mark.skipif(
    "JAXDAE_MANUAL_DIR" not in os.environ, reason="JAXDAE_MANUAL_DIR does not name a folder with mnist/"
)


def with_noise(images, level=0.5, seed=0):
    clean = images.astype(np.float32) / 255
    noise = np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
    return clean, np.clip(clean + level * noise, 0, 1)


def mean_psnr(denoised, clean):
    return float(np.mean(metrics.psnr(denoised, clean)))


DIGITS = load("digits")
TRAIN = with_noise(DIGITS.train[:, 6:22, 6:22], seed=1)
FEW = tuple(images[:20] for images in TRAIN)
TEST = with_noise(DIGITS.test[:20, 6:22, 6:22], seed=2)


@functools.cache
def fitted(name):
    return fit(name, *(TRAIN if name == "linear_mmse" else FEW))


def test_identity_is_the_identity():
    np.testing.assert_array_equal(apply(fitted("identity")[0], TEST[1]), TEST[1])


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_tuned_denoiser_beats_the_identity_raw_and_with_its_curve(name):
    clean, noisy = TEST
    for baseline in fitted(name):
        assert mean_psnr(apply(baseline, noisy), clean) > mean_psnr(noisy, clean) + 1


@pytest.mark.parametrize("name", NAMES)
def test_the_denoised_images_keep_shape_type_and_range(name):
    for baseline in fitted(name):
        denoised = apply(baseline, TEST[1])
        assert denoised.shape == TEST[1].shape and denoised.dtype == np.float32
        assert denoised.min() >= 0 and denoised.max() <= 1


@pytest.mark.parametrize("name", FILTERS)
def test_tuning_takes_the_best_of_the_grid(name):
    clean, noisy = FEW
    raw, calibrated = fitted(name)
    best = mean_psnr(apply(raw, noisy), clean)
    assert raw.curve is None and calibrated.curve is not None
    for value in FAMILIES[name].grid.get(next(iter(raw.parameters), ""), ()):
        other = Baseline(name, dict(raw.parameters) | {next(iter(raw.parameters)): value})
        assert mean_psnr(apply(other, noisy), clean) <= best + 1e-6


@pytest.mark.parametrize("name", FILTERS)
def test_a_curve_rises_and_never_raises_the_error_on_its_own_images(name):
    clean, noisy = FEW
    _, calibrated = fitted(name)
    assert np.all(np.diff(calibrated.curve.output) > 0) and np.all(np.diff(calibrated.curve.clean) >= 0)
    without = Baseline(name, calibrated.parameters)
    errors = [float(np.mean(metrics.mse(apply(b, noisy), clean))) for b in (calibrated, without)]
    assert errors[0] <= errors[1] + 1e-6


def test_linear_mmse_of_one_pixel_is_the_regression_line():
    rng = np.random.default_rng(0)
    clean = rng.uniform(0.4, 0.6, (TUNING_IMAGES + 5000, 1, 1, 1))
    noisy = clean + 0.1 * rng.standard_normal(clean.shape)
    x, y = (images[TUNING_IMAGES:].ravel() for images in (clean, noisy))
    raw, _ = fit("linear_mmse", clean, noisy)
    slope = np.cov(x, y)[0, 1] / (np.var(y, ddof=1) + raw.parameters["ridge"] * len(y) / (len(y) - 1))
    np.testing.assert_allclose(
        apply(raw, noisy).ravel(), np.clip(x.mean() + slope * (noisy.ravel() - y.mean()), 0, 1), rtol=1e-9
    )


def test_linear_mmse_without_a_ridge_is_least_squares():
    clean, noisy = (images[:, 4:8, 4:8].astype(np.float64) for images in TRAIN)
    affine = next(_filters._fit_affine(clean, noisy, (0.0,)))
    design = np.column_stack([noisy.reshape(len(noisy), -1), np.ones(len(noisy))])
    expected = design @ np.linalg.lstsq(design, clean.reshape(len(clean), -1))[0]
    actual = _filters._linear_mmse(noisy, affine=affine, ridge=0.0)
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, atol=1e-9)


def test_images_beyond_the_tuning_ones_tune_no_filter():
    pairs = [TRAIN, tuple(np.concatenate([images[:TUNING_IMAGES], images[:50] ** 2]) for images in TRAIN)]
    for one, other in zip(*(fit("gaussian", *pair) for pair in pairs), strict=True):
        assert one.parameters == other.parameters
        np.testing.assert_array_equal(apply(one, TEST[1]), apply(other, TEST[1]))


@pytest.mark.parametrize("name", NAMES)
def test_no_image_changes_what_another_becomes(name):
    for baseline in fitted(name):
        np.testing.assert_allclose(apply(baseline, TEST[1][:3]), apply(baseline, TEST[1])[:3], atol=1e-6)


def test_arrays_of_jax_will_do():
    blur = fitted("gaussian")[1]
    np.testing.assert_array_equal(apply(blur, jnp.array(TEST[1][:3])), apply(blur, TEST[1][:3]))


@pytest.mark.parametrize("name", FILTERS)
def test_channels_are_denoised_one_by_one(name):
    both = np.concatenate([TEST[1][:2], TEST[1][2:4]], axis=-1)
    apart = [apply(fitted(name)[1], both[..., [i]]) for i in (0, 1)]
    np.testing.assert_allclose(apply(fitted(name)[1], both), np.concatenate(apart, axis=-1), atol=1e-6)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("brightness", [0.0, 0.3, 1.0])
def test_a_flat_image_stays_flat_away_from_its_edge(name, brightness):
    flat = np.full((1, 16, 16, 1), brightness, np.float32)
    np.testing.assert_allclose(apply(fitted(name)[0], flat)[:, 4:-4, 4:-4], brightness, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("bm3d") is not None, reason="bm3d is installed")
def test_the_missing_package_is_named():
    with pytest.raises(InputError, match="baseline bm3d needs the package bm3d, which is not installed: pip install"):
        fit("bm3d", *FEW)


def test_bm3d_is_used_where_it_is_installed(monkeypatch):
    module = types.ModuleType("bm3d")
    module.bm3d = lambda plane, sigma: plane * (1 - sigma)
    module.__spec__ = importlib.util.spec_from_loader("bm3d", None)
    monkeypatch.setitem(sys.modules, "bm3d", module)
    raw, _ = fit("bm3d", *FEW)
    np.testing.assert_allclose(apply(raw, TEST[1]), TEST[1] * (1 - raw.parameters["sigma"]), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("gausian", *FEW), "baseline 'gausian' is not known; did you mean gaussian"),
        (("median", FEW[0], FEW[1][:5]), "are not pairs"),
        (("median", FEW[0][..., 0], FEW[1][..., 0]), r"got float32 of shape \(20, 16, 16\)"),
        (("median", FEW[0][:0], FEW[1][:0]), r"got float32 of shape \(0, 16, 16, 1\)"),
        (("median", DIGITS.train, DIGITS.train), "got uint8 .*; divide 8-bit images by 255"),
        (("median", FEW[0], FEW[1] * np.nan), "take finite float32"),
        (("linear_mmse", *FEW), "linear_mmse needs more than 200 training images"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        fit(*arguments)


def test_linear_mmse_keeps_to_its_size():
    with pytest.raises(InputError, match=r"fitted on images of shape \(16, 16, 1\) and cannot denoise \(8, 8, 1\)"):
        apply(fitted("linear_mmse")[0], TEST[1][:, :8, :8])


@pytest.mark.slow
@needs_mnist
def test_mnist_gives_the_known_numbers():
    """PSNR of the first 1,000 test images; measured independently of this code."""
    mnist = load("mnist")
    calibrated_blur = {0.1: 29.9, 0.25: 23.3, 0.5: 17.70, 0.75: 14.7, 1.0: 13.2}
    identity = {0.1: 22.7, 0.25: 14.9, 0.5: 9.38, 0.75: 7.1, 1.0: 6.0}
    clean = mnist.test[:1000].astype(np.float32) / 255
    noise = np.random.default_rng(0).standard_normal((1000, 28, 28))[..., None].astype(np.float32)
    for level in identity:
        noisy, train = np.clip(clean + level * noise, 0, 1), with_noise(mnist.train[:TUNING_IMAGES], level, seed=1)
        blur, unchanged = fit("gaussian", *train)[1], fit("identity", *train)[0]
        assert mean_psnr(apply(unchanged, noisy), clean) == pytest.approx(identity[level], abs=0.06)
        assert mean_psnr(apply(blur, noisy), clean) == pytest.approx(calibrated_blur[level], abs=0.1)
        if level == 0.5:
            assert mean_psnr(apply(fit("median", *train)[0], noisy), clean) == pytest.approx(14.16, abs=0.02)
