"""The corruptions: their statistics, their paired draws, and noise that depends on nothing but its name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tiny import DATA

from jaxdae import noise, rng
from jaxdae.errors import InputError
from jaxdae.noise import CORRUPTIONS, Noise, check_noise, level_range, noisy_examples
from jaxdae.rng import Draws

SHAPE = (40, 36, 3)
SEEDS = st.integers(0, 2**32 - 1).map(np.uint32)
MODERATE_LEVELS = st.floats(0.1, 1.0)
FRACTIONS = st.floats(0, 1)
ADDITIVE = ["gaussian", "uniform", "speckle"]
BY_PIXEL = ["salt_and_pepper", "masking"]

corrupt = jax.jit(noise.corrupt, static_argnames=("corruption", "clip"))
POISSON = pytest.param("poisson", marks=pytest.mark.slow)
each_corruption = pytest.mark.parametrize("corruption", [POISSON if c == "poisson" else c for c in CORRUPTIONS])


def random_image(shape=SHAPE, seed=0):
    """Random brightness, with some pixels exactly 0 and some exactly 1."""
    values = np.random.default_rng(seed).uniform(-0.2, 1.2, shape)
    return np.clip(values, 0, 1).astype(np.float32)


def inner_image(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(np.float32)


def grey_image(brightness):
    return np.full(SHAPE, brightness, np.float32)


@each_corruption
@given(seed=SEEDS, data=st.data())
def test_every_level_gives_numbers_in_the_shape_of_the_image(corruption, seed, data):
    largest = min(CORRUPTIONS[corruption].highest, float(np.finfo(np.float32).max))
    level = data.draw(st.floats(0, largest) | st.just(largest))
    noisy = corrupt(jax.random.key(seed), random_image(), level, corruption=corruption, clip=False)
    assert (noisy.shape, noisy.dtype) == (SHAPE, jnp.float32)
    assert not np.isnan(noisy).any()


def test_clipping_is_to_0_and_1():
    noisy, clipped = (corrupt(jax.random.key(0), random_image(), 0.5, clip=clip) for clip in (False, True))
    assert noisy.min() < 0 and noisy.max() > 1
    np.testing.assert_array_equal(clipped, np.clip(noisy, 0, 1))


@each_corruption
@given(seed=SEEDS)
def test_level_0_is_the_identity(corruption, seed):
    clean = random_image()
    noisy = corrupt(jax.random.key(seed), clean, 0.0, corruption=corruption, clip=False)
    np.testing.assert_array_equal(noisy, clean)


@each_corruption
@given(seed=SEEDS, other=SEEDS)
def test_key_determines_the_noise(corruption, seed, other):
    assume(seed != other)
    clean = grey_image(0.5)
    first, again, different = (
        corrupt(jax.random.key(s), clean, 0.5, corruption=corruption, clip=False) for s in (seed, seed, other)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != different)


def standard_deviation_and_kurtosis(corruption, brightness, level):
    return {
        "gaussian": (level, 3),
        "uniform": (level / 3**0.5, 1.8),
        "speckle": (level * brightness, 3),
        "poisson": (level * brightness**0.5, 3 + level**2 / brightness),
    }[corruption]


@pytest.mark.parametrize("corruption", [*ADDITIVE, POISSON])
@given(brightness=MODERATE_LEVELS, level=MODERATE_LEVELS, seed=SEEDS)
def test_mean_and_standard_deviation_follow_the_formula(corruption, brightness, level, seed):
    clean = grey_image(brightness)
    noisy = np.asarray(corrupt(jax.random.key(seed), clean, level, corruption=corruption, clip=False), np.float64)
    deviation, kurtosis = standard_deviation_and_kurtosis(corruption, brightness, level)
    assert abs(noisy.mean() - brightness) < 5 * deviation / noisy.size**0.5
    assert abs(noisy.std() - deviation) < 5 * deviation * ((kurtosis - 1) / 4 / noisy.size) ** 0.5


@pytest.mark.slow
@given(level=MODERATE_LEVELS, seed=SEEDS)
def test_poisson_noise_counts_in_units_of_the_squared_level(level, seed):
    noisy = corrupt(jax.random.key(seed), grey_image(0.5), level, corruption="poisson", clip=False)
    counts = np.asarray(noisy) / level**2
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)


def assert_fraction(chosen, fraction):
    assert abs(np.mean(chosen) - fraction) <= 5 * (fraction * (1 - fraction) / chosen.size) ** 0.5


@given(level=FRACTIONS, seed=SEEDS)
def test_salt_and_pepper_are_half_the_level_each(level, seed):
    noisy = corrupt(jax.random.key(seed), grey_image(0.4), level, corruption="salt_and_pepper", clip=False)[..., 0]
    assert_fraction(noisy == 0, level / 2)
    assert_fraction(noisy == 1, level / 2)
    assert np.all((noisy == 0) | (noisy == 1) | (noisy == np.float32(0.4)))


@given(level=FRACTIONS, seed=SEEDS)
def test_level_is_the_fraction_of_masked_pixels(level, seed):
    noisy = corrupt(jax.random.key(seed), grey_image(0.4), level, corruption="masking", clip=False)[..., 0]
    assert_fraction(noisy == 0, level)
    assert np.all((noisy == 0) | (noisy == np.float32(0.4)))


@pytest.mark.parametrize("corruption", BY_PIXEL)
@given(level=FRACTIONS, seed=SEEDS)
def test_chosen_pixels_change_in_all_channels(corruption, level, seed):
    clean = inner_image()
    noisy = np.asarray(corrupt(jax.random.key(seed), clean, level, corruption=corruption, clip=False))
    changed = noisy != clean
    assert np.all(changed == changed[..., :1])
    assert np.all(np.where(changed, noisy == noisy[..., :1], True))


@pytest.mark.parametrize("corruption", BY_PIXEL)
def test_level_1_changes_every_pixel(corruption):
    noisy = corrupt(jax.random.key(0), grey_image(0.4), 1.0, corruption=corruption, clip=False)
    assert np.all((noisy == 0) | (noisy == 1))


@pytest.mark.parametrize("corruption", ADDITIVE)
@given(levels=st.tuples(MODERATE_LEVELS, MODERATE_LEVELS), seed=SEEDS)
def test_noise_over_level_is_the_same_at_all_levels(corruption, levels, seed):
    clean = random_image()
    first, second = (
        (corrupt(jax.random.key(seed), clean, level, corruption=corruption, clip=False) - clean) / level
        for level in levels
    )
    np.testing.assert_allclose(first, second, atol=2e-5)


@pytest.mark.parametrize("corruption", BY_PIXEL)
@given(levels=st.tuples(FRACTIONS, FRACTIONS), seed=SEEDS)
def test_pixels_changed_at_a_lower_level_are_changed_alike_at_a_higher(corruption, levels, seed):
    clean = inner_image()
    lower, higher = (
        np.asarray(corrupt(jax.random.key(seed), clean, level, corruption=corruption, clip=False))
        for level in sorted(levels)
    )
    changed = lower != clean
    np.testing.assert_array_equal(lower[changed], higher[changed])


EXAMPLES = random_image((16, *SHAPE))
POSITIONS = np.array([*range(0, 28, 2), 9999, 59999])
compiled_batch = jax.jit(noise.corrupt_batch)


def corrupt_batch(level, seed, epoch, clean=EXAMPLES, index=POSITIONS, corruption="gaussian"):
    component = Noise(corruption, jax.tree.map(np.float32, level_range(level)), clip=False)
    return np.asarray(compiled_batch(component, Draws(np.uint32(seed), np.uint32(epoch), index), clean)[0])


@pytest.mark.parametrize("corruption", ["gaussian", "salt_and_pepper"])
@given(order=st.permutations(range(16)), seed=SEEDS)
def test_noise_of_an_example_does_not_depend_on_the_order_of_the_batch(corruption, order, seed):
    order = np.array(order)
    noisy = corrupt_batch((0.2, 0.8), seed, 3, corruption=corruption)
    shuffled = corrupt_batch((0.2, 0.8), seed, 3, EXAMPLES[order], POSITIONS[order], corruption)
    np.testing.assert_allclose(shuffled, noisy[order], atol=1e-6)


@given(seed=SEEDS)
def test_noise_of_an_example_does_not_depend_on_the_size_of_the_batch(seed):
    noisy = corrupt_batch((0.2, 0.8), seed, 3)
    single = [corrupt_batch((0.2, 0.8), seed, 3, EXAMPLES[[i]], POSITIONS[[i]]) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(single), noisy[:3], atol=1e-6)


@given(epochs=st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True), seed=SEEDS)
def test_epoch_names_the_draw(epochs, seed):
    first, again, different = (corrupt_batch(0.5, seed, epoch) for epoch in (*epochs[:1], *epochs))
    np.testing.assert_array_equal(first, again)
    assert np.all(np.any(first != different, axis=(1, 2, 3)))


@pytest.mark.parametrize("corruption", ["gaussian", "salt_and_pepper"])
@given(seed=SEEDS, epoch=st.integers(0, 1000), level=MODERATE_LEVELS, i=st.integers(0, 15))
def test_fixed_level_equals_corrupt_by_the_named_key(corruption, seed, epoch, level, i):
    noisy = corrupt_batch(level, seed, epoch, corruption=corruption)
    key = rng.draw_key(seed, rng.NOISE, epoch, int(POSITIONS[i]))
    expected = corrupt(key, EXAMPLES[i], level, corruption=corruption, clip=False)
    np.testing.assert_allclose(noisy[i], expected, atol=1e-6)


@given(seed=SEEDS, low=st.floats(0, 0.5), width=MODERATE_LEVELS)
def test_range_of_levels_draws_a_level_within_it_for_each_example(seed, low, width):
    noisy = corrupt_batch((low, low + width), seed, 1, np.zeros_like(EXAMPLES))
    levels = np.std(noisy, axis=(1, 2, 3))
    error = 5 / (2 * noisy[0].size) ** 0.5
    assert np.all((levels >= low * (1 - error)) & (levels <= (low + width) * (1 + error)))
    assert levels.min() < low + width / 2 < levels.max()


@pytest.mark.slow
def test_noisy_examples_are_named_by_their_positions():
    noisy = noisy_examples(DATA.test[:6], Noise(), seed=5)
    np.testing.assert_allclose(noisy_examples(DATA.test[:6] / np.float32(255), Noise(), seed=5), noisy, atol=1e-6)
    order = np.array([5, 0, 4, 1, 3, 2])
    shuffled = noisy_examples(DATA.test[order], Noise(), seed=5, index=order)
    np.testing.assert_allclose(shuffled, noisy[order], atol=1e-6)


def test_noisy_examples_need_8_bit_images_or_floats():
    with pytest.raises(InputError, match="images of type int32 cannot be used: give 8-bit ones, or floats from 0 to 1"):
        noisy_examples(DATA.test.astype(np.int32), Noise())


@pytest.mark.parametrize("epoch", [rng.ONCE, 1, 100])
def test_the_noise_of_evaluation_is_none_of_training(epoch):
    blank = np.zeros_like(EXAMPLES)
    evaluated, trained = (corrupt_batch(1.0, 0, e, blank).ravel() for e in (rng.EVALUATION, epoch))
    assert abs(np.corrcoef(evaluated, trained)[0, 1]) < 0.02


def test_integers_are_not_made_noisy(unchecked_types):
    """Clipped to [0, 1], 8-bit images would become ones."""
    with pytest.raises(InputError, match="must be floats on the .0, 1. scale, not uint8; divide 8-bit ones by 255"):
        noise.corrupt(jax.random.key(0), np.full((4, 4, 1), 128, np.uint8), 0.5)
    for images in (np.full((1, 4, 4, 1), 128.0), np.full((1, 4, 4, 1), np.nan), np.full((1, 4, 4, 1), -0.5)):
        with pytest.raises(InputError, match="float images must be on the .0, 1. scale, not from"):
            noise.noisy_examples(images, Noise())


def test_a_level_is_a_number_or_a_range_and_becomes_a_pair():
    for level in (0.5, "0.5", (0.5, 0.5), [0.5], "0.5:0.50", np.float32(0.5)):
        assert check_noise(Noise(level=level)).level == (0.5, 0.5)
    assert check_noise(Noise(level="0:1")).level == check_noise(Noise(level=(0, 1))).level == (0.0, 1.0)
    assert [noise.format_level(level) for level in ((0.5, 0.5), (0.0, 1.0))] == ["0.5", "0:1"]


@pytest.mark.parametrize(
    ("component", "sentence"),
    [
        (Noise(level=-0.1), r"noise level -0.1 is out of range: gaussian takes 0 to 5, a range low:high rising"),
        (
            Noise(level=25),
            r"25 is out of range: gaussian takes 0 to 5, on the .0, 1. scale .* to 255 it is 0.0980392 \(--n",
        ),
        (Noise("uniform", level="5:50"), r"on the scale to 255 it is 0.0196078:0.196078 \(--noise-scale 255\)"),
        (Noise("poisson", level=6), r"noise level 6 is out of range: poisson takes 0 to 5, a range low:high rising"),
        (Noise(level="1:0"), r"noise level 1:0 is out of range"),
        (Noise(level="much"), r"noise level 'much' is neither a number \(0.5\) nor a range \(0:1\)"),
        (Noise(level=(0, 0.5, 1)), r"noise level \(0, 0.5, 1\) is neither a number"),
        (Noise(level=()), r"noise level \(\) is neither a number"),
        (Noise(level=None), r"noise level None is neither a number"),
        (Noise(level=float("nan")), r"noise level nan.* is out of range"),
        (Noise("masking", level=1.5), r"masking takes 0 to 1"),
        (Noise("gausian"), r"corruption 'gausian' is not known; did you mean gaussian\?"),
        (Noise(redraw=1), r"redraw 1 is neither true nor false"),
    ],
)
def test_bad_noise_is_refused_in_one_sentence(component, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        check_noise(component)
    assert "\n" not in str(error.value)
