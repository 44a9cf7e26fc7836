import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jaxdae import noise
from jaxdae.config import HIGHEST_LEVEL, CorruptionName

SHAPE, GREY_SHAPE = (4, 7, 3), (5, 4, 1)
STATISTICS_SHAPE = (60, 60, 3)
INTEGER_SEEDS = st.integers(0, 2**32 - 1)
SEEDS = INTEGER_SEEDS.map(np.uint32)
MODERATE_LEVELS = st.floats(0.1, 1.0)
ADDITIVE = ["gaussian", "uniform", "speckle"]
BY_PIXEL = ["salt_and_pepper", "masking"]

corrupt = jax.jit(noise.corrupt, static_argnames=("corruption", "clip"))
each_corruption = pytest.mark.parametrize("corruption", noise.CORRUPTIONS)


def random_image(shape, seed=0):
    """Random brightness, with some pixels exactly 0 and some exactly 1."""
    values = np.random.default_rng(seed).uniform(-0.2, 1.2, shape)
    return np.clip(values, 0, 1).astype(np.float32)


def inner_image(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape).astype(np.float32)


def grey_image(brightness, shape=STATISTICS_SHAPE):
    return np.full(shape, brightness, np.float32)


def test_config_names_the_registered_corruptions():
    assert get_args(CorruptionName) == tuple(noise.CORRUPTIONS)
    assert set(HIGHEST_LEVEL) <= set(noise.CORRUPTIONS)


@each_corruption
@given(seed=SEEDS, data=st.data())
def test_clipped_result_keeps_shape_and_lies_within_0_and_1(corruption, seed, data):
    level = data.draw(st.floats(0, HIGHEST_LEVEL.get(corruption, 1e6)))
    noisy = corrupt(jax.random.key(seed), random_image(GREY_SHAPE), level, corruption=corruption)
    assert noisy.shape == GREY_SHAPE
    assert noisy.dtype == jnp.float32
    assert np.all((noisy >= 0) & (noisy <= 1))


@pytest.mark.parametrize("corruption", [name for name in noise.CORRUPTIONS if name not in HIGHEST_LEVEL])
def test_clipped_result_lies_within_0_and_1_at_the_largest_level(corruption):
    largest = float(np.finfo(np.float32).max)
    noisy = corrupt(jax.random.key(0), random_image(GREY_SHAPE), largest, corruption=corruption)
    assert np.all((noisy >= 0) & (noisy <= 1))


@each_corruption
@given(seed=SEEDS)
def test_level_0_is_the_identity(corruption, seed):
    clean = random_image(SHAPE)
    noisy = corrupt(jax.random.key(seed), clean, 0.0, corruption=corruption, clip=False)
    np.testing.assert_array_equal(noisy, clean)


@each_corruption
@given(seed=SEEDS, other=SEEDS)
def test_key_determines_the_noise(corruption, seed, other):
    assume(seed != other)
    clean = grey_image(0.5, SHAPE)
    first, again, different = (
        corrupt(jax.random.key(s), clean, 0.5, corruption=corruption, clip=False) for s in (seed, seed, other)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != different)


@each_corruption
def test_jit_changes_nothing(corruption):
    arguments = jax.random.key(3), jnp.asarray(random_image(SHAPE)), 0.3
    eager = noise.corrupt(*arguments, corruption=corruption, clip=False)
    np.testing.assert_allclose(corrupt(*arguments, corruption=corruption, clip=False), eager, atol=1e-6)


@each_corruption
def test_vmap_over_keys_and_images_and_over_levels_alone_equals_a_loop(corruption):
    keys, images, levels = jax.random.split(jax.random.key(1)), random_image((2, *SHAPE)), np.float32([0.3, 0.9])
    one = functools.partial(corrupt, corruption=corruption, clip=False)
    looped = [[one(key, image, level) for level in levels] for key, image in zip(keys, images, strict=True)]
    mapped = jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))(keys, images, levels)
    np.testing.assert_allclose(mapped, np.array(looped), atol=1e-6)


