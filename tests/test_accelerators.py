"""Every compiled program, lowered for accelerators on a machine without one: native convolutions, no host callback."""

import functools
import importlib
import re

import jax
import numpy as np
import pytest

import jaxdae
from jaxdae import parallel, training
from jaxdae.data import InMemory
from jaxdae.evaluation import validation
from jaxdae.models import denoiser
from jaxdae.noise import CORRUPTIONS
from jaxdae.parallel import IN_TURN, Population
from jaxdae.training import epoch as epoch_module

pytestmark = pytest.mark.slow

SOURCE = InMemory(jax.ShapeDtypeStruct((50, 16, 16, 1), np.uint8))
PLAN = training.Plan.of(50, 16, 2)
MODELS = {
    "autoencoder": (jaxdae.ConvAutoencoder(width=2, depth=1), 3),
    "unet": (jaxdae.UNet(width=2, depth=1), 6),
    "dncnn": (jaxdae.DnCNN(width=2, depth=3, level_input=True), 3),
}
"""Networks, and how many convolutions they have."""
INDEX = jax.ShapeDtypeStruct((), np.int32)
SEED = jax.ShapeDtypeStruct((), np.uint32)


@pytest.fixture(autouse=True)
def on_an_accelerator(monkeypatch):
    """What is chosen while a program is traced is chosen as there."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def group(model, count, **components):
    members = [training.check_member(jaxdae.Member(seed=i, model=model, **components)) for i in range(count)]
    stacked = training.stack(members)
    return stacked, initial(stacked)


def initial(stacked):
    return jax.eval_shape(lambda members: training.initial_states(members, 1), stacked)[0]


def train(model, members, population=IN_TURN, **components):
    return train_stacked(group(model, members, **components)[0], population)


def train_stacked(stacked, population=IN_TURN):
    static = {"plan": PLAN, "steps": None, "population": population, "mesh": parallel.data_mesh()}
    program = functools.partial(epoch_module._train_chunk, **static)
    return program, (initial(stacked), stacked, SOURCE, INDEX, INDEX)


def validate(model, members, population=IN_TURN):
    stacked, states = group(model, members)
    static = {"population": population, "mesh": parallel.data_mesh()}
    return functools.partial(validation._validate, **static), (states.params, stacked, SOURCE, SEED)


def measure(model, members, population=IN_TURN):
    _, states = group(model, members)
    static = {"module": model, "corruption": "gaussian", "clip": True, "population": population}
    static |= {"mesh": parallel.local_mesh()}
    levels = jax.ShapeDtypeStruct((3,), np.float32)
    program = importlib.import_module("jaxdae.evaluation.measure")._measure  # the package has a function of that name
    return functools.partial(program, **static), (states.params, (SOURCE.images, None), levels, SEED)


def denoise(model, members):
    _, states = group(model, 1)
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states.params)
    batch = [jax.ShapeDtypeStruct((40, 16, 16, 1), np.float32)]
    if getattr(model, "level_input", False):
        batch.append(jax.ShapeDtypeStruct((40,), np.float32))
    return functools.partial(denoiser._compiled, module=model, at_once=16), (params, *batch)


def lowered(program, arguments):
    """For each accelerator, of one trace."""
    traced = jax.jit(program).trace(*arguments)
    return [traced.lower(lowering_platforms=(platform,)).as_text() for platform in ("cuda", "tpu")]


def assert_native(texts, convolutions):
    for text in texts:
        assert text.count("stablehlo.convolution") == convolutions
        assert "optimization_barrier" not in text
        products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        assert all("HIGHEST" in line for line in products)  # the mean of a BCE; products of the CPU's kernels are plain
        assert not re.search("callback|infeed|outfeed|send_to_host|recv_from_host", text)


@pytest.mark.parametrize("program", [validate, measure, denoise])
@pytest.mark.parametrize("family", MODELS)
def test_forward_programs(family, program):
    model, layers = MODELS[family]
    assert_native(lowered(*program(model, 2)), 2 * layers if program is validate else layers)


@pytest.mark.parametrize("members, population", [(1, IN_TURN), (3, IN_TURN), (3, Population("vmap"))])
@pytest.mark.parametrize("family", MODELS)
def test_training(family, members, population):
    """Forward, both gradients; the gradient for the first layer's images is not needed."""
    model, layers = MODELS[family]
    assert_native(lowered(*train(model, members, population)), 3 * layers - 1)


@pytest.mark.parametrize("program", [train, validate, measure])
@pytest.mark.parametrize("family", MODELS)
def test_members_together_by_products_have_no_convolution(family, program):
    for text in lowered(*program(MODELS[family][0], 3, Population("products"))):
        assert "stablehlo.convolution" not in text and "batching_dims = [0] x [0]" in text


def test_a_mixed_run_is_a_program_for_each_structure():
    """Two networks and two corruptions, two levels each: four programs of two members."""
    models = [jaxdae.ConvAutoencoder(width=2, depth=1), jaxdae.ConvAutoencoder(width=3, depth=1)]
    noises = [jaxdae.Noise(kind, level=level) for kind in ("gaussian", "speckle") for level in (0.1, 0.5)]
    groups = training.group_members(
        [training.check_member(jaxdae.Member(model=model, noise=noise)) for model in models for noise in noises]
    )
    assert [group.indices for group in groups] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert_native(lowered(*train_stacked(groups[3].members)), 3 * 3 - 1)


@pytest.mark.parametrize("corruption", [name for name in CORRUPTIONS if name != "gaussian"])
def test_training_with_every_other_corruption(corruption):
    model, layers = MODELS["autoencoder"]
    program = train(model, 1, noise=jaxdae.Noise(corruption, level=(0.0, 1.0)))
    assert_native(lowered(*program), 3 * layers - 1)
