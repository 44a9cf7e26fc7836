"""The validation of a group in training: each member at its own noise, always the same draws."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from jaxdae import metrics, parallel, rng
from jaxdae.data.source import Source
from jaxdae.models.prediction import predict
from jaxdae.noise import EACH
from jaxdae.parallel import IN_TURN, Population
from jaxdae.rng import Draws
from jaxdae.training.epoch import make_examples, take_sample
from jaxdae.training.member import Member

Images5 = Float[Array, "member image height width channel"]


def validate(
    params: Any,
    members: Member,
    source: Source,
    *,
    seed: int = 0,
    population: Population = IN_TURN,
    mesh: Mesh | None = None,
) -> tuple[Float[Array, "member"], Float[Array, "member"]]:
    """Mean loss and mean PSNR (dB) of every member with its own noise, against the clean images.

    Where the source has none, both are against the other noisy image of each pair.

    Args:
        params: stacked.
        members: stacked. A blind member's levels are drawn from its range, for every image.
        source: the validation images.
        seed: of the noise, the same for all members.
        population: as in `training.train_chunk`.
        mesh: the devices that share the work; by default all of all processes, as in `training.train_chunk`.
    """
    with rng.pinned():
        mesh = mesh or parallel.data_mesh()
        return _validate(params, members, source, jnp.uint32(seed), population=population, mesh=mesh)


def input_psnr(members: Member, source: Source, *, seed: int = 0, mesh: Mesh | None = None) -> Float[Array, "member"]:
    """Mean PSNR (dB) of the images that `validate` gives every member's network: that of doing nothing.

    Arguments as in `validate`.
    """
    with rng.pinned():
        return _input_psnr(members, source, jnp.uint32(seed), mesh=mesh or parallel.data_mesh())


def sample_images(
    params: Any, members: Member, source: Source, *, seed: int = 0, count: int = 8
) -> tuple[Images5, Images5, Images5]:
    """The first images of the validation as every member sees them: noisy, denoised and clean, clamped to [0, 1].

    Where the source has no clean images, the third are the other noisy ones. Arguments as in `validate`; `count` images
    at most.
    """
    with rng.pinned():
        index = jnp.arange(min(count, source.examples))
        return _sample_images(params, members, source, jnp.uint32(seed), index)


@jax.jit
def _sample_images(params: Any, members: Member, source: Source, seed: Array, index: Array) -> tuple[Array, ...]:
    def one_member(params: Any, member: Member) -> tuple[Array, ...]:
        draws = Draws(seed, jnp.uint32(rng.EVALUATION), index)
        example = make_examples(member, source, draws)
        denoised = predict(member.model, params, example.input, example.level).image
        return tuple(jnp.clip(images, 0, 1) for images in (example.input, denoised, _targets(member, source, draws)))

    return parallel.map_members(one_member, params, members, population=IN_TURN)


@functools.partial(jax.jit, static_argnames="mesh")
def _input_psnr(members: Member, source: Source, seed: Array, *, mesh: Mesh) -> Array:
    def one_member(member: Member) -> Array:
        def one_batch(shared: Any, index: Array) -> Array:
            member, source = shared
            draws = Draws(seed, jnp.uint32(rng.EVALUATION), index)
            noisy = make_examples(member, source, draws).input
            return jnp.asarray(metrics.psnr(jnp.clip(noisy, 0, 1), _targets_in_range(member, source, draws)))

        index = jnp.arange(source.examples)
        return parallel.in_batches(one_batch, (member, source), index, mesh=mesh).mean()

    return parallel.map_members(one_member, members, population=IN_TURN)


@functools.partial(jax.jit, static_argnames=("population", "mesh"))
def _validate(
    params: Any, members: Member, source: Source, seed: Array, *, population: Population, mesh: Mesh
) -> tuple[Array, Array]:
    def one_member(source: Source, params: Any, member: Member) -> tuple[Array, Array]:
        def one_batch(shared: Any, index: Array) -> tuple[Any, Any]:
            params, member, source = shared
            draws = Draws(seed, jnp.uint32(rng.EVALUATION), index)
            example = make_examples(member, source, draws)
            network = functools.partial(predict, member.model, params)
            losses = member.objective.losses(network, example, draws)
            image = jnp.clip(network(example.input, example.level).image, 0, 1)
            return losses, metrics.psnr(image, _targets_in_range(member, source, draws))

        index = jnp.arange(source.examples)
        losses, psnr = parallel.in_batches(
            one_batch, (params, member, source), index, mesh=mesh, divided=not population.divided
        )
        return losses.mean(), psnr.mean()

    if population.divided:
        return _divided(one_member, mesh, population)(params, members, source)
    return parallel.map_members(functools.partial(one_member, source), params, members, population=population)


def _divided(one_member: Callable[..., Any], mesh: Mesh, population: Population) -> Callable[..., Any]:
    """Each device with its own members; the results on all."""

    def on_device(params: Any, members: Member, source: Source) -> Any:
        own = parallel.map_members(functools.partial(one_member, source), params, members, population=population)
        return jax.tree.map(lambda x: jax.lax.all_gather(x, parallel.AXIS, tiled=True), own)

    specs = (P(parallel.AXIS), P(parallel.AXIS), P())
    return jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)


def _targets_in_range(member: Member, source: Source, draws: Draws) -> Array:
    """The targets, clamped to [0, 1] where values lie beyond."""
    targets = _targets(member, source, draws)
    return jnp.clip(targets, 0, 1) if getattr(source, "beyond", False) else targets


def _targets(member: Member, source: Source, draws: Draws) -> Array:
    """What the network's images are compared with."""
    sample = jax.vmap(lambda draws: take_sample(member, source, draws), in_axes=(EACH,))(draws)
    return jnp.asarray(sample.clean if sample.other is None else sample.other)
