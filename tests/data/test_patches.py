"""Patches lie inside their picture, and which they are follows from their names alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdae.data.patches import Patches, fixed_crops, turned
from jaxdae.data.source import EIGHT_BIT
from jaxdae.noise import EACH
from jaxdae.rng import Draws

NUMBERS_CHANGED = "The draws of patches are part of the product: see tests/test_protected_numbers.py."
SHAPES = ((9, 14), (8, 8), (21, 10))
PATCH = 8


def located(channels=1):
    """Pictures whose pixels say where they are: of picture n, 1000 n + 40 row + column, as floats."""
    grids = [1000 * n + 40 * np.arange(h)[:, None] + np.arange(w) for n, (h, w) in enumerate(SHAPES)]
    return [np.stack([grid + 10000 * c for c in range(channels)], -1).astype(np.float32) for grid in grids]


FROZEN = [1, 5, 1000, 2400, 2200, 2161, 2082]
FROZEN_AUGMENTED = [281, 5, 1000, 2687, 2200, 2161, 2369]
"""The first values of the patches of seed 3, epoch 1."""


@jax.jit
def take(source, draws):
    return jax.vmap(source.take, in_axes=(EACH, 0))(draws, draws.index)


def taken(channels=1, augment=False, epoch=1, seed=3, index=None, pairs=False):
    pictures = located(channels)
    noisy = [picture + 0.5 for picture in pictures] if pairs else None
    source = Patches.of(pictures, noisy, PATCH, augment, 1, (0.0, 1.0))
    positions = jnp.arange(source.examples) if index is None else jnp.asarray(index)
    return take(source, Draws(jnp.uint32(seed), jnp.uint32(epoch), positions))


def test_a_picture_has_as_many_patches_as_cover_its_area():
    source = Patches.of(located(), None, PATCH, False, 1, EIGHT_BIT)
    assert source.examples == 2 + 1 + 4
    assert source.picture.tolist() == [0, 0, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_patch_is_cut_out_of_its_own_picture(channels):
    pictures = located(channels)
    for epoch in range(1, 6):
        for number, patch in zip([0, 0, 1, 2, 2, 2, 2], np.asarray(taken(channels, epoch=epoch).clean), strict=True):
            row, column = divmod(int(patch[0, 0, 0]) - 1000 * number, 40)
            np.testing.assert_array_equal(patch, pictures[number][row : row + PATCH, column : column + PATCH])


def test_every_corner_of_a_picture_is_reached():
    corners = {int(corner) for epoch in range(60) for corner in taken(epoch=epoch).clean[:2, 0, 0, 0]}
    assert corners == {40 * row + column for row in range(2) for column in range(7)}


def test_a_patch_follows_from_its_names_alone():
    every = np.asarray(taken().clean)
    np.testing.assert_array_equal(taken(index=[5, 0, 5]).clean, every[[5, 0, 5]])
    for other in (taken(epoch=2), taken(seed=4)):
        assert (np.asarray(other.clean) != every).any()
    assert len({int(corner) for corner in every[3:, 0, 0, 0]}) == 4, "the number is part of the name"


def test_frozen_patches():
    assert taken().clean[:, 0, 0, 0].tolist() == FROZEN, NUMBERS_CHANGED
    assert taken(augment=True).clean[:, 0, 0, 0].tolist() == FROZEN_AUGMENTED, NUMBERS_CHANGED


def test_the_eight_ways_are_those_of_a_square():
    image = np.arange(9).reshape(3, 3, 1)
    expected = {np.rot90(x, k).tobytes() for x in (image, image[::-1]) for k in range(4)}
    ways = {np.asarray(turned(image, way)).astype(image.dtype).tobytes() for way in range(8)}
    assert ways == expected and len(ways) == 8
    np.testing.assert_array_equal(turned(image, 0), image)


def test_a_pair_is_cut_and_turned_alike():
    for epoch in range(1, 4):
        sample = taken(epoch=epoch, augment=True, pairs=True)
        np.testing.assert_array_equal(sample.noisy, sample.clean + 0.5)


def test_augmented_patches_are_the_same_ones_turned():
    plain, ways = np.asarray(taken().clean), np.asarray(taken(augment=True).clean)
    np.testing.assert_array_equal(np.sort(plain.reshape(7, -1)), np.sort(ways.reshape(7, -1)))
    assert (plain != ways).any()


def test_fixed_crops_are_inside_and_do_not_overlap():
    [picture, *_] = located()
    np.testing.assert_array_equal(fixed_crops([picture], 9, 14), picture[None])
    crops = fixed_crops([np.arange(90 * 30).reshape(90, 30, 1)], 10, 12)
    assert crops.shape == (8, 10, 12, 1), "at most four in a direction"
    assert len(np.unique(crops)) == crops.size and crops.max() == 90 * 30 - 1
