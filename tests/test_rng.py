"""The key of a draw follows from its name alone, whatever the process's settings."""

import functools
import hashlib
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import DATA, LOOP, MEMBER

from jaxdae import noise, parallel, rng, training
from jaxdae.data import InMemory
from jaxdae.exchange import load_denoiser
from jaxdae.rng import Draws, draw_key

SEEDS = st.integers(0, 2**32 - 1)


def test_purposes_are_only_appended():
    purposes = (rng.INITIALIZATION, rng.ORDER, rng.LEVEL, rng.NOISE, rng.TARGET, rng.PATCH, rng.AUGMENT)
    assert purposes == tuple(range(7))
    assert (rng.ONCE, rng.EVALUATION) == (0, 4294967295)


@pytest.mark.parametrize("position", range(4), ids=["seed", "purpose", "epoch", "index"])
@given(name=st.tuples(st.integers(0, 2**32 - 2), st.integers(0, 3), st.integers(0, 1000), st.integers(0, 2**31 - 2)))
def test_every_part_of_a_name_changes_the_key(position, name):
    other = [part + (i == position) for i, part in enumerate(name)]
    assert draw_key(*name) != draw_key(*other)


@given(seed=SEEDS)
def test_a_seed_names_the_same_draw_as_python_int_and_as_uint32(seed):
    assert draw_key(seed, rng.NOISE) == draw_key(jnp.uint32(seed), rng.NOISE)


def test_the_draws_of_an_example_are_its_keys():
    assert Draws(3, 2, 7).key(rng.NOISE) == draw_key(3, rng.NOISE, 2, 7)
    assert Draws(3, 2, 7).key(rng.LEVEL) == draw_key(3, rng.LEVEL, 2, 7)


def test_the_generator_is_threefry_whatever_the_default():
    expected = jax.random.key_data(draw_key(3, rng.NOISE, 2, 7))
    with jax.default_prng_impl("rbg"):
        key = draw_key(3, rng.NOISE, 2, 7)
    assert jax.random.key_impl(key) == rng.PRNG
    np.testing.assert_array_equal(jax.random.key_data(key), expected)


def test_noise_does_not_depend_on_counter_layout_or_64_bit_types():
    expected = noise.noisy_examples(DATA.test[:3], noise.Noise())
    with jax.threefry_partitionable(False), jax.enable_x64(True):
        noisy = noise.noisy_examples(DATA.test[:3], noise.Noise())
    assert noisy.dtype == jnp.float32
    np.testing.assert_array_equal(noisy, expected)


@functools.cache
def digest():
    """A hash of the evaluation's noise, the initial states and a trained chunk, with two devices."""
    noisy = noise.noisy_examples(DATA.test, MEMBER.noise)
    members = training.stack([MEMBER])
    initial, _ = training.initial_states(members, 1)
    hashed = hashlib.sha256()
    for leaf in jax.tree.leaves((noisy, initial)):
        hashed.update(np.asarray(leaf))
    states, members, source = parallel.replicate((initial, members, InMemory(DATA.train)))
    plan = training.Plan.of(source.examples, LOOP["batch_size"], LOOP["chunk_steps"])
    for leaf in jax.tree.leaves(training.train_chunk(states, members, source, 1, 0, plan=plan)):
        hashed.update(np.asarray(leaf))
    return hashed.hexdigest()


@pytest.mark.slow
def test_the_environment_changes_no_draw_and_no_training(request):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_rng; print(test_rng.digest())"
    settings = {
        "JAX_DEFAULT_PRNG_IMPL": "rbg",
        "JAX_ENABLE_X64": "1",
        "JAX_THREEFRY_PARTITIONABLE": "0",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_TRANSFER_GUARD": "disallow",
    }
    printed = subprocess.check_output(
        [sys.executable, "-c", code, request.path.parent], text=True, env=os.environ | settings, timeout=300
    )
    assert printed.strip() == digest()


def test_a_packaged_denoiser_loads_whatever_aids_for_debugging_are_on():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert not load_denoiser("digits").takes_level
