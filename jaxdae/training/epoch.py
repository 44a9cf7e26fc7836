"""The compiled chunk: a fixed number of steps of every member of a group, with the data on the device.

It shuffles, takes, scales, corrupts and steps in one program. A chunk depends on the group's treedef, the plan of the
epoch and the devices; seeds, levels, learning rates and all other numbers are arguments.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from jaxdae import parallel, rng
from jaxdae.data.source import Sample, Source, pixels_of
from jaxdae.models import initialize
from jaxdae.noise import EACH
from jaxdae.parallel import IN_TURN, Population
from jaxdae.rng import Draws
from jaxdae.training.member import Member
from jaxdae.training.optimizers import averaged, make_optimizer, start_ema
from jaxdae.training.step import TrainState, select, train_step
from jaxdae.types import PRNGKey


class Best(struct.PyTreeNode):
    """The parameters with the lowest validation loss so far, of each member of a group."""

    params: Any
    loss: Float[Array, "*member"]
    epoch: Int[Array, "*member"]


class Plan(NamedTuple):
    """How the steps of an epoch are divided into chunks of equal length; the last one may reach past its end."""

    examples: int
    batch_size: int
    steps: int
    chunk_length: int
    chunks: int

    @classmethod
    def of(cls, examples: int, batch_size: int, chunk_steps: int) -> "Plan":
        """The epoch in as few equal chunks of at most `chunk_steps` as there can be; no batch exceeds the examples."""
        batch_size = min(batch_size, examples)
        steps = -(-examples // batch_size)
        chunks = -(-steps // chunk_steps)
        return cls(examples, batch_size, steps, -(-steps // chunks), chunks)

    def examples_in(self, chunk: int) -> int:
        """How many examples a chunk takes."""
        most = self.chunk_length * self.batch_size
        return min(most, self.examples - chunk * most)

    def turns_from(self, done: int, epochs: int, groups: int) -> Iterator[tuple[int, int, int]]:
        """The (epoch, group, chunk) that are left after `done` chunks; the groups take their epochs in turn.

        Epochs count from 1, groups and chunks from 0.
        """
        for number in range(done, epochs * groups * self.chunks):
            rest, chunk = divmod(number, self.chunks)
            epoch, group = divmod(rest, groups)
            yield epoch + 1, group, chunk


def initial_states(members: Member, channels: int) -> tuple[TrainState, Best]:
    """The untrained states of a group of stacked members and, as nothing is known yet, an infinite best loss."""
    with rng.pinned():
        return _initial_states(members, channels)


@functools.partial(jax.jit, static_argnames="channels")
def _initial_states(members: Member, channels: int) -> tuple[TrainState, Best]:
    def one(member: Member) -> TrainState:
        params = initialize(rng.draw_key(member.seed, rng.INITIALIZATION), member.model, channels)
        opt_state = make_optimizer(member.optimizer).init(params)
        zero = jnp.zeros(())
        return TrainState(params, opt_state, start_ema(params, member.optimizer.ema_decay), zero, zero, jnp.array(True))

    states = jax.vmap(one)(members)
    return states, Best(states.params, jnp.full_like(states.loss_sum, jnp.inf), jnp.zeros_like(members.seed, jnp.int32))


def train_chunk(
    states: TrainState,
    members: Member,
    source: Source,
    epoch: int | Int[Array, ""],
    chunk: int | Int[Array, ""],
    *,
    plan: Plan,
    epochs: int | None = None,
    population: Population = IN_TURN,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Float[Array, "member"]]:
    """Takes every member of a group through the steps of one chunk.

    Args:
        states: the stacked states; their memory is given up.
        members: the stacked members.
        source: the training images.
        epoch: the epoch, from 1.
        chunk: the chunk within the epoch, from 0. Where it reaches past the epoch's last step, nothing more happens.
        plan: the division of the epoch.
        epochs: of the whole run, over which a schedule stretches; not needed for a constant learning rate.
        population: how the members go through the program; by default in turn.
        mesh: the devices that share the work; by default all of all processes.

    Returns:
        The stacked states, and the mean loss of the examples that each member has seen in this epoch (not finite for a
        member that is frozen).
    """
    scheduled = members.optimizer.schedule != "constant"
    if scheduled and epochs is None:
        raise TypeError(f"a {members.optimizer.schedule} schedule needs the epochs of the run")
    steps = epochs * plan.steps if scheduled and epochs else None  # None shares the program between runs
    with rng.pinned():
        return _train_chunk(
            states, members, source, epoch, chunk,
            plan=plan, steps=steps, population=population, mesh=mesh or parallel.data_mesh(),
        )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("plan", "steps", "population", "mesh"), donate_argnames="states")
def _train_chunk(
    states: TrainState, *members_source_epoch_chunk: Any, mesh: Mesh, **static: Any
) -> tuple[TrainState, Array]:
    on_device: Any = functools.partial(_train_chunk_on_device, devices=mesh.size, **static)
    # The members may be divided. If they are not, everything is replicated but the batches, which each device cuts out
    # for itself; check_vma would sum every part's gradient over the devices, where once for each step is enough.
    own = P(parallel.AXIS) if static["population"].divided else P()
    specs = (own, own, P(), P(), P())
    divided: Any = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=(own, P()), check_vma=False)
    return divided(states, *members_source_epoch_chunk)


def _train_chunk_on_device(
    states: TrainState,
    members: Member,
    source: Source,
    epoch: Array,
    chunk: Array,
    *,
    plan: Plan,
    steps: int | None,
    population: Population,
    devices: int,
) -> tuple[TrainState, Array]:
    axis = None if population.divided else parallel.AXIS
    share = -(-plan.batch_size // devices) if axis else plan.batch_size
    unit = parallel.images_at_once(pixels_of(source))
    padded_share = share if share < unit else -(-share // unit) * unit
    slot = (jax.lax.axis_index(axis) * share if axis else 0) + jnp.arange(padded_share)
    mine = (jnp.arange(padded_share) < share) & (slot < plan.batch_size)

    def one_member(state: TrainState, member: Member) -> TrainState:
        order = epoch_order(rng.draw_key(member.seed, rng.ORDER, epoch), plan.examples)
        noise_epoch = jnp.where(member.noise.redraw, epoch, rng.ONCE)

        def step(state: TrainState, number: Array) -> tuple[TrainState, None]:
            # Padding repeats the batch's first example: one that goes wrong must not do so a step early, as padding.
            position = number * plan.batch_size + jnp.where(mine, slot, 0)
            draws = Draws(member.seed, noise_epoch, order[jnp.minimum(position, plan.examples - 1)])
            example = make_examples(member, source, draws)
            count = (mine & (position < plan.examples)).astype(jnp.float32)
            return train_step(state, example, draws, count, member=member, steps=steps, axis=axis), None

        return jax.lax.scan(step, state, chunk * plan.chunk_length + jnp.arange(plan.chunk_length))[0]

    states = parallel.map_members(one_member, states, members, population=population)
    losses = epoch_losses(states)
    return states, losses if axis else jax.lax.all_gather(losses, parallel.AXIS, tiled=True)


def epoch_losses(states: TrainState) -> Float[Array, "*member"]:
    """The mean loss of the examples seen in this epoch, of each member; not finite for one that is frozen."""
    return jnp.where(states.finite, states.loss_sum / states.example_count, jnp.nan)


def make_examples(member: Member, source: Source, draws: Draws) -> Any:
    """A batch of a member's examples, each by its own named draws (one seed, one epoch, an index for each)."""

    def one(draws: Draws) -> Any:
        return member.objective.example(draws, take_sample(member, source, draws), member.noise)

    return jax.vmap(one, in_axes=(EACH,))(draws)