def standard_deviation_and_kurtosis(corruption, brightness, level):
    return {
        "gaussian": (level, 3),
        "uniform": (level / 3**0.5, 1.8),
        "speckle": (level * brightness, 3),
        "poisson": (level * brightness**0.5, 3 + level**2 / brightness),
    }[corruption]


@pytest.mark.parametrize("corruption", [*ADDITIVE, "poisson"])
@given(brightness=MODERATE_LEVELS, level=MODERATE_LEVELS, seed=SEEDS)
def test_mean_and_standard_deviation_follow_the_formula(corruption, brightness, level, seed):
    clean = grey_image(brightness)
    noisy = np.asarray(corrupt(jax.random.key(seed), clean, level, corruption=corruption, clip=False), np.float64)
    deviation, kurtosis = standard_deviation_and_kurtosis(corruption, brightness, level)
    assert abs(noisy.mean() - brightness) < 5 * deviation / noisy.size**0.5
    assert abs(noisy.std() - deviation) < 5 * deviation * ((kurtosis - 1) / 4 / noisy.size) ** 0.5


@given(level=MODERATE_LEVELS, seed=SEEDS)
def test_poisson_noise_counts_in_units_of_the_squared_level(level, seed):
    noisy = corrupt(jax.random.key(seed), grey_image(0.5), level, corruption="poisson", clip=False)
    counts = np.asarray(noisy) / level**2
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)


def assert_fraction(chosen, fraction):
    assert abs(np.mean(chosen) - fraction) <= 5 * (fraction * (1 - fraction) / chosen.size) ** 0.5


@given(level=st.floats(0, 1), seed=SEEDS)
def test_salt_and_pepper_are_half_the_level_each(level, seed):
    noisy = corrupt(jax.random.key(seed), grey_image(0.4), level, corruption="salt_and_pepper", clip=False)[..., 0]
    assert_fraction(noisy == 0, level / 2)
    assert_fraction(noisy == 1, level / 2)
    assert np.all((noisy == 0) | (noisy == 1) | (noisy == np.float32(0.4)))


@given(level=st.floats(0, 1), seed=SEEDS)
def test_level_is_the_fraction_of_masked_pixels(level, seed):
    noisy = corrupt(jax.random.key(seed), grey_image(0.4), level, corruption="masking", clip=False)[..., 0]
    assert_fraction(noisy == 0, level)
    assert np.all((noisy == 0) | (noisy == np.float32(0.4)))


@pytest.mark.parametrize("corruption", BY_PIXEL)
@given(level=st.floats(0, 1), seed=SEEDS)
def test_chosen_pixels_change_in_all_channels(corruption, level, seed):
    clean = inner_image(SHAPE)
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
    clean = random_image(SHAPE)
    first, second = (
        (corrupt(jax.random.key(seed), clean, level, corruption=corruption, clip=False) - clean) / level
        for level in levels
    )
    np.testing.assert_allclose(first, second, atol=2e-5)


@pytest.mark.parametrize("corruption", BY_PIXEL)
@given(levels=st.tuples(st.floats(0, 1), st.floats(0, 1)), seed=SEEDS)
def test_pixels_changed_at_a_lower_level_are_changed_alike_at_a_higher(corruption, levels, seed):
    clean = inner_image(SHAPE)
    lower, higher = (
        np.asarray(corrupt(jax.random.key(seed), clean, level, corruption=corruption, clip=False))
        for level in sorted(levels)
    )
    changed = lower != clean
    np.testing.assert_array_equal(lower[changed], higher[changed])


@pytest.mark.parametrize("position", range(4), ids=["seed", "purpose", "epoch", "index"])
@given(name=st.tuples(st.integers(0, 2**32 - 2), st.integers(0, 3), st.integers(0, 1000), st.integers(0, 2**31 - 2)))
def test_every_part_of_a_name_changes_the_key(position, name):
    other = [part + (i == position) for i, part in enumerate(name)]
    assert noise.draw_key(*name) != noise.draw_key(*other)


