"""How long a training is going to take, from a few of its steps."""

import time

import jax

from jaxdae import parallel, training
from jaxdae.data import Source
from jaxdae.runs.folder import Config
from jaxdae.training import Member, Plan

_STEPS = 2


def expected_seconds(config: Config, source: Source) -> float:
    """The seconds of all optimizer steps of a run, compilation and validation aside.

    A member of each group takes a few steps from its initial weights, which are dropped.
    """
    plan = Plan.of(source.examples, config.loop.batch_size, chunk_steps=1)
    source = parallel.replicate(source, parallel.data_mesh())
    seconds = 0.0
    for group in training.group_members(config.members):
        members = [config.members[index] for index in group.indices]
        seconds += len(members) * _seconds_per_step(members[0], config, source, plan)
    return seconds * plan.steps * config.loop.epochs


def _seconds_per_step(member: Member, config: Config, source: Source, plan: Plan) -> float:
    mesh = parallel.data_mesh()
    members = parallel.replicate(training.stack([member]), mesh)
    states = parallel.replicate(training.initial_states(members, config.source["image"][-1])[0], mesh)
    times = []
    for chunk in range(1 + _STEPS):  # the first compiles
        started = time.perf_counter()
        states, losses = training.train_chunk(
            states, members, source, 1, chunk % plan.chunks, plan=plan, epochs=config.loop.epochs
        )
        jax.block_until_ready(losses)
        times.append(time.perf_counter() - started)
    return sum(times[1:]) / _STEPS
