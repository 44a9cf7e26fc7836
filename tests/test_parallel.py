"""The same noise, and the same training to float32 rounding, on any number of devices."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny import CONFIG, DATA, UNEVEN

from jaxdae import evaluation, parallel, training

ON_EIGHT_DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
sys.path.insert(0, sys.argv[1])
import numpy as np
from test_parallel import five_steps, validation
assert jax.device_count() == 8
np.savez(sys.argv[2], *jax.tree.leaves(five_steps(8)), validation())
"""


def five_steps(devices):
    mesh = parallel.data_mesh(devices)
    images, members, (states, _) = parallel.replicate(
        (DATA.train, training.population(UNEVEN), training.initial_states(UNEVEN, 1)), mesh
    )
    for epoch, chunk in training.epoch_plan(len(DATA.train), UNEVEN).chunks_from(0, 1):
        states, _ = training.train_chunk(states, members, images, epoch, chunk, config=UNEVEN, mesh=mesh)
    return jax.device_get(states.params)


def validation():
    states, _ = parallel.replicate(training.initial_states(CONFIG, 1))
    return np.stack(evaluation.validate(states.params, training.population(CONFIG), DATA.test, config=CONFIG))


def assert_close(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-6)


@pytest.fixture(scope="module")
def on_one_device():
    return jax.tree.leaves(five_steps(1))


def test_two_devices_train_as_one(on_one_device):
    assert_close(jax.tree.leaves(five_steps(2)), on_one_device)


def test_eight_devices_train_and_validate_as_one(on_one_device, tmp_path, request):
    file = tmp_path / "leaves.npz"
    subprocess.run([sys.executable, "-c", ON_EIGHT_DEVICES, request.path.parent, file], check=True, timeout=300)
    with np.load(file) as arrays:
        assert_close([arrays[name] for name in arrays], [*on_one_device, validation()])