@given(seed=INTEGER_SEEDS)
def test_seed_names_the_same_draw_as_python_int_and_as_uint32(seed):
    assert noise.draw_key(seed, noise.NOISE) == noise.draw_key(jnp.uint32(seed), noise.NOISE)


EXAMPLES = random_image((6, *SHAPE))
POSITIONS = np.array([0, 3, 4, 70, 9999, 59999])


@functools.partial(jax.jit, static_argnames="corruption")
def corrupt_examples(seed, clean, index, lowest_level, highest_level, epoch, corruption="gaussian"):
    return noise.corrupt_examples(
        seed, clean, index, lowest_level, highest_level, epoch=epoch, corruption=corruption, clip=False
    )


@pytest.mark.parametrize("corruption", ["gaussian", "salt_and_pepper"])
@given(order=st.permutations(range(6)), seed=SEEDS)
def test_noise_of_an_example_does_not_depend_on_the_order_of_the_batch(corruption, order, seed):
    order = np.array(order)
    noisy = corrupt_examples(seed, EXAMPLES, POSITIONS, 0.2, 0.8, 3, corruption)
    shuffled = corrupt_examples(seed, EXAMPLES[order], POSITIONS[order], 0.2, 0.8, 3, corruption)
    np.testing.assert_allclose(shuffled, np.asarray(noisy)[order], atol=1e-6)


@given(batch_size=st.sampled_from([1, 3]), seed=SEEDS)
def test_noise_of_an_example_does_not_depend_on_the_size_of_the_batch(batch_size, seed):
    noisy = corrupt_examples(seed, EXAMPLES, POSITIONS, 0.2, 0.8, 3)
    parts = [slice(i, i + batch_size) for i in range(0, 6, batch_size)]
    batches = [corrupt_examples(seed, EXAMPLES[part], POSITIONS[part], 0.2, 0.8, 3) for part in parts]
    np.testing.assert_allclose(np.concatenate(batches), noisy, atol=1e-6)


@given(epochs=st.lists(st.integers(0, 10**6), min_size=2, max_size=2, unique=True), seed=SEEDS)
def test_epoch_names_the_draw(epochs, seed):
    draw = functools.partial(corrupt_examples, seed, EXAMPLES, POSITIONS, 0.5, 0.5)
    first, again, different = (np.asarray(draw(epoch)) for epoch in (*epochs[:1], *epochs))
    np.testing.assert_array_equal(first, again)
    assert np.all(np.any(first != different, axis=(1, 2, 3)))


@pytest.mark.parametrize("corruption", ["gaussian", "salt_and_pepper"])
@given(seed=INTEGER_SEEDS, epoch=st.integers(0, 1000), level=MODERATE_LEVELS, i=st.integers(0, 5))
def test_fixed_level_equals_corrupt_by_the_named_key(corruption, seed, epoch, level, i):
    noisy = corrupt_examples(np.uint32(seed), EXAMPLES, POSITIONS, level, level, epoch, corruption)
    key = noise.draw_key(seed, noise.NOISE, epoch, int(POSITIONS[i]))
    expected = corrupt(key, EXAMPLES[i], level, corruption=corruption, clip=False)
    np.testing.assert_allclose(noisy[i], expected, atol=1e-6)


@given(seed=SEEDS, low=st.floats(0, 0.5), width=MODERATE_LEVELS)
def test_range_of_levels_draws_a_level_within_it_for_each_example(seed, low, width):
    blank = np.zeros((16, 48, 48, 1), np.float32)
    noisy = corrupt_examples(seed, blank, np.arange(16), low, low + width, 1)
    levels = np.std(np.asarray(noisy), axis=(1, 2, 3))
    error = 5 / (2 * 48 * 48) ** 0.5
    assert np.all((levels >= low * (1 - error)) & (levels <= (low + width) * (1 + error)))
    assert levels.min() < low + width / 2 < levels.max()
