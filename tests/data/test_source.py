"""A source keeps its arrays in their own type and gives examples on the [0, 1] scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdae.data.source import InMemory, rescale, to_unit
from jaxdae.errors import InputError
from jaxdae.noise import EACH
from jaxdae.rng import Draws

IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3, 1) * 10


def test_examples_are_taken_by_their_index():
    source = InMemory(IMAGES)
    assert source.examples == 4
    index = jnp.array([2, 0, 2])
    take = jax.jit(lambda source, draws: jax.vmap(source.take, in_axes=(EACH, 0))(draws, draws.index))
    taken = take(source, Draws(0, 1, index))
    assert taken.noisy is None and taken.clean.dtype == jnp.float32
    np.testing.assert_allclose(taken.clean, IMAGES[[2, 0, 2]] / 255, rtol=1e-6)


def test_the_images_are_the_only_leaf_and_keep_their_type():
    (leaf,) = jax.tree.leaves(InMemory(IMAGES))
    assert leaf is IMAGES
    other = jax.tree.structure(InMemory(IMAGES, (-1.0, 1.0)))
    assert other != jax.tree.structure(InMemory(IMAGES))


@pytest.mark.parametrize(
    ("dtype", "value_range"), [(np.uint8, (0, 255)), (np.uint16, (0, 65535)), (np.int16, (-1000, 3000)),
                               (np.float32, (-1, 1)), (np.float64, (0, 1))]
)  # fmt: skip
def test_a_value_range_maps_to_0_and_1_without_clipping(dtype, value_range):
    low, high = value_range
    values = np.array([low, high, (low + high) / 2, high - (high - low) / 4]).astype(dtype)
    scaled = rescale(values, value_range)
    assert scaled.dtype == jnp.float32
    np.testing.assert_allclose(scaled, (values.astype(np.float64) - low) / (high - low), atol=1e-6)
    assert rescale(np.array([2.0]), (-1.0, 1.0)) == 1.5


def test_8_bit_images_and_floats_are_accepted_and_others_refused():
    np.testing.assert_allclose(to_unit(IMAGES), IMAGES / 255, rtol=1e-6)
    np.testing.assert_array_equal(to_unit(IMAGES.astype(np.float64) / 100 - 1), (IMAGES / 100 - 1).astype(np.float32))
    for dtype in (np.int32, np.uint16, bool):
        with pytest.raises(InputError, match=f"images of type {np.dtype(dtype)} cannot be used: give 8-bit ones, or"):
            to_unit(IMAGES.astype(dtype))
