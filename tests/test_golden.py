"""The seed's autoencoder as Keras computes it; golden/make_keras_fixture.py says how the numbers were made."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdae import training
from jaxdae.config import RunConfig
from jaxdae.model import denoise
from jaxdae.optimizers import make_optimizer

LAYERS = ["encoder_0", "encoder_1", "decoder_0", "decoder_1", "output"]
MODEL, OPTIMIZER = training.make_model(RunConfig()), make_optimizer(RunConfig())
STEPS = 20


@pytest.fixture(scope="module")
def keras():
    with np.load(Path(__file__).parent / "golden" / "keras_adadelta.npz") as file:
        return dict(file)


def params_of(keras, name, dtype=np.float32):
    return {
        layer: {kind: jnp.array(keras[f"{name}/{layer}/{kind}"], dtype) for kind in ("kernel", "bias")}
        for layer in LAYERS
    }


def train(keras, dtype):
    """The parameters after every step, and the losses before."""
    params, zero = params_of(keras, "initial", dtype), jnp.zeros((), dtype)
    state = training.TrainState(params, OPTIMIZER.init(params), zero, zero, jnp.array(True))
    noisy, clean = jnp.array(keras["noisy"], dtype), jnp.array(keras["clean"] / 255, dtype)

    @jax.jit
    def step(state):
        return training.train_step(state, noisy, clean, jnp.ones(len(clean), dtype), model=MODEL, optimizer=OPTIMIZER)

    states = [state]
    for _ in range(STEPS):
        states.append(step(states[-1]))
    sums, counts = (np.array([getattr(s, name) for s in states]) for name in ("loss_sum", "example_count"))
    return [s.params for s in states], np.diff(sums) / np.diff(counts)


@pytest.fixture(scope="module")
def trained(keras):
    return train(keras, np.float32)


def relative_differences(params, expected):
    def difference(actual, expected):
        actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        return np.linalg.norm(actual - expected) / np.linalg.norm(expected)

    return jax.tree.map(difference, params, expected)


def test_outputs_lie_within_1e_5_of_keras(keras):
    outputs = jax.jit(denoise, static_argnames="model")(
        params_of(keras, "initial"), jnp.array(keras["noisy"]), model=MODEL
    )
    np.testing.assert_allclose(outputs, keras["outputs"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [1, STEPS])
def test_weights_after_adadelta_steps_lie_within_1e_4_of_keras(keras, trained, steps):
    differences = relative_differences(trained[0][steps], params_of(keras, f"after_{steps}"))
    assert max(jax.tree.leaves(differences)) < 1e-4, differences


def test_losses_before_each_adadelta_step_lie_within_1e_4_of_keras(keras, trained):
    np.testing.assert_allclose(trained[1], keras["losses"], rtol=1e-4)


def test_steps_in_float64_lie_within_1e_6_of_keras(keras):
    with jax.enable_x64(True):
        params, losses = train(keras, np.float64)
    differences = relative_differences(params[STEPS], params_of(keras, f"after_{STEPS}"))
    assert max(jax.tree.leaves(differences)) < 1e-6, differences
    np.testing.assert_allclose(losses, keras["losses"], rtol=1e-6)
