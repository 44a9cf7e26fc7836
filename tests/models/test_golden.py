"""The classic autoencoder as Keras computes it; tests/golden/make_keras_fixture.py says how the numbers were made."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdae.models.prediction import predict
from jaxdae.objectives import Example
from jaxdae.rng import Draws
from jaxdae.training import Member, TrainState, check_member, train_step
from jaxdae.training.optimizers import make_optimizer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("optimized")]

LAYERS = ["encoder_0", "encoder_1", "decoder_0", "decoder_1", "output"]
MEMBER = check_member(Member())
STEPS = 10


@pytest.fixture(scope="module")
def keras():
    with np.load(Path(__file__).parents[1] / "golden" / "keras_adadelta.npz") as file:
        return dict(file)


def params_of(keras, name, dtype=np.float32):
    return {
        layer: {kind: jnp.array(keras[f"{name}/{layer}/{kind}"], dtype) for kind in ("kernel", "bias")}
        for layer in LAYERS
    }


def train(keras, dtype):
    """The parameters after every step, and the losses before."""
    params, zero = params_of(keras, "initial", dtype), jnp.zeros((), dtype)
    state = TrainState(params, make_optimizer(MEMBER.optimizer).init(params), None, zero, zero, jnp.array(True))
    noisy, clean = jnp.array(keras["noisy"], dtype), jnp.array(keras["clean"] / 255, dtype)
    count = jnp.ones(len(clean), dtype)
    example, draws = Example(noisy, clean, None, 0.5 * count), Draws(0, 1, jnp.arange(len(clean)))

    @jax.jit
    def step(state):
        return train_step(state, example, draws, count, member=MEMBER)

    states = [state]
    for _ in range(STEPS):
        states.append(step(states[-1]))
    sums, counts = (np.array([getattr(s, name) for s in states]) for name in ("loss_sum", "example_count"))
    return [s.params for s in states], np.diff(sums) / np.diff(counts)


def relative_differences(params, expected):
    def difference(actual, expected):
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        return np.linalg.norm(actual - expected) / np.linalg.norm(expected)

    return jax.tree.map(difference, params, expected)


def test_outputs_lie_within_1e_5_of_keras(keras):
    denoise = jax.jit(lambda params, noisy: predict(MEMBER.model, params, noisy).image)
    outputs = denoise(params_of(keras, "initial"), jnp.array(keras["noisy"]))
    np.testing.assert_allclose(outputs, keras["outputs"], rtol=0, atol=1e-5)


def test_adadelta_steps_lie_within_1e_6_of_keras(keras):
    """In float64, as Keras's: in float32 rounding picks other maxima, and the steps amplify that."""
    with jax.enable_x64(True):
        params, losses = train(keras, np.float64)
    for steps in (1, STEPS):
        differences = relative_differences(params[steps], params_of(keras, f"after_{steps}"))
        assert max(jax.tree.leaves(differences)) < 1e-6, differences
    np.testing.assert_allclose(losses, keras["losses"], rtol=1e-6)
