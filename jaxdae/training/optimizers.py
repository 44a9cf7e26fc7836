"""Optimizers and learning-rate schedules: optax's, with every number here.

The numbers may be traced, so one compiled program serves all learning rates: an optimizer is made inside the program.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float
from optax import contrib

from jaxdae.components import number, structure

Rate = Callable[[Any], Any]
SCHEDULES = ("constant", "cosine", "one_cycle")


@struct.dataclass
class Optimizer:
    """What all optimizers share."""

    learning_rate: float = number(1.0, "peak of the schedule", above=0)
    schedule: str = structure("constant", "learning rate over the epochs of the run", choices=SCHEDULES)
    ema_decay: float | None = number(None, "decay per step of a weight average (EMA); it replaces the weights", below=1)
    clip_norm: float | None = number(None, "maximum norm of the gradient; larger gradients are scaled down", above=0)

    def transformation(self, rate: Rate) -> optax.GradientTransformation:
        """The optax transformation with a learning rate as a function of the steps taken."""
        raise TypeError(f"{type(self).__name__} has no transformation; choose one of {', '.join(OPTIMIZERS)}")


@struct.dataclass
class Adadelta(Optimizer):
    """Zeiler 2012, with the numbers of the classic Keras experiment."""

    rho: float = number(0.95, "decay of the running averages", above=0, below=1)
    epsilon: float = number(1e-7, "added to the running averages", above=0)

    def transformation(self, rate: Rate) -> optax.GradientTransformation:
        """The optax transformation."""
        return optax.adadelta(rate, rho=self.rho, eps=self.epsilon)


@struct.dataclass
class Adam(Optimizer):
    """Kingma & Ba 2015."""

    learning_rate: float = number(1e-3, "peak of the schedule", above=0)
    b1: float = number(0.9, "decay of the mean gradient", below=1)
    b2: float = number(0.999, "decay of the mean squared gradient", below=1)
    epsilon: float = number(1e-8, "added to the root of the mean squared gradient", above=0)

    def transformation(self, rate: Rate) -> optax.GradientTransformation:
        """The optax transformation."""
        return optax.adam(rate, b1=self.b1, b2=self.b2, eps=self.epsilon)


@struct.dataclass
class AdamW(Adam):
    """Loshchilov & Hutter 2019: Adam with decoupled weight decay."""

    weight_decay: float = number(1e-4, "weight decay per step, times the learning rate")

    def transformation(self, rate: Rate) -> optax.GradientTransformation:
        """The optax transformation."""
        return optax.adamw(rate, b1=self.b1, b2=self.b2, eps=self.epsilon, weight_decay=self.weight_decay)


@struct.dataclass
class Muon(Optimizer):
    """Jordan et al. 2024: orthogonalized momentum for kernels, Adam for biases."""

    learning_rate: float = number(1e-3, "peak of the schedule", above=0)
    beta: float = number(0.95, "decay of the momentum", below=1)

    def transformation(self, rate: Rate) -> optax.GradientTransformation:
        """The optax transformation."""
        return contrib.muon(
            rate, beta=self.beta, muon_weight_dimension_numbers=_kernels_as_matrices, consistent_rms=0.2
        )


@struct.dataclass
class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov's momentum."""

    learning_rate: float = number(0.1, "peak of the schedule", above=0)
    momentum: float = number(0.9, "decay of the momentum", below=1)

    def transformation(self, rate: Rate) -> optax.GradientTransformation:
        """The optax transformation."""
        return optax.sgd(rate, momentum=self.momentum, nesterov=True)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adadelta": Adadelta,
    "adam": Adam,
    "adamw": AdamW,
    "muon": Muon,
    "sgd": SGD,
}


def make_optimizer(optimizer: Optimizer, steps: int | None = None) -> optax.GradientTransformation:
    """The optax transformation of a component; `steps` are those of the run, over which a schedule stretches."""
    shape = _unit_schedule(optimizer.schedule, steps or 1)
    transformation = optimizer.transformation(lambda step: optimizer.learning_rate * shape(step))
    if optimizer.clip_norm is None:
        return transformation
    return optax.chain(optax.clip_by_global_norm(optimizer.clip_norm), transformation)


def _unit_schedule(schedule: str, steps: int) -> Rate:
    """A schedule of peak 1, as a function of the optimizer steps taken, that ends near 0 after `steps`."""
    match schedule:
        case "cosine":
            return optax.cosine_decay_schedule(1.0, steps)
        case "one_cycle":  # Smith & Topin 2018: up from 1/25 in the first 30 %, then down
            return optax.cosine_onecycle_schedule(steps, 1.0, pct_start=0.3, div_factor=25.0)
    return lambda step: 1.0


def _kernels_as_matrices(params: Any) -> Any:
    """Muon orthogonalizes kernels as (height width channels, features) matrices; biases are left to Adam."""
    matrix = contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    return jax.tree.map(lambda leaf: matrix if leaf.ndim == 4 else None, params)


class EMA(struct.PyTreeNode):
    """An exponential average of parameters, before its bias correction."""

    mean: Any
    weight: Float[Array, ""]
    """The sum of the weights of what is averaged: 1 - decay^steps."""


def start_ema(params: Any, decay: float | None) -> EMA | None:
    """An average of nothing yet; None without a decay."""
    return None if decay is None else EMA(jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))


def update_ema(ema: EMA | None, params: Any, decay: Any) -> EMA | None:
    """The average with the parameters of one more step."""
    if ema is None:
        return None
    mean = jax.tree.map(lambda m, p: decay * m + (1 - decay) * p, ema.mean, params)
    return EMA(mean, decay * ema.weight + (1 - decay))


def averaged(ema: EMA | None, params: Any) -> Any:
    """The bias-corrected average; without one, or before the first step, the parameters themselves."""
    if ema is None:
        return params
    weight = jnp.maximum(ema.weight, jnp.finfo(jnp.float32).tiny)
    return jax.tree.map(lambda m, p: jnp.where(ema.weight > 0, m / weight, p), ema.mean, params)
