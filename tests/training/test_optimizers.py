"""Optimizers are optax's, with numbers that may be traced; schedules and averages do what their names say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxdae.training import optimizers
from jaxdae.training.optimizers import SGD, Adadelta, Adam, AdamW, Muon, make_optimizer

TARGET = {"kernel": jnp.linspace(-1, 1, 36).reshape(3, 3, 2, 2), "bias": jnp.array([0.3, -0.2])}
STEPS = 50


def distance(params):
    return sum(jnp.sum((a - b) ** 2) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(TARGET), strict=True))


def descend(optimizer):
    """The parameters after every step towards TARGET from zeros."""

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(distance)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    start = jax.tree.map(jnp.zeros_like, TARGET)
    return jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)[1]


trajectory = jax.jit(lambda component: descend(make_optimizer(component, STEPS)))

SAME = [
    (Adadelta(learning_rate=0.7, rho=0.9, epsilon=1e-6), lambda: optax.adadelta(0.7, rho=0.9, eps=1e-6)),
    (
        Adam(learning_rate=0.1, b1=0.8, b2=0.99, epsilon=1e-6, schedule="cosine"),
        lambda: optax.adam(optax.cosine_decay_schedule(0.1, STEPS), b1=0.8, b2=0.99, eps=1e-6),
    ),
    (
        AdamW(learning_rate=0.1, b2=0.99, epsilon=1e-6, weight_decay=0.3, clip_norm=0.5),
        lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, b2=0.99, eps=1e-6, weight_decay=0.3)),
    ),
    (
        SGD(learning_rate=0.03, momentum=0.8, schedule="one_cycle"),
        lambda: optax.sgd(
            optax.cosine_onecycle_schedule(STEPS, 0.03, pct_start=0.3, div_factor=25), momentum=0.8, nesterov=True
        ),
    ),
]


@pytest.mark.parametrize(("component", "static"), SAME)
def test_traced_numbers_give_the_steps_of_optax_with_static_ones(component, static):
    visited, expected = trajectory(component), jax.jit(lambda: descend(static()))()
    for name, values in expected.items():
        np.testing.assert_allclose(visited[name], values, atol=1e-6)
    last = jax.tree.map(lambda values: values[-1], visited)
    assert distance(last) < distance(jax.tree.map(jnp.zeros_like, last))


def test_one_trace_serves_all_numbers():
    traces = []

    @jax.jit
    def first_step(component):
        traces.append(component)
        optimizer, zeros = make_optimizer(component), jax.tree.map(jnp.zeros_like, TARGET)
        return optimizer.update(TARGET, optimizer.init(zeros), zeros)[0]["bias"]

    first_step(Adadelta())
    np.testing.assert_allclose(first_step(Adadelta(learning_rate=0.5)), first_step(Adadelta()) / 2, rtol=1e-6)
    assert not np.allclose(first_step(Adadelta(rho=0.5, epsilon=1e-3)), first_step(Adadelta()))
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("schedule", "first", "highest_at"), [("constant", 1.0, 0), ("cosine", 1.0, 0), ("one_cycle", 0.04, 30)]
)
def test_schedules_rise_to_the_learning_rate_and_end_near_zero(schedule, first, highest_at):
    rates = np.array(jax.vmap(optimizers._unit_schedule(schedule, 100))(jnp.arange(100)))
    assert rates[0] == pytest.approx(first) and np.argmax(rates) == highest_at
    assert rates.max() == pytest.approx(1.0)
    assert rates[-1] == 1.0 if schedule == "constant" else rates[-1] < 1e-3


def test_the_average_is_the_bias_corrected_ema_of_optax():
    average = optax.ema(0.9, debias=True)
    ema, state = optimizers.start_ema(TARGET, 0.9), average.init(TARGET)
    visited = []
    for step in range(1, 6):
        params = jax.tree.map(lambda leaf, step=step: leaf * step + 1 / step, TARGET)
        visited.append(params["bias"])
        ema = optimizers.update_ema(ema, params, jnp.float32(0.9))
        expected, state = average.update(params, state)
        averaged = optimizers.averaged(ema, params)
        for name, values in expected.items():
            np.testing.assert_allclose(averaged[name], values, rtol=1e-5)
    weighted = np.average(visited, axis=0, weights=0.9 ** np.arange(5)[::-1])
    np.testing.assert_allclose(averaged["bias"], weighted, rtol=1e-5)


def test_the_average_of_no_step_and_no_average_are_the_parameters():
    for ema in (None, optimizers.start_ema(TARGET, 0.9)):
        averaged = optimizers.averaged(ema, TARGET)
        for name, values in TARGET.items():
            np.testing.assert_array_equal(averaged[name], values)
    assert optimizers.start_ema(TARGET, None) is None and optimizers.update_ema(None, TARGET, None) is None


@pytest.mark.slow
def test_muon_orthogonalizes_kernels_as_optax_does():
    static = contrib.muon(
        0.1, beta=0.9, consistent_rms=0.2, muon_weight_dimension_numbers=optimizers._kernels_as_matrices
    )
    visited, expected = trajectory(Muon(learning_rate=0.1, beta=0.9)), jax.jit(lambda: descend(static))()
    for name, values in expected.items():
        np.testing.assert_allclose(visited[name][:3], values[:3], atol=1e-6)  # later steps amplify rounding
    singular = np.linalg.svd(np.asarray(visited["kernel"][0]).reshape(-1, 2), compute_uv=False)
    assert singular[1] > 0.3 * singular[0]  # of the gradient it would be a tenth
