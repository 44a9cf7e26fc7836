"""Defaults of `jaxdae train` for a small set of one's own pictures, and what is printed about them."""

import argparse
import dataclasses
from typing import Any, NamedTuple

from jaxdae import components, distributed
from jaxdae.data import Data, OwnPictures, photographs
from jaxdae.training import Member
from jaxdae.training.small_sets import Settings, Typed, suggest_settings

CHUNK_STEPS = 4
"""Steps of a compiled call: few, since two calls are made beforehand to tell the expected time."""


class Training(NamedTuple):
    """What is to be trained, and what to say of the settings that were chosen for it (nothing if none were)."""

    members: tuple[Member, ...]
    data: Data
    loop: dict[str, Any]
    notes: tuple[str, ...] = ()


def adapt(training: Training, arguments: argparse.Namespace) -> Training:
    """The training with settings that fit a small set; the same for a named dataset, a preset or a set large enough."""
    data = training.data
    own = isinstance(data, OwnPictures) and data.name != photographs.NAME
    if not own or arguments.preset is not None:
        return training
    assert isinstance(data, OwnPictures)
    height, width, _ = data.image  # pictures that are not square have no patches of their own size
    settings = suggest_settings(data.patches, height, _typed(arguments), repeatable=height == width)
    if settings is None:
        return training
    loop = {"chunk_steps": CHUNK_STEPS} | training.loop
    loop |= {"epochs": settings.epochs, "batch_size": settings.batch_size}
    covering = dataclasses.replace(data, settings=data.settings | {"coverage": settings.coverage})
    members = tuple(_with_schedule(member, settings) for member in training.members)
    return Training(members, covering, loop, (_note(data.patches, settings),))


def print_seconds(seconds: float) -> None:
    """Prints how long a training is going to take."""
    if distributed.is_first():
        print(f"expected time: {describe_seconds(seconds)} on this machine", flush=True)


def describe_seconds(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return "about a minute" if seconds > 40 else "less than a minute"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} minutes"
    return f"about {seconds / 3600:.1f} hours"


def _typed(arguments: argparse.Namespace) -> Typed:
    schedule, ema_decay = (getattr(arguments, f"optimizer.{name}") is not None for name in ("schedule", "ema_decay"))
    return Typed(arguments.epochs, arguments.batch_size, arguments.coverage, schedule, ema_decay)


def _with_schedule(member: Member, settings: Settings) -> Member:
    chosen = {"schedule": settings.schedule, "ema_decay": settings.ema_decay}
    values = {name: value for name, value in chosen.items() if value is not None}
    return member.replace(optimizer=components.replace(member.optimizer, values))  # type: ignore[attr-defined]


def _note(patches: int, settings: Settings) -> str:
    examples = patches * settings.coverage
    steps = settings.epochs * -(-examples // min(settings.batch_size, examples))
    words = [f"--epochs {settings.epochs} --batch-size {settings.batch_size} --coverage {settings.coverage}"]
    words += [f"--schedule {settings.schedule}"] if settings.schedule else []
    words += [f"--ema-decay {settings.ema_decay:g}"] if settings.ema_decay else []
    return (
        f"this is a small set ({patches} examples); settings chosen for it: {' '.join(words)} "
        f"({examples} examples an epoch, {steps} optimizer step{'' if steps == 1 else 's'}); "
        "options that you give are kept"
    )
