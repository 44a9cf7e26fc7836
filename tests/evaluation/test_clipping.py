"""Noise that a file has cut off is noticed, and only where a denoiser does not know of it."""

import numpy as np
import pytest

from jaxdae.evaluation.clipping import MAX_SHARE, clipped_share, clipping_warning
from jaxdae.evaluation.noise_level import Estimate
from jaxdae.exchange.levels import clipping_doubt
from jaxdae.noise import Noise

NOISE = 0.2 * np.random.default_rng(0).standard_normal((64, 64, 1)).astype(np.float32)
BLACK = np.clip(NOISE, 0, 1)
"""A black picture in a file: half of its noise is gone."""
UNCLIPPED = Noise(level=(0.0, 0.3), clip=False)
SEEN, UNSEEN = Estimate(0.2, True), Estimate(np.nan, False, "it is clean")


def test_noise_that_is_cut_off_has_many_values_at_its_ends_and_other_noise_few():
    assert clipped_share([NOISE]) == 2 / NOISE.size
    assert clipped_share([BLACK]) == pytest.approx(0.5, abs=0.03)
    assert clipped_share([np.clip(1 + NOISE, 0, 1)]) == pytest.approx(0.5, abs=0.03)
    assert clipped_share([BLACK, 0.5 + NOISE[:, :, [0]] / 10]) == pytest.approx(0.25, abs=0.02)


def test_a_share_above_the_bound_is_said_with_its_size():
    picture = np.linspace(0.1, 0.9, 1000, dtype=np.float32).reshape(20, 50, 1)
    at_most = round(MAX_SHARE * picture.size) - 1  # the greatest value is at an end too
    picture.flat[:at_most] = 0
    assert clipping_warning([picture]) is None
    picture.flat[: at_most + 50] = 0
    assert clipping_warning([picture]).startswith("10% of its values are black or white")
    assert clipping_warning([]) is None


def test_clipping_is_doubted_for_denoisers_of_unclipped_noise_and_pages_with_noise_alone():
    assert clipping_doubt(UNCLIPPED, [BLACK], {0: SEEN})
    assert clipping_doubt(UNCLIPPED.replace(clip=True), [BLACK], {0: SEEN}) is None
    assert clipping_doubt(UNCLIPPED, [BLACK], {0: UNSEEN}) is None
    assert clipping_doubt(UNCLIPPED, [NOISE, BLACK], {0: SEEN, 1: UNSEEN}) is None
