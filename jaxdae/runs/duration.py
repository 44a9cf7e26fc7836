"""How long a training is going to take, from a few of its steps."""

import time
from collections.abc import Sequence

import jax

from jaxdae import parallel, training
from jaxdae.data import Source
from jaxdae.runs.folder import Config
from jaxdae.training import Group, Plan, TrainState

_CALLS = 2
"""Calls of each group's program: the first compiles, which the training itself then need not."""


def expected_seconds(config: Config, source: Source, groups: Sequence[Group], states: Sequence[TrainState]) -> float:
    """The seconds of all optimizer steps of a run, compilation and validation aside.

    Args:
        config: the run.
        source: the training images.
        groups: of its members, on the devices.
        states: untrained, as the run starts from them; their memory is given up.
    """
    loop = config.loop
    source = parallel.replicate(source, parallel.data_mesh())
    plan = Plan.of(source.examples, loop.batch_size, loop.chunk_steps)
    seconds = sum(
        _seconds_of_call(config, source, group, state, plan) for group, state in zip(groups, states, strict=True)
    )
    return seconds / plan.chunk_length * plan.steps * loop.epochs


def _seconds_of_call(config: Config, source: Source, group: Group, state: TrainState, plan: Plan) -> float:
    started = 0.0
    for _ in range(_CALLS):
        started = time.perf_counter()
        state, losses = training.train_chunk(
            state, group.members, source, 1, 0, plan=plan, epochs=config.loop.epochs, population=config.loop.ways
        )
        jax.block_until_ready(losses)
    return time.perf_counter() - started
