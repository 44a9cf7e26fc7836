"""A trained run in memory."""

import dataclasses
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax

from jaxdae import rng
from jaxdae.arguments import require_integer, require_path, require_sequence
from jaxdae.errors import InputError, require_name
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.runs import checkpoints, folder, older
from jaxdae.runs.folder import Config, Loop
from jaxdae.runs.position import Position, Progress, describe_members, unequal_warning
from jaxdae.training import Best, Member, default_member, group_members, labels

Weights = Literal["last", "best"]

_log = logging.getLogger("jaxdae")


@dataclasses.dataclass(frozen=True)
class Run:
    """Trained members."""

    config: Config
    params: tuple[Any, ...]
    """The parameters of every member after the last epoch (or their average): NumPy arrays."""
    best: tuple[Best, ...]
    """The parameters of every member at its lowest validation loss, that loss and its epoch."""
    history: list[dict[str, Any]]
    """The lines of metrics.jsonl, up to the epoch of the parameters."""
    path: Path | None = None
    progress: tuple[Progress, ...] = ()
    """How far every member has trained: unequally far if the run was stopped in an epoch."""

    def __post_init__(self) -> None:
        """Without a progress, it is what the history says."""
        if not self.progress:
            epochs = self.history[-1]["epoch"] if self.history else None
            object.__setattr__(self, "progress", (Progress(epochs),) * len(self.config.members))

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
        last = {line["member"]: line for line in self.history}
        logged = {i for i, line in last.items() if line[train_loss(self.members[i])] is None}
        return sorted(logged | {i for i, progress in enumerate(self.progress) if progress.frozen})

    @property
    def denoisers(self) -> tuple[Denoiser, ...]:
        """A denoiser for every member, with its last weights; InputError as in `select`."""
        return tuple(self.select())

    def trained_members(self, weights: Weights = "last") -> list[int]:
        """The indices of the members that have begun to train or, for best, were validated."""
        if weights == "best":
            return [index for index, best in enumerate(self.best) if best.epoch > 0]
        return [index for index, progress in enumerate(self.progress) if progress.has_begun]

    def select(self, members: Sequence[int] | None = None, weights: Weights = "last") -> list[Denoiser]:
        """The denoisers of some members (default: all).

        InputError if one does not exist or has no such weights yet: `trained_members` have.
        """
        require_name("weights", weights, get_args(Weights))
        if members is not None:
            require_sequence("members", members)
        chosen = range(len(self.members)) if members is None else map(self.index, members)
        return [self._denoiser(index, weights) for index in chosen]

    def _denoiser(self, index: int, weights: Weights) -> Denoiser:
        self._require_weights(index, weights)
        member = self.members[index]
        params = self.best[index].params if weights == "best" else self.params[index]
        (height, width, channels), (value_range, kind) = self.config.source["image"], self.config.stored_values
        origin = self.describe(index, weights)
        about = About(
            member.noise, channels, value_range,
            trained_on=(height, width), seed=member.seed, origin=origin, value_type=kind,
        )  # fmt: skip
        return Denoiser(member.model, params, about)

    def _require_weights(self, index: int, weights: Weights) -> None:
        """InputError for a member that has not begun to train or, for best, was not validated."""
        trained = self.trained_members(weights)
        if index in trained:
            return
        lack = "has not begun to train"
        ways = [f"continue the run with `jaxdae resume {self.path}`"]
        if weights == "best":
            lack = "has no best weights yet, since it was not validated"
            ways.insert(0, "take its last weights")
        if trained:
            ways.insert(0, f"choose {describe_members(trained)}")
        raise InputError(f"member {index} ({self.labels[index]}) {lack}; {', or '.join(ways)}")

    def index(self, member: int | None = None) -> int:
        """A member's index, checked; by default of the one nearest level 0.5 with the lowest seed.

        By default it is one of those that have begun to train, if any has.
        """
        if member is None:
            begun = self.trained_members() or list(range(len(self.members)))
            return begun[default_member([self.members[index] for index in begun])]
        require_integer("member", member)
        if not 0 <= member < len(self.members):
            raise InputError(f"member {member} does not exist; this run has members 0 to {len(self.members) - 1}")
        return int(member)

    def describe(self, index: int, weights: Weights = "last") -> str:
        """A member in words: its index, what it is, and the epoch of its weights."""
        index = self.index(index)
        progress = self.progress[index]
        if index not in self.trained_members(weights):
            state = "not validated yet" if weights == "best" else "not trained yet"
        elif weights == "best":
            state = f"best epoch {int(self.best[index].epoch)}"
        elif progress.epochs and progress.part == 0:
            state = f"last {progress.describe()}"
        else:
            state = f"last weights, after {progress.describe()}"
        return f"member {index} ({self.labels[index]}), {state}"

    def epoch(self, index: int, weights: Weights = "last") -> int | None:
        """The epoch at whose end a member had its weights; None if that is not certain."""
        if weights == "best":
            return int(self.best[index].epoch) or None
        return self.progress[index].epoch or None


def train_loss(member: Member) -> str:
    """The name of a member's training loss in the log."""
    return f"train_{member.objective.loss}"


def make_run(
    config: Config,
    params: Sequence[Any],
    bests: Sequence[Best],
    history: list[dict[str, Any]],
    path: Path | None,
    progress: tuple[Progress, ...],
) -> Run:
    """A run from the stacked parameters of its groups, on the host."""
    own: list[Any] = [None] * len(config.members)
    best: list[Any] = [None] * len(config.members)
    for group, stacked, lowest in zip(group_members(config.members), params, bests, strict=True):
        for position, index in enumerate(group.indices):
            own[index], best[index] = jax.tree.map(lambda x, i=position: x[i], (stacked, lowest))
    return Run(config, tuple(own), tuple(best), history, path, progress)


@rng.pinned()
def load_run(path: str | os.PathLike) -> Run:
    """Loads a run, with its parameters as NumPy arrays, on any machine; InputError if there is none to load.

    It is that of its newest whole checkpoint, and so is its history. Newer checkpoints that are
    damaged, later lines of the log, and members that have trained less than others are warned of.
    """
    require_path("path", path)
    path = Path(path)
    config = folder.load_config(path)
    with checkpoints.open_manager(path / folder.CHECKPOINTS) as manager:
        saved = checkpoints.read_newest(manager, ("params", "best"))
        params, bests = saved.items[0], [Best(**best) for best in saved.items[1]]
        history = folder.read_history(path)
        folder.check_history(path, history, saved.metadata.get("log"))
        epochs, progress = _progress(config, manager, saved, bests, history)
    kept = folder.cut_history(path, history, epochs)
    if warning := unequal_warning(progress, config.loop.epochs):
        _log.warning(f"{path} was {warning}")
    return make_run(config, params, bests, kept, path, progress)


def _progress(
    config: Config,
    manager: Any,
    saved: checkpoints.Saved,
    bests: Sequence[Best],
    history: list[dict[str, Any]],
) -> tuple[float, tuple[Progress, ...]]:
    """The epochs that all members have finished (if unknown, inf), and how far each has trained."""
    position = Position.from_dict(saved.metadata.get("position", {}))
    if position:
        return position.epochs, position.progress(group_members(config.members))
    mark = saved.metadata.get("log")
    epochs, certain = older.finished_epochs(config, history, mark, bests)
    if saved.step == 0:
        epochs, certain = 0, True
    states: list[Any] = []
    if not certain or epochs != config.loop.epochs:
        states = checkpoints.restore_arrays(manager, "state", saved.step)
    progress = older.progress(config, saved.step, epochs, certain, states)
    return (math.inf if epochs is None else epochs), progress
