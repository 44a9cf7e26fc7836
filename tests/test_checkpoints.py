"""A checkpoint restores on any number of devices."""

import subprocess
import sys

import jax
import numpy as np
from tiny import CONFIG

from jaxdae import checkpoints, training

ON_TWO_DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from jaxdae import checkpoints, training
from tiny import CONFIG
replicated = jax.NamedSharding(jax.make_mesh((2,), ("data",)), jax.P())
states, best = jax.device_put(training.initial_states(CONFIG, 1), replicated)
with checkpoints.open_manager(Path(sys.argv[2]), keep=2) as manager:
    step, states, best = checkpoints.restore(manager, states, best)
    assert step == 5 and len(states.loss_sum.sharding.device_set) == 2
    checkpoints.save(manager, 7, states, best, CONFIG)
"""


def test_from_one_device_to_two_and_back(tmp_path, request):
    states, best = training.initial_states(CONFIG, 1)
    with checkpoints.open_manager(tmp_path, keep=2) as manager:
        checkpoints.save(manager, 5, states, best, CONFIG)
    subprocess.run([sys.executable, "-c", ON_TWO_DEVICES, request.path.parent, tmp_path], check=True, timeout=300)
    with checkpoints.open_manager(tmp_path) as manager:
        step, *restored = checkpoints.restore(manager, states, best)
        arrays = checkpoints.restore_arrays(manager, "params")
    assert step == 7
    for x, y in zip(jax.tree.leaves([states, best]), jax.tree.leaves(restored), strict=True):
        np.testing.assert_array_equal(x, y)
    for x, y in zip(jax.tree.leaves(states.params), jax.tree.leaves(arrays), strict=True):
        np.testing.assert_array_equal(x, y)
