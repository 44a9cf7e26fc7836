"""One step: padding has no weight, and a member whose loss is not finite stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import DATA, MEMBER, random_images, random_params

from jaxdae.objectives import Example
from jaxdae.rng import Draws
from jaxdae.training import TrainState, train_step
from jaxdae.training.optimizers import SGD, make_optimizer, start_ema

pytestmark = pytest.mark.slow

CLEAN = DATA.train[:16].astype(np.float32) / 255
NOISY = np.clip(CLEAN + random_images(*CLEAN.shape) - 0.5, 0, 1)
STEPPED = MEMBER.replace(optimizer=SGD(learning_rate=0.1, momentum=0.0, ema_decay=0.5))

ALL = np.ones(16, np.float32)


@jax.jit
def step(member, state, noisy, clean, count):
    example = Example(noisy, clean, None, 0.5 * count)
    draws = Draws(jnp.uint32(0), 1, jnp.arange(len(count)))
    return train_step(state, example, draws, count, member=member)


def first_state():
    params, zero = jax.tree.map(jnp.asarray, random_params(MEMBER.model)), jnp.zeros(())
    opt_state = make_optimizer(STEPPED.optimizer).init(params)
    return TrainState(params, opt_state, start_ema(params, 0.5), zero, zero, jnp.array(True))


def assert_close(a, b, tolerance=1e-6):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def assert_equal(a, b):
    assert_close(a, b, 0)


def test_padding_has_no_weight():
    """Eight examples and eight of padding take the step of the eight examples twice."""
    half = np.float32(np.arange(16) < 8)
    padded = step(STEPPED, first_state(), np.concatenate([NOISY[:8], np.full_like(NOISY[:8], 0.7)]), CLEAN, half)
    twice = step(STEPPED, first_state(), np.tile(NOISY[:8], (2, 1, 1, 1)), np.tile(CLEAN[:8], (2, 1, 1, 1)), ALL)
    assert_close(padded.params, twice.params)
    assert (padded.example_count, twice.example_count) == (8, 16)
    np.testing.assert_allclose(2 * padded.loss_sum, twice.loss_sum, rtol=1e-5)


def test_a_batch_of_padding_changes_nothing():
    assert_equal(step(STEPPED, first_state(), NOISY, CLEAN, np.zeros(16, np.float32)), first_state())


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_freezes_the_member(broken):
    noisy = NOISY.copy()
    noisy[0] = broken
    frozen = step(STEPPED, first_state(), noisy, CLEAN, ALL)
    assert_equal(frozen, first_state().replace(finite=jnp.array(False)))
    assert_equal(step(STEPPED, frozen, NOISY, CLEAN, ALL), frozen)


def test_steps_scale_with_the_learning_rate_and_the_average_follows_them():
    start = first_state()
    slow = STEPPED.replace(optimizer=STEPPED.optimizer.replace(learning_rate=0.05))
    moved, half = (
        jax.tree.map(jnp.subtract, step(m, start, NOISY, CLEAN, ALL).params, start.params) for m in (STEPPED, slow)
    )
    assert_close(jax.tree.map(lambda x: x / 2, moved), half, 1e-5)
    one = step(STEPPED, start, NOISY, CLEAN, ALL)
    two = step(STEPPED, one, NOISY, CLEAN, ALL)
    assert two.ema.weight == 0.75
    assert_close(two.ema.mean, jax.tree.map(lambda a, b: a / 4 + b / 2, one.params, two.params))
    assert two.loss_sum - one.loss_sum < one.loss_sum
