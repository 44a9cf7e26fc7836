"""A trained run in memory."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax

from jaxdae.errors import InputError, require_name
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.runs import checkpoints, folder
from jaxdae.runs.folder import Config, Loop
from jaxdae.training import Best, Member, default_member, group_members, labels

Weights = Literal["last", "best"]


@dataclasses.dataclass(frozen=True)
class Run:
    """Trained members."""

    config: Config
    params: tuple[Any, ...]
    """The parameters of every member after the last epoch (or their average): NumPy arrays."""
    best: tuple[Best, ...]
    """The parameters of every member at its lowest validation loss, that loss and its epoch."""
    history: list[dict[str, Any]]
    """The lines of metrics.jsonl."""
    path: Path | None = None

    @property
    def members(self) -> tuple[Member, ...]:
        """What was trained; a member's index is its position here, everywhere."""
        return self.config.members

    @property
    def loop(self) -> Loop:
        """Epochs, batch size and the like."""
        return self.config.loop

    @property
    def labels(self) -> tuple[str, ...]:
        """A short name for each member."""
        return labels(self.members)

    @property
    def diverged(self) -> list[int]:
        """The indices of the members that are frozen because a loss or gradient was not finite."""
        last = self.history[-len(self.members) :]
        return [line["member"] for line in last if line[train_loss(self.members[line["member"]])] is None]

    @property
    def denoisers(self) -> tuple[Denoiser, ...]:
        """A denoiser for every member, with its last weights."""
        return tuple(self.select())

    def select(self, members: Sequence[int] | None = None, weights: Weights = "last") -> list[Denoiser]:
        """The denoisers of some members (default: all); InputError if one does not exist."""
        require_name("weights", weights, get_args(Weights))
        chosen = range(len(self.members)) if members is None else map(self.index, members)
        return [self._denoiser(index, weights) for index in chosen]

    def _denoiser(self, index: int, weights: Weights) -> Denoiser:
        member = self.members[index]
        params = self.best[index].params if weights == "best" else self.params[index]
        (height, width, channels), (value_range, kind) = self.config.source["image"], self.config.stored_values
        origin = self.describe(index, weights)
        about = About(
            member.noise, channels, value_range,
            trained_on=(height, width), seed=member.seed, origin=origin, value_type=kind,
        )  # fmt: skip
        return Denoiser(member.model, params, about)

    def index(self, member: int | None = None) -> int:
        """A member's index, checked; by default of the one nearest level 0.5 with the lowest seed."""
        if member is None:
            return default_member(self.members)
        if not 0 <= member < len(self.members):
            raise InputError(f"member {member} does not exist; this run has members 0 to {len(self.members) - 1}")
        return member

    def describe(self, index: int, weights: Weights = "last") -> str:
        """A member in words: its index, what it is, and the epoch of its weights."""
        finished = self.history[-1]["epoch"] if self.history else 0
        epoch = int(self.best[index].epoch) if weights == "best" else finished
        return f"member {index} ({self.labels[index]}), {weights} epoch {epoch}"


def train_loss(member: Member) -> str:
    """The name of a member's training loss in the log."""
    return f"train_{member.objective.loss}"


def make_run(
    config: Config, params: Sequence[Any], bests: Sequence[Best], history: list[dict[str, Any]], path: Path | None
) -> Run:
    """A run from the stacked parameters of its groups, on the host."""
    own: list[Any] = [None] * len(config.members)
    best: list[Any] = [None] * len(config.members)
    for group, stacked, lowest in zip(group_members(config.members), params, bests, strict=True):
        for position, index in enumerate(group.indices):
            own[index], best[index] = jax.tree.map(lambda x, i=position: x[i], (stacked, lowest))
    return Run(config, tuple(own), tuple(best), history, path)


def load_run(path: str | os.PathLike) -> Run:
    """Loads a run, with its parameters as NumPy arrays, on any machine; InputError if there is none to load."""
    path = Path(path)
    config = folder.load_config(path)
    with checkpoints.open_manager(path / folder.CHECKPOINTS) as manager:
        params, bests = (checkpoints.restore_arrays(manager, item) for item in ("params", "best"))
        mark = checkpoints.mark(manager)
    history = folder.read_history(path)
    folder.check_history(path, history, mark)
    return make_run(config, params, [Best(**best) for best in bests], history, path)