def take_sample(member: Member, source: Source, draws: Draws) -> Sample:
    """One example of a source as a member sees it: where its noise is clipped, values beyond [0, 1] are too."""
    sample = source.take(draws, draws.index)
    if member.noise.clip and getattr(source, "beyond", False):
        return jax.tree.map(lambda image: jnp.clip(image, 0, 1), sample)
    return sample


@jax.jit
def trained_params(states: TrainState) -> Any:
    """The result of the training so far: the parameters, or their average where the optimizer has one."""
    return jax.vmap(averaged)(states.ema, states.params)


@functools.partial(jax.jit, donate_argnames=("states", "best"))
def finish_epoch(
    states: TrainState, best: Best, val_loss: Float[Array, "member"], epoch: int | Int[Array, ""]
) -> tuple[TrainState, Best]:
    """Clears the running sums and keeps the parameters of the members whose validation loss is their lowest so far."""
    params = jax.tree.map(jnp.copy, trained_params(states))
    now = Best(params, val_loss, jnp.full_like(best.epoch, epoch))
    zeros = jnp.zeros_like(states.loss_sum)
    return states.replace(loss_sum=zeros, example_count=zeros), jax.vmap(select)(val_loss < best.loss, now, best)


def epoch_order(key: PRNGKey, examples: int) -> Int[Array, "example"]:
    """The order in which an epoch visits the examples."""
    return jax.random.permutation(key, examples)
