"""The compiled chunk: visits, order, noise, and a population that is its members trained alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import DATA, LOOP, MEMBER

from jaxdae import parallel, rng
from jaxdae.data import InMemory
from jaxdae.noise import Noise
from jaxdae.parallel import IN_TURN, Population
from jaxdae.training import (
    Plan,
    epoch,
    epoch_losses,
    finish_epoch,
    initial_states,
    stack,
    train_chunk,
    trained_params,
)
from jaxdae.training.optimizers import EMA, Adadelta

PLAN = Plan.of(len(DATA.train), LOOP["batch_size"], LOOP["chunk_steps"])
UNEVEN = Plan.of(len(DATA.train), 12, 2)
"""Five steps an epoch in three chunks of two."""

VARIED = (
    MEMBER.replace(seed=3, optimizer=Adadelta(learning_rate=0.5, rho=0.9, epsilon=1e-6)),
    MEMBER.replace(noise=Noise(level=(0.0, 1.0), redraw=False)),
)


def train(members, epochs=1, plan=PLAN, **options):
    """The states after the epochs, without the clearing of their sums between them, and the loss after every chunk."""
    group = stack(members)
    states, group, source = parallel.replicate((initial_states(group, 1)[0], group, InMemory(DATA.train)))
    losses = []
    for number, _, chunk in plan.turns_from(0, epochs, 1):
        states, loss = train_chunk(states, group, source, number, chunk, plan=plan, **options)
        losses.append(loss)
    return states, np.array(losses)


def assert_close(a, b, tolerance):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


@given(
    examples=st.integers(1, 500), batch=st.integers(1, 200), steps=st.integers(1, 40), epochs=st.integers(1, 3),
    groups=st.integers(1, 3),
)  # fmt: skip
def test_turns_cover_every_epoch_of_every_group_from_any_stop(examples, batch, steps, epochs, groups):
    plan = Plan.of(examples, batch, steps)
    turns = list(plan.turns_from(0, epochs, groups))
    assert turns == [
        (e, g, c) for e in range(1, epochs + 1) for g in range(groups) for c in range(plan.chunks)
    ]  # fmt: skip
    assert plan.chunk_length <= steps and plan.batch_size <= examples
    assert (plan.chunks - 1) * plan.chunk_length < plan.steps <= plan.chunks * plan.chunk_length
    assert sum(plan.examples_in(chunk) for chunk in range(plan.chunks)) == examples
    for done in range(len(turns)):
        assert list(plan.turns_from(done, epochs, groups)) == turns[done:]


@pytest.mark.slow
def test_a_long_training_lowers_the_loss():
    states, losses = train([MEMBER], 20)
    assert losses[-1] < losses[0] - 0.05
    assert states.example_count == 20 * 50 and states.finite


@pytest.mark.slow
@pytest.mark.parametrize("plan", [PLAN, UNEVEN])
def test_an_epoch_visits_every_example_once(plan):
    states, _ = train([MEMBER], plan=plan)
    assert states.example_count == 50


@pytest.mark.slow
def test_one_program_serves_all_numbers():
    train([MEMBER])
    compiled = epoch._train_chunk._cache_size()
    for member in VARIED:
        train([member])
    assert epoch._train_chunk._cache_size() == compiled


@pytest.mark.slow
@pytest.mark.parametrize("population", [IN_TURN, Population("vmap", 2), Population("products")])
def test_a_population_is_its_members_trained_alone(population):
    together, losses = train(VARIED, population=population)
    np.testing.assert_array_equal(epoch_losses(together), losses[-1])
    for i, member in enumerate(VARIED):
        alone, _ = train([member])
        assert_close(jax.tree.map(lambda x, i=i: x[i : i + 1], together), alone, 2e-5)


@pytest.mark.slow
def test_noise_is_drawn_again_each_epoch_only_if_it_is_to_be():
    """The network stands still, so the mean loss of an epoch depends on its noise alone."""
    still = MEMBER.replace(optimizer=Adadelta(learning_rate=1e-30))
    for redraw in (True, False):
        _, losses = train([still.replace(noise=Noise(redraw=redraw))], 2)
        first = losses[PLAN.chunks - 1]
        second = 2 * losses[-1] - first
        assert np.allclose(first, second, rtol=1e-6) == (not redraw)


@pytest.mark.slow
def test_initial_weights_depend_on_the_seed_alone():
    (states, best), (again, _) = (initial_states(stack(members), 1) for members in (VARIED, VARIED[::-1]))
    kernel, other = (x.params["encoder_0"]["kernel"] for x in (states, again))
    np.testing.assert_array_equal(kernel, other[::-1])
    assert not np.array_equal(kernel[0], kernel[1])
    same, _ = initial_states(stack([VARIED[1], MEMBER]), 1)
    np.testing.assert_array_equal(same.params["encoder_0"]["kernel"], kernel[jnp.array([1, 1])])
    assert np.isinf(best.loss).all() and not best.epoch.any() and states.finite.all()


def test_the_order_depends_on_seed_and_epoch_and_visits_all():
    orders = [epoch.epoch_order(rng.draw_key(s, rng.ORDER, e), 50).tolist() for s, e in [(0, 1), (0, 2), (1, 1)]]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(map(tuple, orders))) == 3


@pytest.mark.slow
def test_best_keeps_the_parameters_of_the_lowest_validation_loss():
    states, best = initial_states(stack(VARIED), 1)
    states = states.replace(loss_sum=jnp.ones(2), example_count=jnp.ones(2))
    first = jax.device_get(states.params)
    states, best = finish_epoch(states, best, jnp.array([0.3, jnp.nan]), 1)
    assert not states.loss_sum.any() and not states.example_count.any()
    later = states.replace(params=jax.tree.map(lambda x: x + 1, states.params))
    later, best = finish_epoch(later, best, jnp.array([0.4, 0.2]), 2)
    later, best = finish_epoch(later, best, jnp.float32([0.3, 0.2]), 3)  # a tie: the earlier epoch stays
    assert best.epoch.tolist() == [1, 2]
    np.testing.assert_allclose(best.loss, [0.3, 0.2])
    bias = first["output"]["bias"]
    np.testing.assert_array_equal(best.params["output"]["bias"], bias + np.array([[0.0], [1.0]]))


@pytest.mark.slow
def test_the_result_of_a_training_with_an_average_is_the_average():
    states, _ = initial_states(stack(VARIED), 1)
    assert_close(trained_params(states), states.params, 0)
    mean = jax.tree.map(lambda x: 0.5 * (x + 1), states.params)
    averaged = trained_params(states.replace(ema=EMA(mean, jnp.full(2, 0.5))))
    assert_close(averaged, jax.tree.map(lambda x: x + 1, states.params), 1e-6)


def test_a_schedule_needs_the_epochs_of_the_run():
    group = stack([MEMBER.replace(optimizer=Adadelta(schedule="cosine"))])
    with pytest.raises(TypeError, match="a cosine schedule needs the epochs of the run"):
        train_chunk(None, group, None, 1, 0, plan=PLAN)
