"""The step and the chunk: weights, order, freezing, and a population that is the sum of its members."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import CONFIG, DATA, UNEVEN

from jaxdae import noise, parallel, training
from jaxdae.config import RunConfig
from jaxdae.optimizers import make_optimizer

MODEL, OPTIMIZER = training.make_model(CONFIG), make_optimizer(CONFIG)
BATCH = jnp.asarray(DATA.train[:16], jnp.float32) / 255
NOISY = jnp.clip(BATCH + 0.5 * jax.random.normal(jax.random.key(0), BATCH.shape), 0, 1)

step = jax.jit(lambda state, noisy, clean, weight: training.train_step(
    state, noisy, clean, weight, model=MODEL, optimizer=OPTIMIZER
))  # fmt: skip


def single_state():
    states, _ = training.initial_states(CONFIG, 1)
    return jax.tree.map(lambda x: x[0], states)


def assert_close(a, b, tolerance=1e-6):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def assert_equal(a, b):
    assert_close(a, b, 0)


def train_epochs(config, epochs):
    images, members, (states, _) = parallel.replicate(
        (DATA.train, training.population(config), training.initial_states(config, 1))
    )
    losses = []
    for epoch, chunk in training.epoch_plan(len(DATA.train), config).chunks_from(0, epochs):
        states, loss = training.train_chunk(states, members, images, epoch, chunk, config=config)
        losses.append(loss)
    return states, losses


def test_padding_has_no_weight():
    weight = jnp.ones(16)
    garbage = jnp.full_like(NOISY[:6], 0.7)
    padded = jnp.concatenate([NOISY[:10], garbage])
    expected = step(single_state(), NOISY[:10], BATCH[:10], weight[:10])
    assert_close(step(single_state(), padded, BATCH, weight.at[10:].set(0)), expected)


def test_a_batch_of_padding_changes_nothing():
    assert_equal(step(single_state(), NOISY, BATCH, jnp.zeros(16)), single_state())


@pytest.mark.parametrize("broken", [jnp.nan, jnp.inf])
def test_a_loss_that_is_not_finite_freezes_the_model(broken):
    frozen = step(single_state(), NOISY.at[0].set(broken), BATCH, jnp.ones(16))
    assert_equal(frozen, single_state().replace(finite=jnp.array(False)))
    assert_equal(step(frozen, NOISY, BATCH, jnp.ones(16)), frozen)


def test_the_loss_falls():
    _, losses = train_epochs(CONFIG, 20)
    assert losses[-1] < losses[0] - 0.05


def test_an_epoch_visits_every_example_once():
    states, _ = train_epochs(CONFIG, 1)
    assert states.example_count == len(DATA.train) == 50


@given(examples=st.integers(1, 500), batch=st.integers(1, 200), chunk=st.integers(1, 40), epochs=st.integers(1, 3))
def test_chunks_cover_every_epoch_from_any_stop(examples, batch, chunk, epochs):
    plan = training.epoch_plan(examples, RunConfig(batch_size=batch, chunk_steps=chunk))
    visits = list(plan.chunks_from(0, epochs))
    steps = [plan.step_after(*visit) for visit in visits]
    assert plan.chunk_length <= chunk
    assert steps[-1] == epochs * plan.steps
    assert plan.examples_before(steps[-1]) == epochs * examples
    for position, stop in enumerate(steps):
        assert list(plan.chunks_from(stop, epochs)) == visits[position + 1 :]


def test_the_tail_of_an_epoch_takes_no_step_beyond_it():
    plan = training.epoch_plan(50, UNEVEN)
    assert plan.chunks * plan.chunk_length > plan.steps
    states, _ = train_epochs(UNEVEN, 1)
    assert states.example_count == 50


@pytest.mark.parametrize("models_at_once", [0, 3])
def test_a_population_is_its_members_trained_alone(models_at_once):
    config = dataclasses.replace(CONFIG, noise_levels=(0.25, 0.5, "0:1"), seeds=(3,))
    together, _ = train_epochs(dataclasses.replace(config, models_at_once=models_at_once), 1)
    for i, (level, seed) in enumerate(config.members):
        alone, _ = train_epochs(dataclasses.replace(config, noise_levels=(level,), seeds=(seed,)), 1)
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), jax.tree.map(lambda x: x[0], alone), 2e-5)


def test_initial_weights_and_order_depend_on_the_seed_alone():
    states, _ = training.initial_states(dataclasses.replace(CONFIG, noise_levels=(0.25, 0.5), seeds=(0, 1)), 1)
    kernel = states.params["encoder_0"]["kernel"]
    np.testing.assert_array_equal(kernel[0], kernel[2])
    assert not np.array_equal(kernel[0], kernel[1])
    orders = [training.epoch_order(noise.draw_key(s, noise.ORDER, e), 50) for s, e in [(0, 1), (0, 2), (1, 1)]]
    assert all(sorted(order.tolist()) == list(range(50)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 3


def test_fixed_noise_is_the_same_in_every_epoch_and_fresh_noise_is_not(monkeypatch):
    named = []
    monkeypatch.setattr(training, "_train_chunk", lambda *args, **kwargs: named.append(args[4]))
    for draw in ("fixed", "fresh"):
        for epoch in (1, 2):
            training.train_chunk(None, None, None, epoch, 0, config=dataclasses.replace(CONFIG, draw=draw))
    assert named == [0, 0, 1, 2]


def test_best_keeps_the_parameters_of_the_lowest_validation_loss():
    config = dataclasses.replace(CONFIG, seeds=(0, 1))
    states, best = training.initial_states(config, 1)
    first = jax.device_get(states.params)
    states, best = training.finish_epoch(states, best, jnp.array([0.3, jnp.nan]), 1)
    later = states.replace(params=jax.tree.map(lambda x: x + 1, states.params))
    later, best = training.finish_epoch(later, best, jnp.array([0.4, 0.2]), 2)
    later, best = training.finish_epoch(later, best, jnp.float32([0.3, 0.2]), 3)  # a tie: the earlier epoch stays
    assert best.epoch.tolist() == [1, 2]
    np.testing.assert_allclose(best.loss, [0.3, 0.2])
    bias = best.params["output"]["bias"]
    np.testing.assert_array_equal(bias, first["output"]["bias"] + np.array([[0.0], [1.0]]))


def test_runs_that_differ_in_epochs_levels_and_seeds_share_one_compilation():
    train_epochs(CONFIG, 1)
    before = training._train_chunk._cache_size()
    train_epochs(dataclasses.replace(CONFIG, epochs=7, noise_levels=(0.1,), seeds=(5,), keep=1), 1)
    assert training._train_chunk._cache_size() == before
