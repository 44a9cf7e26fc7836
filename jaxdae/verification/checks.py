"""The checks: what this device computes against `reference`, against frozen draws and against statistics."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdae import metrics, parallel, rng
from jaxdae.data.source import InMemory
from jaxdae.models import ConvAutoencoder, DnCNN, UNet
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.noise import CORRUPTIONS, Noise, check_noise, corrupt_batch, noisy_examples
from jaxdae.rng import ORDER, Draws
from jaxdae.training import Member, Plan, check_member, initial_states, stack, train_chunk
from jaxdae.training.epoch import epoch_order, make_examples
from jaxdae.training.optimizers import SGD, Adadelta, Adam, make_optimizer
from jaxdae.training.step import TrainState
from jaxdae.verification import reference

FROZEN_NOISE = {
    "gaussian": (0.5529424, -1.1481135, 2.1676462, -1.5856979),
    "uniform": (0.4196970, -0.7490783, 0.9698143, -0.8871922),
    "speckle": (0.1382356, -0.2870284, 0.5419116, -0.3964245),
    "salt_and_pepper": (0.0, 0.0, 3.75, -1.25),
    "masking": (0.0, -1.25, 0.0, -1.25),
    "poisson": (-0.05, 1.35, -0.25, -0.05),
}
"""(noisy - clean) / 0.2 of the first pixels of a grey image of brightness 0.25: seed 3, epoch 2, example 7."""
FROZEN_ORDER = (17, 22, 4, 25, 26, 20, 6, 40)
"""The first examples of 50 that epoch 1 of seed 3 visits."""
# Wide enough for every formulation of a CPU, some of which begin at 32 and at 64 channels, and small enough for half a
# minute.
FAMILIES: dict[str, tuple[Any, Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "autoencoder": (ConvAutoencoder(), reference.autoencoder, reference.bce_from_logits),
    "unet": (UNet(width=32, depth=1), reference.unet, reference.squared_error),
    "dncnn": (DnCNN(depth=4), reference.dncnn, reference.squared_error),
}
COMPARED = 64
"""How many of the denoised images NumPy denoises too, spread evenly."""


class Outcome(NamedTuple):
    """What was compared, and how far apart it was."""

    name: str
    difference: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the difference is allowed; one that is not finite never is."""
        return bool(self.difference <= self.allowed)


def run_checks(images: int = 10_000, batch: int = 128, side: int = 28) -> Iterator[Outcome]:
    """Compares, one after the other, at the sizes of an experiment.

    Args:
        images: how many are made noisy, denoised and scored.
        batch: examples of the training step.
        side: of the images, in pixels; a multiple of 4.
    """
    yield from _pinned(check_order())
    yield from _pinned(check_noise_draws(min(images, 2000)))
    yield from _pinned(check_metrics(images, side))
    yield from _pinned(check_optimizers())
    for name in FAMILIES:
        yield from _pinned(check_step(name, batch, side))
        yield from _pinned(check_denoising(name, images, side))


