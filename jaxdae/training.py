"""The training step, and the compiled program that takes many of them: pure functions of arrays and configuration.

One step is written for one model and one noisy batch. A chunk is a fixed number of steps of every model in the
population, with the dataset on the device: it shuffles, gathers, scales, corrupts and steps in one compiled program.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, Key, Num, UInt, UInt8

from jaxdae import noise, optimizers, parallel
from jaxdae.config import Loss, RunConfig, level_range
from jaxdae.model import ConvAutoencoder, example_losses, forward, initialize

Images = Float[Array, "batch height width channel"]
Dataset = UInt8[Array, "example height width channel"]


class TrainState(struct.PyTreeNode):
    """All that a step reads and changes, for one model (or, stacked, for a population)."""

    params: Any
    opt_state: Any
    loss_sum: Float[Array, "*model"]
    """Sum of the losses of the examples seen in this epoch."""
    example_count: Float[Array, "*model"]
    """How many there were."""
    finite: Bool[Array, "*model"]
    """False once a loss or gradient was not finite: from then on the model stays as it is."""


class Best(struct.PyTreeNode):
    """The parameters with the lowest validation loss so far, for each model of a population."""

    params: Any
    loss: Float[Array, "*model"]
    epoch: Int[Array, "*model"]


class Population(struct.PyTreeNode):
    """What tells the models of a population from one another."""

    seed: UInt[Array, "*model"]
    lowest_level: Float[Array, "*model"]
    highest_level: Float[Array, "*model"]


def population(config: RunConfig) -> Population:
    """The seeds and levels of the population, on the leading `model` axis."""
    ranges = jnp.array([level_range(member.noise_level) for member in config.members], jnp.float32)
    seeds = jnp.array([member.seed for member in config.members], jnp.uint32)
    return Population(seeds, ranges[:, 0], ranges[:, 1])


def make_model(config: RunConfig) -> ConvAutoencoder:
    """The Flax module that the configuration describes."""
    dtype = jnp.bfloat16 if config.compute_dtype == "bfloat16" else None
    return ConvAutoencoder(width=config.width, depth=config.depth, dtype=dtype, head=config.head)


def initial_states(config: RunConfig, channels: int) -> tuple[TrainState, Best]:
    """The untrained population: its states and, as nothing is known of them, an infinite best loss."""
    return _initial_states(population(config).seed, channels, config=static_part(config))


@functools.partial(jax.jit, static_argnames=("channels", "config"))
def _initial_states(seeds: Array, channels: int, *, config: RunConfig) -> tuple[TrainState, Best]:
    def one(seed: Array) -> TrainState:
        params = initialize(noise.draw_key(seed, noise.INITIALIZATION), make_model(config), channels)
        zero = jnp.zeros(())
        return TrainState(params, optimizers.make_optimizer(config).init(params), zero, zero, jnp.array(True))

    states = jax.vmap(one)(seeds)
    return states, Best(states.params, jnp.full(seeds.shape, jnp.inf), jnp.zeros(seeds.shape, jnp.int32))


def train_step(
    state: TrainState,
    noisy: Images,
    clean: Images,
    weight: Float[Array, "batch"],
    *,
    model: ConvAutoencoder,
    optimizer: optax.GradientTransformation,
    loss: Loss = "bce",
    axis: str | None = None,
) -> TrainState:
    """One optimizer step of one model on the weighted mean loss of a batch.

    Args:
        state: the model before the step.
        noisy: what the model is given, on the [0, 1] scale.
        clean: what it is asked for, on the [0, 1] scale.
        weight: 1 for an example, 0 for padding. A batch of padding alone changes nothing.
        model: the Flax module.
        optimizer: its optimizer.
        loss: "bce" or "mse".
        axis: the mesh axis over which the batch is divided, where it is.

    Returns:
        The model after the step. If the loss or the gradient is not finite, the model before it, marked as such.
    """

    def loss_sum(params: Any, noisy: Array, clean: Array, weight: Array) -> Array:
        output = forward(params, noisy, model=model)
        return jnp.sum(weight * example_losses(output, clean, loss=loss, head=model.head))

    sums = (*_sum_over_parts(jax.value_and_grad(loss_sum), state.params, noisy, clean, weight), weight.sum())
    total, gradient, count = jax.lax.psum(sums, axis) if axis else sums
    gradient = jax.tree.map(lambda g: g / jnp.maximum(count, 1), gradient)
    finite = state.finite & jnp.isfinite(total) & jnp.isfinite(optax.tree.norm(gradient))
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    stepped = TrainState(
        optax.apply_updates(state.params, updates),
        opt_state,
        state.loss_sum + total,
        state.example_count + count,
        finite,
    )
    return select(finite & (count > 0), stepped, state.replace(finite=finite))


def _sum_over_parts(function: Callable[..., Any], params: Any, *batch: Array) -> Any:
    """Adds up `function(params, *part)`, a value and its gradient, over parts of `images_at_once` examples."""
    examples = batch[0].shape[0]
    size = parallel.images_at_once()
    if examples % size or examples == size:
        return function(params, *batch)
    parts = tuple(x.reshape(-1, size, *x.shape[1:]) for x in batch)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(params, *part)), None

    zeros = jnp.zeros((), batch[0].dtype), jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add, zeros, parts)[0]


def select(condition: Bool[Array, ""], chosen: Any, otherwise: Any) -> Any:
    """`jnp.where` over two trees."""
    return jax.tree.map(functools.partial(jnp.where, condition), chosen, otherwise)


class EpochPlan(NamedTuple):
    """How the steps of an epoch are divided into chunks of equal length; the last one may reach past its end."""

    examples: int
    batch_size: int
    steps: int
    chunk_length: int
    chunks: int

    def chunks_from(self, step: int, epochs: int) -> Iterator[tuple[int, int]]:
        """The (epoch, chunk) pairs that are left after `step` optimizer steps; epochs count from 1, chunks from 0."""
        first_epoch, first_chunk = step // self.steps + 1, step % self.steps // self.chunk_length
        for epoch in range(first_epoch, epochs + 1):
            for chunk in range(first_chunk if epoch == first_epoch else 0, self.chunks):
                yield epoch, chunk

    def step_after(self, epoch: int, chunk: int) -> int:
        """The optimizer steps taken by the end of a chunk."""
        return (epoch - 1) * self.steps + min((chunk + 1) * self.chunk_length, self.steps)

    def examples_before(self, step: int) -> int:
        """The examples seen in that many steps."""
        epochs, rest = divmod(step, self.steps)
        return epochs * self.examples + rest * self.batch_size


def epoch_plan(examples: int, config: RunConfig) -> EpochPlan:
    """The epoch in as few equal chunks of at most `config.chunk_steps` as there can be."""
    steps = -(-examples // config.batch_size)
    chunks = -(-steps // config.chunk_steps)
    return EpochPlan(examples, config.batch_size, steps, -(-steps // chunks), chunks)


def static_part(config: RunConfig) -> RunConfig:
    """The configuration with all that a compiled chunk does not depend on at its default, to share compilations."""
    default = RunConfig()
    traced = ["dataset", "noise_levels", "draw", "holdout", "evaluation_seed", "keep"]
    if config.schedule == "constant":
        traced.append("epochs")
    seeds = tuple(range(len(config.members)))  # only how many models there are
    return dataclasses.replace(config, seeds=seeds, **{name: getattr(default, name) for name in traced})


def train_chunk(
    states: TrainState,
    members: Population,
    images: Dataset,
    epoch: int | Int[Array, ""],
    chunk: int | Int[Array, ""],
    *,
    config: RunConfig,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Float[Array, "model"]]:
    """Takes every model of a population through the steps of one chunk.

    Args:
        states: the stacked states; their memory is given up.
        members: their seeds and levels.
        images: the training images.
        epoch: the epoch, from 1.
        chunk: the chunk within the epoch, from 0. Where it reaches past the epoch's last step, nothing more happens.
        config: what to do.
        mesh: the devices that share the work; by default all local ones.

    Returns:
        The stacked states, and the mean loss of the examples that each model has seen in this epoch (not finite for a
        model that is frozen).
    """
    mesh = mesh or parallel.data_mesh()
    noise_epoch = epoch if config.draw == "fresh" else noise.ONCE
    static = static_part(config)
    return _train_chunk(states, members, images, epoch, noise_epoch, chunk, config=static, mesh=mesh)


@functools.partial(jax.jit, static_argnames=("config", "mesh"), donate_argnames="states")
def _train_chunk(states: TrainState, *replicated: Any, config: RunConfig, mesh: Mesh) -> tuple[TrainState, Array]:
    on_device = functools.partial(_train_chunk_on_device, config=config, devices=mesh.size)
    # Everything is replicated but the batches, which each device cuts out for itself; check_vma would sum every part's
    # gradient over the devices, where once for each step is enough.
    divided = jax.shard_map(on_device, mesh=mesh, in_specs=P(), out_specs=P(), check_vma=False)
    return divided(states, *replicated)


def _train_chunk_on_device(
    states: TrainState,
    members: Population,
    images: Array,
    epoch: Array,
    noise_epoch: Array,
    chunk: Array,
    *,
    config: RunConfig,
    devices: int,
) -> tuple[TrainState, Array]:
    examples = images.shape[0]
    share = -(-config.batch_size // devices)
    padded_share = _round_up(share, parallel.images_at_once())
    slot = jax.lax.axis_index(parallel.AXIS) * share + jnp.arange(padded_share)
    mine = (jnp.arange(padded_share) < share) & (slot < config.batch_size)
    plan = epoch_plan(examples, config)
    model, optimizer = make_model(config), optimizers.make_optimizer(config, config.epochs * plan.steps)

    def one_model(state: TrainState, member: Population) -> TrainState:
        order = epoch_order(noise.draw_key(member.seed, noise.ORDER, epoch), examples)

        def step(state: TrainState, number: Array) -> tuple[TrainState, None]:
            position = number * config.batch_size + slot
            index = order[jnp.minimum(position, examples - 1)]
            clean = to_float(images[index])
            noisy = noise.corrupt_examples(
                member.seed,
                clean,
                index,
                member.lowest_level,
                member.highest_level,
                epoch=noise_epoch,
                corruption=config.corruption,
                clip=config.clip,
            )
            weight = (mine & (position < examples)).astype(jnp.float32)
            stepped = train_step(
                state, noisy, clean, weight, model=model, optimizer=optimizer, loss=config.loss, axis=parallel.AXIS
            )
            return stepped, None

        return jax.lax.scan(step, state, chunk * plan.chunk_length + jnp.arange(plan.chunk_length))[0]

    states = map_models(one_model, states, members, at_once=config.models_at_once)
    return states, jnp.where(states.finite, states.loss_sum / states.example_count, jnp.nan)


def _round_up(count: int, unit: int) -> int:
    """To a multiple of `unit`, unless it is smaller than that."""
    return count if count < unit else -(-count // unit) * unit


@functools.partial(jax.jit, static_argnames="average")
def trained_params(states: TrainState, average: float) -> Any:
    """What the training has made: the parameters, or with `config.average` their average."""
    if not average:
        return states.params
    return jax.vmap(lambda opt_state: optimizers.averaged(opt_state, average))(states.opt_state)


@functools.partial(jax.jit, donate_argnames=("states", "best"), static_argnames="average")
def finish_epoch(
    states: TrainState, best: Best, val_loss: Float[Array, "model"], epoch: int | Int[Array, ""], average: float = 0.0
) -> tuple[TrainState, Best]:
    """Clears the running sums and keeps the parameters of the models whose validation loss is their lowest so far."""
    improved = val_loss < best.loss
    params = jax.tree.map(jnp.copy, trained_params(states, average))
    now = Best(params, val_loss, jnp.full_like(best.epoch, epoch))
    zeros = jnp.zeros_like(states.loss_sum)
    return states.replace(loss_sum=zeros, example_count=zeros), jax.vmap(select)(improved, now, best)


def epoch_order(key: Key[Array, ""], examples: int) -> Int[Array, "example"]:
    """The order in which an epoch visits the examples."""
    return jax.random.permutation(key, examples)


def to_float(images: Num[Array, "*batch height width channel"]) -> Float[Array, "*batch height width channel"]:
    """uint8 images, 0..255, on the [0, 1] scale."""
    return images.astype(jnp.float32) / 255


def map_models(function: Callable[..., Any], *stacked: Any, at_once: int = 0) -> Any:
    """Applies a function of one model to stacked ones, a few at once by vmap.

    By default in turn on a CPU, where vmap costs more (results/benchmark/scaling.md); all at once on an accelerator.
    """
    default = 1 if jax.default_backend() == "cpu" else jax.tree.leaves(stacked)[0].shape[0]
    together = at_once or default
    # None for one: to trace the vmap of a single model takes a second.
    return jax.lax.map(lambda one: function(*one), stacked, batch_size=together if together > 1 else None)
