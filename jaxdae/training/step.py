"""One optimizer step of one member."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float

from jaxdae import parallel
from jaxdae.errors import InputError
from jaxdae.models.prediction import predict
from jaxdae.objectives import Example
from jaxdae.rng import Draws
from jaxdae.training.member import Member
from jaxdae.training.optimizers import EMA, make_optimizer, update_ema


class TrainState(struct.PyTreeNode):
    """All that a step reads and changes, of one member (or, stacked, of a group)."""

    params: Any
    opt_state: Any
    ema: EMA | None
    """The average of the parameters, for an optimizer with `ema_decay`."""
    loss_sum: Float[Array, "*member"]
    """Sum of the losses of this epoch's examples so far."""
    example_count: Float[Array, "*member"]
    """How many there were."""
    finite: Bool[Array, "*member"]
    """False once a loss, gradient or parameter was not finite: from then on the member stays as it was before."""


def train_step(
    state: TrainState,
    example: Example,
    draws: Draws,
    count: Float[Array, "batch"],
    *,
    member: Member,
    steps: int | None = None,
    axis: str | None = None,
) -> TrainState:
    """One optimizer step on the mean loss of a batch.

    Args:
        state: the member before the step, which is returned, marked, if the loss, the gradient or the new parameters
            are not finite.
        example: the batch.
        draws: the named draws of its examples.
        count: 1 for an example, 0 for padding. A batch of padding alone changes nothing.
        member: what is trained; its numbers may be traced.
        steps: optimizer steps of the whole run, for a schedule.
        axis: the mesh axis over which the batch is divided, where it is.
    """

    def loss_sum(params: Any, example: Example, index: Array, count: Array) -> Array:
        losses = member.objective.losses(
            functools.partial(predict, member.model, params), example, draws._replace(index=index)
        )
        if losses.shape != count.shape:
            raise InputError(f"{type(member.objective).__name__} gave losses of shape {losses.shape}, not one an image")
        return jnp.sum(count * losses)

    size = parallel.images_at_once(math.prod(example.input.shape[1:3]))
    parts = _sum_over_parts(jax.value_and_grad(loss_sum), state.params, (example, draws.index, count), size)
    sums = (*parts, count.sum())
    total, gradient, examples = jax.lax.psum(sums, axis) if axis else sums
    gradient = jax.tree.map(lambda g: g / jnp.maximum(examples, 1), gradient)
    finite = state.finite & jnp.isfinite(total) & jnp.isfinite(optax.tree.norm(gradient))
    optimizer = make_optimizer(member.optimizer, steps)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    finite &= jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]).all()
    stepped = TrainState(
        params,
        opt_state,
        update_ema(state.ema, params, member.optimizer.ema_decay),
        state.loss_sum + total,
        state.example_count + examples,
        finite,
    )
    return select(finite & (examples > 0), stepped, state.replace(finite=finite))


def _sum_over_parts(function: Callable[..., Any], params: Any, batch: Any, size: int) -> Any:
    """Adds up `function(params, *part)`, a value and its gradient, over parts of `size` examples."""
    examples = jax.tree.leaves(batch)[0].shape[0]
    if examples % size or examples == size:
        return function(params, *batch)
    parts = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), batch)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(params, *part)), None

    zeros = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(add, zeros, parts)[0]


def select(condition: Bool[Array, ""], chosen: Any, otherwise: Any) -> Any:
    """`jnp.where` over two trees."""
    return jax.tree.map(functools.partial(jnp.where, condition), chosen, otherwise)