def _pinned(outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """The same outcomes, each computed in our own environment and given back in the caller's."""
    while True:
        with rng.pinned():
            outcome = next(outcomes, None)
        if outcome is None:
            return
        yield outcome


def check_order() -> Iterator[Outcome]:
    """The frozen order of an epoch."""
    with rng.pinned():
        order = jax.jit(epoch_order, static_argnums=1)(rng.draw_key(3, ORDER, 1), 50)[:8]
    yield Outcome("frozen order of an epoch", _largest(order, FROZEN_ORDER), 0)


def check_noise_draws(images: int) -> Iterator[Outcome]:
    """Every corruption of a grey image: its frozen draws; its mean, spread and independence, in standard errors."""
    grey, level = 0.25, 0.2
    moments = {
        "gaussian": (0, level),
        "uniform": (0, level / 3**0.5),
        "speckle": (0, grey * level),
        "salt_and_pepper": (level * (0.5 - grey), (level * (0.5 * (grey**2 + (1 - grey) ** 2))
                                                   - (level * (0.5 - grey)) ** 2) ** 0.5),
        "masking": (-level * grey, grey * (level * (1 - level)) ** 0.5),
        "poisson": (0, level * grey**0.5),
    }  # fmt: skip
    clean = np.full((images, 28, 28, 1), grey, np.float32)
    draws = Draws(jnp.uint32(3), jnp.uint32(2), jnp.asarray(7 + np.arange(images)))
    for corruption in CORRUPTIONS:
        mean, spread = moments[corruption]
        with rng.pinned():
            noisy, _ = _corrupt_batch(check_noise(Noise(corruption, level, clip=False)), draws, clean)
        drawn = np.asarray(noisy, np.float64).ravel() - grey
        yield Outcome(f"frozen draws, {corruption}", _largest(drawn[:4] / level, FROZEN_NOISE[corruption]), 2e-6)
        standardized = (drawn - mean) / spread
        errors = (
            standardized.mean() * drawn.size**0.5,
            _in_errors(standardized**2, 1),
            _in_errors(standardized[1:] * standardized[:-1], 0),
        )
        yield Outcome(f"noise statistics, {corruption} (standard errors)", float(np.abs(errors).max()), 5)


_corrupt_batch, _make_examples = jax.jit(corrupt_batch), jax.jit(make_examples)


def _in_errors(values: np.ndarray, expected: float) -> float:
    """How far the mean of values is from what it should be, in standard errors."""
    return float((values.mean() - expected) / (values.std() / values.size**0.5))


def check_metrics(images: int, side: int) -> Iterator[Outcome]:
    """The metrics of random images."""
    clean = _digits(images, side)
    denoised = np.clip(clean + np.random.default_rng(1).normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)
    with rng.pinned():
        ours = jax.device_get(_scores(jnp.asarray(denoised), jnp.asarray(clean)))
    chosen = _spread(images, 16 * COMPARED)
    expected = reference.scores(denoised[chosen].astype(np.float64), clean[chosen].astype(np.float64))
    for name, values in ours.items():
        yield Outcome(f"metric {name}", _largest(values[chosen], expected[name]), 1e-3 if name == "psnr" else 1e-4)


@jax.jit
def _scores(denoised: Any, clean: Any) -> Any:
    return parallel.in_batches(lambda _, *pair: metrics.score(*pair), (), denoised, clean)


def check_optimizers() -> Iterator[Outcome]:
    """Three steps of the optimizers."""
    gradient = np.random.default_rng(2).standard_normal((3, 3, 32, 32)).astype(np.float32)
    for optimizer, expected in ((Adadelta(), reference.adadelta), (Adam(), reference.adam), (SGD(), reference.sgd)):
        moved = _three_steps(optimizer, gradient)
        yield Outcome(
            f"optimizer {type(optimizer).__name__}", _relative(moved, expected(gradient.astype(float), 3)), 1e-5
        )


@jax.jit
def _three_steps(optimizer: Any, gradient: Any) -> Any:
    transformation, moved = make_optimizer(optimizer), jnp.zeros_like(gradient)
    state = transformation.init(moved)
    for i in (1, 2, 3):
        update, state = transformation.update(i * gradient, state, moved)
        moved = moved + update
    return moved


def check_step(name: str, batch: int, side: int) -> Iterator[Outcome]:
    """The loss and the gradients of a training step: shuffled, made noisy, divided over the devices, added up."""
    model, network, loss = FAMILIES[name]
    members, source = _one_member(model), InMemory((255 * _digits(batch, side)).astype(np.uint8))
    states, before = _untrained(members)
    states, losses = train_chunk(states, members, source, 1, 0, plan=Plan.of(batch, batch, 1))
    after = jax.device_get(jax.tree.map(lambda x: x[0], states.params))
    with rng.pinned():
        draws = Draws(jnp.uint32(0), jnp.uint32(1), jnp.asarray(np.arange(batch)))
        example = jax.device_get(_make_examples(check_member(Member()), source, draws))
    leaves = {layer: {kind: reference.leaf(x) for kind, x in values.items()} for layer, values in before.items()}
    paths = [(layer, kind) for layer in leaves for kind in leaves[layer]]
    values = []
    found: dict[tuple[str, str], Any] = dict.fromkeys(paths, 0)
    for first in range(0, batch, 8):
        part = slice(first, first + 8)
        output = loss(network(leaves, reference.leaf(example.input[part])), example.target[part].astype(np.float64))
        values.append(output.value)
        for path, gradient in zip(paths, reference.gradients(output, [leaves[a][b] for a, b in paths]), strict=True):
            found[path] = found[path] + gradient / batch
    # Rounding turns a relu now and then; an accelerator rounds the factors of its products too (TF32, bfloat16).
    allowed = 1e-3 if jax.default_backend() == "cpu" else 2e-2
    yield Outcome(f"{name}: loss of a step", abs(float(losses[0]) / np.concatenate(values).mean() - 1), allowed / 100)
    for layer, kind in paths:
        moved = before[layer][kind].astype(np.float64) - after[layer][kind]
        yield Outcome(f"{name}: gradient of {layer}/{kind}", _relative(moved, found[layer, kind]), allowed)


def check_denoising(name: str, images: int, side: int) -> Iterator[Outcome]:
    """Noisy images through the network."""
    model, network, _ = FAMILIES[name]
    _, params = _untrained(_one_member(model))
    noisy = np.asarray(noisy_examples(_digits(images, side), Noise()))
    denoised = Denoiser(model, params, About(Noise(), channels=1))(noisy)
    chosen, parts = _spread(images, COMPARED), []
    leaves = {layer: {kind: reference.leaf(x) for kind, x in values.items()} for layer, values in params.items()}
    for first in range(0, len(chosen), 8):
        output = network(leaves, reference.leaf(noisy[chosen[first : first + 8]])).value
        parts.append(1 / (1 + np.exp(-output)) if model.prediction == "logits" else output)
    allowed = 1e-5 if jax.default_backend() == "cpu" else 1e-2
    yield Outcome(f"{name}: denoised images", _largest(denoised[chosen], np.concatenate(parts)), allowed)


def _one_member(model: Any) -> Member:
    """A member whose step moves the parameters by the gradient."""
    return stack([check_member(Member(model=model, optimizer=SGD(1.0, momentum=0.0)))])


def _untrained(members: Member) -> tuple[TrainState, Any]:
    """The stacked states of one member with random parameters, biases too, and these parameters."""
    shapes, _ = jax.eval_shape(lambda stacked: initial_states(stacked, 1), members)
    states = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    draw = np.random.default_rng(3).standard_normal
    params = jax.tree.map(
        lambda x: np.float32((2 / max(x[0, ..., 0].size, 200)) ** 0.5 * draw(x[0].shape)), states.params
    )
    stacked = jax.tree.map(lambda x: x[None], params)
    return states.replace(params=stacked, finite=np.ones_like(states.finite)), params


@functools.lru_cache(maxsize=1)
def _digits(images: int, side: int) -> np.ndarray:
    """Smooth random images on a black ground, the same everywhere."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side, :1][:2] / side
    centre = generator.uniform(0.2, 0.8, (2, images, 1, 1, 1))
    distance = np.hypot(rows - centre[0], columns - centre[1]) - generator.uniform(0.1, 0.4, (images, 1, 1, 1))
    return np.clip(1.5 - 10 * np.abs(distance), 0, 1).astype(np.float32)


def _spread(images: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, images - 1, min(images, most)).astype(int))


def _largest(actual: Any, expected: Any) -> float:
    return float(np.abs(np.asarray(actual, np.float64) - np.asarray(expected, np.float64)).max())


def _relative(actual: Any, expected: Any) -> float:
    """The distance from what is expected, relative to its size."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))
