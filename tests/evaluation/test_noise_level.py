"""The noise level of a picture: known noise is found, clipped or not, and what is not such noise is not trusted."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

import jaxdae
from jaxdae.evaluation import noise_level, residual

PHOTO = load_sample_image("china.jpg")[:240, :320].mean(axis=-1).reshape(120, 2, 160, 2).mean(axis=(1, 3)) / 255
PHOTO = np.tile(PHOTO, (2, 2))
DIGITS = jaxdae.load("digits").test[:240, ..., 0].reshape(12, 20, 28, 28).swapaxes(1, 2).reshape(336, 560) / 255


def noisy(clean, level, clip=True, seed=0):
    found = clean + level * np.random.default_rng(seed).standard_normal(clean.shape)
    return np.round(np.clip(found, 0, 1) * 255) / 255 if clip else found


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("level", [10, 25, 50])
def test_the_noise_of_a_photograph_is_found(level, clip):
    found = jaxdae.estimate_noise_level(noisy(PHOTO, level / 255, clip))
    assert found.trusted and found.level == pytest.approx(level / 255, rel=0.1)


@pytest.mark.parametrize("level", [0.1, 0.25, 0.5])
def test_the_noise_of_digits_is_found_beneath_its_clipping_in_either_polarity(level):
    sheet = noisy(DIGITS, level)
    for image in (sheet, 1 - sheet):
        found = jaxdae.estimate_noise_level(image)
        assert found.trusted and found.level == pytest.approx(level, rel=0.05)


def test_a_single_digit_has_enough_black_for_an_estimate():
    found = [jaxdae.estimate_noise_level(noisy(DIGITS[:28, i : i + 28], 0.5, seed=i)) for i in range(0, 560, 28)]
    levels = np.array([estimate.level for estimate in found if estimate.trusted])
    assert len(levels) > 15 and abs(np.median(levels) - 0.5) < 0.03 and np.all(abs(levels - 0.5) < 0.15)


def test_clipped_moments_are_those_of_many_draws():
    clean = np.array([0.0, 0.1, 0.5, 1.0])
    drawn = np.clip(clean + 0.3 * np.random.default_rng(0).standard_normal((400_000, 1)), 0, 1)
    mean, variance = noise_level.clipped_moments(clean, 0.3)
    np.testing.assert_allclose(mean, drawn.mean(axis=0), atol=2e-3)
    np.testing.assert_allclose(variance, drawn.var(axis=0), rtol=1e-2)


def test_small_pictures_are_not_estimated_too_low():
    few = [jaxdae.estimate_noise_level(noisy(np.full((48, 48), 0.5), 0.1, seed=seed)).level for seed in range(8)]
    assert np.mean(few) == pytest.approx(0.1, rel=0.04)


def test_a_colour_picture_has_the_median_of_its_channels():
    levels = (0.05, 0.08, 0.2)
    colour = np.stack([noisy(PHOTO, level, seed=i) for i, level in enumerate(levels)], axis=-1)
    assert jaxdae.estimate_noise_level(colour).level == pytest.approx(0.08, rel=0.1)


def impulses(share):
    drawn = np.random.default_rng(0).random(PHOTO.shape)
    return np.where(drawn < share / 2, 0, np.where(drawn > 1 - share / 2, 1, PHOTO))


def correlated():
    drawn = noisy(PHOTO, 25 / 255, clip=False)
    return drawn * 0.6 + 0.1 * sum(np.roll(drawn, shift, axis) for shift in (-1, 1) for axis in (0, 1))


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full((40, 40), 0.3), "all its pixels are equal"),
        (np.zeros((40, 40)), "all its pixels are equal"),
        (np.zeros((7, 90)), "too small \\(7x90\\)"),
        (np.where(np.eye(40) > 0, np.nan, 0.5), "not finite"),
        (np.random.default_rng(0).integers(0, 2, (64, 64)) * 1.0, ""),
        (np.tile(np.linspace(0, 1, 64), (64, 1)), "no white noise stands out"),
        (impulses(0.02), ""),
        (impulses(0.1), ""),
        (impulses(0.3), "single pixels"),
        (correlated(), ""),
    ],
)
def test_what_is_not_white_gaussian_noise_is_not_trusted(image, reason):
    found = jaxdae.estimate_noise_level(image)
    assert not found.trusted
    assert np.char.find(found.reason, reason.replace("\\", "")) >= 0 and found.reason


def test_the_sample_of_a_large_picture_is_bounded_and_spread():
    image = np.zeros((3000, 5000), np.float32)
    parts = list(noise_level.blocks(image))
    assert len(parts) == 16 and {part.shape for part in parts} == {(256, 256)}
    parts[0][:], parts[-1][:] = 1, 1
    assert image[0, 0] == image[-1, -1] == 1
    assert sum(part.size for part in noise_level.blocks(np.zeros((20, 10**6), np.float32))) <= 2**20


def test_other_types_and_shapes_are_refused():
    for image in (np.zeros((20, 20), np.uint8), np.zeros((1, 20, 20, 1)), np.zeros((0, 20))):
        with pytest.raises(jaxdae.InputError, match="cannot be estimated; give"):
            jaxdae.estimate_noise_level(image)


def test_what_was_removed_is_compared_with_clipped_noise():
    given = noisy(DIGITS, 0.5)[..., None]
    size, correlation = residual.removed(given, DIGITS[..., None], 0.5)
    assert size == pytest.approx(1, abs=0.02) and abs(correlation) < 0.02
    assert residual.fault(size, correlation) is None
    assert "most of the noise was kept" in str(residual.fault(*residual.removed(given, given, 0.5)))
    flat = np.full_like(given, DIGITS.mean())
    assert "more was removed" in str(residual.fault(*residual.removed(noisy(DIGITS, 0.1)[..., None], flat, 0.1)))


def test_structure_in_what_was_removed_is_found():
    given = noisy(PHOTO, 25 / 255)[..., None]
    assert residual.fault(*residual.removed(given, PHOTO[..., None], 25 / 255)) is None
    smooth = PHOTO[..., None] + 0.07 * np.sin(np.arange(PHOTO.shape[1]) / 3)[:, None]
    assert "structure was removed" in str(residual.fault(*residual.removed(given, smooth, 25 / 255)))


RAMP = np.tile(np.linspace(0.15, 0.85, 160), (120, 1))


def test_a_level_that_depends_on_the_brightness_is_said_and_its_mean_can_be_used():
    found = jaxdae.estimate_noise_level(np.random.default_rng(0).poisson(100 * RAMP) / 100)
    assert not found.trusted and found.usable and "grows with the brightness" in found.reason
    assert found.level == pytest.approx(np.sqrt(RAMP.mean() / 100), rel=0.35)
    speckled = RAMP * (1 + 0.2 * np.random.default_rng(0).standard_normal(RAMP.shape))
    assert "grows with the brightness" in jaxdae.estimate_noise_level(speckled).reason
    assert jaxdae.estimate_noise_level(noisy(RAMP, 0.05)).trusted


def test_channels_of_which_most_depend_on_the_brightness_are_usable_alike():
    trusted, usable, no = (
        noise_level.Estimate(0.1, True),
        noise_level.Estimate(0.3, False, "depends", usable=True),
        noise_level.Estimate(0.9, False, "none"),
    )
    assert noise_level.combine([trusted, trusted, usable]) == (0.1, True, "", False)
    assert noise_level.combine([trusted, usable, usable]) == (0.3, False, "depends", True)
    assert noise_level.combine([no, no, usable]) == no
