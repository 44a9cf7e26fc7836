"""The same training and validation, to float32 rounding, on any number of devices; batches in order and complete."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import DATA, MEMBER, random_params

from jaxdae import evaluation, parallel, training
from jaxdae.data import InMemory

GROUP = training.stack([MEMBER])
UNEVEN = training.Plan.of(len(DATA.train), 12, 2)
"""Five steps; eight devices cannot divide a batch evenly, and two the last one neither."""


@functools.cache
def five_steps(devices):
    mesh = parallel.data_mesh(devices)
    states, _ = training.initial_states(GROUP, 1)
    states, members, source = parallel.replicate((states, GROUP, InMemory(DATA.train)), mesh)
    for epoch, _, chunk in UNEVEN.turns_from(0, 1, 1):
        states, _ = training.train_chunk(states, members, source, epoch, chunk, plan=UNEVEN, mesh=mesh)
    return jax.tree.leaves(jax.device_get(states.params))


def validation():
    params = jax.tree.map(lambda leaf: leaf[None], random_params(MEMBER.model))
    arguments = parallel.replicate((params, GROUP, InMemory(DATA.test)))
    return np.stack(evaluation.validate(*arguments))


def assert_close(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-6)


@pytest.mark.slow
def test_two_devices_train_as_one():
    assert_close(five_steps(2), five_steps(1))


@pytest.mark.parametrize(
    "images",
    [
        pytest.param(np.arange(1000, dtype=np.uint8)[1:], id="not aligned"),
        pytest.param(DATA.train[::2], id="not contiguous"),
        pytest.param(np.ones((3, 4)), id="64-bit"),
        pytest.param(np.array(3, np.float32), id="one number"),
    ],
)
def test_cpu_devices_share_the_memory_of_images(images):
    placed = parallel.replicate(images)
    shards = [shard.data for shard in placed.addressable_shards]
    assert len(shards) == 2 and len({shard.unsafe_buffer_pointer() for shard in shards}) == 1
    np.testing.assert_array_equal(placed, images)


ON_EIGHT_DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from test_parallel import five_steps, validation
assert jax.device_count() == 8
np.savez(sys.argv[2], *five_steps(8), validation())
"""


@pytest.mark.slow
def test_eight_devices_train_and_validate_as_one(tmp_path, request):
    file = tmp_path / "leaves.npz"
    command = [sys.executable, "-c", ON_EIGHT_DEVICES, request.path.parent, file]
    subprocess.run(command, check=True, timeout=300, env=os.environ | {"JAX_NUM_CPU_DEVICES": "8"})
    with np.load(file) as arrays:
        assert_close([arrays[name] for name in arrays], [*five_steps(1), validation()])


@pytest.mark.parametrize("images", [1, 5, 40])
def test_batches_give_back_every_image_once_and_in_order(images):
    out = parallel.in_batches(lambda offset, x: x + offset, 1.0, jnp.arange(float(images)), at_once=4)
    np.testing.assert_array_equal(out, np.arange(images) + 1.0)


@pytest.mark.parametrize(
    "population", [parallel.IN_TURN, parallel.Population("vmap"), parallel.Population("products", 3)]
)
def test_members_are_mapped_in_order(population):
    members = {"a": jnp.arange(6.0), "b": jnp.ones((6, 2))}
    out = parallel.map_members(lambda m, c: m["a"] * m["b"] + c, members, jnp.arange(6.0), population=population)
    np.testing.assert_array_equal(out, 2 * np.arange(6.0)[:, None] * np.ones((6, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("way", [parallel.IN_TURN, parallel.Population("vmap")])
def test_members_divided_over_devices_train_as_each_does_on_one(way):
    members = training.stack([MEMBER, MEMBER.replace(seed=1)])

    def trained(mesh, place, population):
        states, _ = training.initial_states(members, 1)
        states, group = place((states, members), mesh)
        data, test = parallel.replicate((InMemory(DATA.train), InMemory(DATA.test)), mesh)
        for epoch, _, chunk in UNEVEN.turns_from(0, 1, 1):
            states, losses = training.train_chunk(
                states, group, data, epoch, chunk, plan=UNEVEN, mesh=mesh, population=population
            )
        scores = evaluation.validate(states.params, group, test, mesh=mesh, population=population)
        return jax.tree.leaves(jax.device_get((states.params, losses, scores)))

    two = parallel.data_mesh(2)
    together = trained(parallel.data_mesh(1), parallel.replicate, parallel.IN_TURN)
    divided = trained(two, parallel.divide, way._replace(divided=True))
    assert_close(divided, together)
