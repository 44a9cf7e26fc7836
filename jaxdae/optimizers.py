"""Optimizers, learning-rate schedules and the averaging of weights by their names: optax's, with every number here."""

from typing import Any

import jax
import optax
from optax import contrib

from jaxdae.config import RunConfig


def make_optimizer(config: RunConfig, steps: int = 1) -> optax.GradientTransformation:
    """The optimizer of a run.

    Args:
        config: says which.
        steps: optimizer steps of the whole run, over which a schedule stretches; the initial state does not depend on
            them.

    Returns:
        The optimizer. With `config.average`, its state also holds the average of the parameters.
    """
    rate = make_schedule(config, steps)
    match config.optimizer:
        case "adadelta":
            optimizer = optax.adadelta(rate, rho=config.adadelta_rho, eps=config.adadelta_eps)
        case "adam":
            optimizer = optax.adam(rate, b1=0.9, b2=0.999, eps=1e-8)
        case "muon":
            optimizer = contrib.muon(rate, muon_weight_dimension_numbers=_kernels_as_matrices, consistent_rms=0.2)
        case "sgd":
            optimizer = optax.sgd(rate, momentum=0.9, nesterov=True)
    return _with_average(optimizer, config.average) if config.average else optimizer


def make_schedule(config: RunConfig, steps: int) -> optax.ScalarOrSchedule:
    """The learning rate: a number, or a function of the optimizer steps taken that ends near 0 after `steps`."""
    match config.schedule:
        case "cosine":
            return optax.cosine_decay_schedule(config.learning_rate, steps)
        case "one_cycle":  # Smith & Topin 2018: up from 1/25 in the first 30 %, then down
            return optax.cosine_onecycle_schedule(steps, config.learning_rate, pct_start=0.3, div_factor=25.0)
    return config.learning_rate


def _kernels_as_matrices(params: Any) -> Any:
    """Muon orthogonalizes kernels as (9 channels, features) matrices; biases are left to Adam."""
    matrix = contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
    return jax.tree.map(lambda leaf: matrix if leaf.ndim == 4 else None, params)


def _with_average(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    ema = optax.ema(decay, debias=False)

    def init(params: Any) -> Any:
        return optimizer.init(params), ema.init(params)

    def update(gradient: Any, state: Any, params: Any) -> Any:
        updates, inner = optimizer.update(gradient, state[0], params)
        return updates, (inner, ema.update(optax.apply_updates(params, updates), state[1])[1])

    return optax.GradientTransformation(init, update)


def averaged(opt_state: Any, decay: float) -> Any:
    """The average of the parameters that the state of an optimizer with `config.average` holds (after a step)."""
    _, ema = opt_state
    return optax.tree.bias_correction(ema.ema, decay, ema.count)
