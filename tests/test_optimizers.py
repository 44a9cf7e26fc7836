"""Optimizers, schedules and averages by name: each does what its name says, with the numbers that it promises."""

import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdae import optimizers
from jaxdae.config import OptimizerName, RunConfig

TARGET = {"kernel": jnp.linspace(-1, 1, 36).reshape(3, 3, 2, 2), "bias": jnp.array([0.3, -0.2])}
STEPS = 60


def distance(params):
    return sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(TARGET), strict=True))


@functools.cache
def trajectory(**fields):
    """The parameters after every step towards TARGET from zeros, and the last state."""
    optimizer = optimizers.make_optimizer(RunConfig(**fields), STEPS)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(distance)(params), state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, state), params

    start = jax.tree.map(jnp.zeros_like, TARGET)
    (_, state), visited = jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)
    return visited, state


@pytest.mark.parametrize("optimizer", get_args(OptimizerName))
def test_every_optimizer_descends(optimizer):
    rate, left = {"adadelta": (1.0, 0.999), "adam": (0.1, 0.1), "muon": (0.1, 0.5), "sgd": (0.01, 0.1)}[optimizer]
    visited, _ = trajectory(optimizer=optimizer, schedule="one_cycle", learning_rate=rate)
    distances = jax.vmap(distance)(visited)
    assert distances[-1] < left * distance(jax.tree.map(jnp.zeros_like, TARGET))


@pytest.mark.parametrize(
    ("schedule", "first", "highest_at", "last"), [("cosine", 1.0, 0, 0.001), ("one_cycle", 0.04, 30, 0.001)]
)
def test_schedules_rise_to_the_learning_rate_and_end_near_zero(schedule, first, highest_at, last):
    rate = optimizers.make_schedule(RunConfig(optimizer="adam", learning_rate=0.5, schedule=schedule), 100)
    rates = np.array([rate(step) for step in range(100)]) / 0.5
    assert rates[0] == pytest.approx(first) and np.argmax(rates) == highest_at
    assert rates.max() == pytest.approx(1.0) and rates[-1] < last


def test_a_constant_schedule_is_a_number():
    assert optimizers.make_schedule(RunConfig(learning_rate=0.5), 100) == 0.5


def test_the_average_is_the_exponentially_weighted_mean_of_the_parameters():
    visited, state = trajectory(optimizer="adam", learning_rate=0.1, average=0.9)
    plain, _ = trajectory(optimizer="adam", learning_rate=0.1)
    weights = 0.9 ** np.arange(STEPS)[::-1]
    averaged = optimizers.averaged(state, 0.9)
    for name, values in plain.items():
        np.testing.assert_allclose(visited[name], values, atol=1e-6)  # averaging looks on
        expected = np.average(np.asarray(values), axis=0, weights=weights)
        np.testing.assert_allclose(averaged[name], expected, atol=1e-5)


def test_muon_orthogonalizes_kernels():
    visited, _ = trajectory(optimizer="muon", schedule="one_cycle", learning_rate=0.1)
    first = np.asarray(visited["kernel"][0]).reshape(-1, 2)
    singular = np.linalg.svd(first, compute_uv=False)
    assert singular[1] > 0.3 * singular[0]  # of the gradient it would be a tenth
