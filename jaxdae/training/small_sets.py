"""Settings that train a small set of pictures enough, in place of the defaults, which were made for large ones.

Two scanned pages are 70 patches: with a batch of 128, ten epochs are ten optimizer steps. Such a set gets smaller
batches, more patches an epoch, a one-cycle schedule and averaged weights. What the user typed is never changed.
"""

from typing import NamedTuple

MIN_STEPS = 600
"""Optimizer steps below which a training counts as too short."""
EPOCHS, BATCH_SIZE = 10, 128
"""The defaults for large sets."""
SCHEDULE, EMA_DECAY = "one_cycle", 0.99
_SIDE = 64
"""Of patches that are trained 16 at a time; of larger ones, fewer."""


class Typed(NamedTuple):
    """What the user typed; None, or False, where nothing was."""

    epochs: int | None = None
    batch_size: int | None = None
    coverage: int | None = None
    schedule: bool = False
    ema_decay: bool = False


class Settings(NamedTuple):
    """What to train with; of schedule and ema_decay, None where the member keeps its own."""

    epochs: int
    batch_size: int
    coverage: int
    schedule: str | None
    ema_decay: float | None


def suggest_settings(patches: int, side: int, typed: Typed, *, repeatable: bool = True) -> Settings | None:
    """The settings for a set of pictures, or None if those that it would have anyway train it enough.

    Args:
        patches: in an epoch that covers the pictures once.
        side: of a patch, in pixels.
        typed: what the user typed, which stays; with a schedule, the weights are not averaged either. Fewer than 10
            epochs are taken for the wish to train less: they do not make the epochs longer.
        repeatable: whether an epoch can cover the pictures more than once; if not, there are more epochs.
    """
    once = patches * (typed.coverage or 1)
    epochs = typed.epochs or EPOCHS
    if max(epochs, EPOCHS) * _steps(once, typed.batch_size or BATCH_SIZE) >= MIN_STEPS:
        return None
    batch_size = typed.batch_size or _batch_size(once, side)
    coverage = typed.coverage or 1
    if typed.coverage is None and repeatable:
        steps = -(-MIN_STEPS // max(epochs, EPOCHS))
        coverage = max(1, -(-steps * batch_size // patches))
    if typed.epochs is None:
        epochs = max(EPOCHS, -(-MIN_STEPS // _steps(patches * coverage, batch_size)))
    if typed.schedule:
        schedule, ema_decay = None, None
    else:
        schedule, ema_decay = SCHEDULE, None if typed.ema_decay else EMA_DECAY
    settings = Settings(epochs, batch_size, coverage, schedule, ema_decay)
    unchanged = (typed.epochs or EPOCHS, typed.batch_size or BATCH_SIZE, typed.coverage or 1, None, None)
    return None if settings == unchanged else settings


def _steps(examples: int, batch_size: int) -> int:
    """The optimizer steps of an epoch."""
    return -(-examples // min(batch_size, examples))


def _batch_size(examples: int, side: int) -> int:
    """The largest power of two that makes enough steps, within what is good for patches of that size."""
    smallest = 16
    while smallest > 4 and smallest * side**2 > 16 * _SIDE**2:
        smallest //= 2
    size = BATCH_SIZE
    while size > smallest and EPOCHS * _steps(examples, size) < MIN_STEPS:
        size //= 2
    return size
