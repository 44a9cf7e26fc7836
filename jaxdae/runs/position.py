"""How far the members of a run have trained; where it was stopped, between two epochs.

The groups take their epochs in turn, so that in a run that was stopped some are an epoch ahead of
others, and in the first epoch some may not have begun.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxdae.training import Group, Plan


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far one member has trained."""

    epochs: int | None
    """The epochs that it has finished; None: not known."""
    part: float | None = 0.0
    """The fraction of the next epoch's examples that it has seen; None: not known how many."""
    frozen: bool = False
    """Whether it no longer steps, since its numbers were not finite."""
    by_log: bool = False
    """Whether the epochs are those of a log that no checkpoint vouches for."""

    @property
    def has_begun(self) -> bool:
        """Whether it has trained at all."""
        return self.epochs != 0 or self.part != 0

    @property
    def epoch(self) -> int | None:
        """The epoch at whose end its parameters are for certain; None if that is not certain."""
        return self.epochs if self.part == 0 and not self.by_log else None

    def describe(self) -> str:
        """In words, to follow "after": "epoch 3", "epoch 3 and 40 % of epoch 4"."""
        if self.epochs is None:
            return "an unknown epoch"
        finished = f"epoch {self.epochs}{' (by its log)' if self.by_log else ''}"
        if self.part == 0:
            return finished
        seen = "a part" if self.part is None else percent(self.part)
        begun = f"{seen} of epoch {self.epochs + 1}"
        return f"{finished} and {begun}" if self.epochs else begun


@dataclasses.dataclass(frozen=True)
class Position:
    """Where a run stands: so many chunks taken over all its groups."""

    chunks: int
    groups: int
    plan: Plan
    """How each group's epoch is divided."""
    frozen: tuple[int, ...] = ()
    """The indices of the members that no longer step."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Position | None":
        """The inverse of `to_dict`; None for another version's, which has other fields."""
        try:
            plan, frozen = Plan(**fields["plan"]), tuple(fields["frozen"])
            return cls(fields["chunks"], fields["groups"], plan, frozen)
        except (KeyError, TypeError):
            return None

    def to_dict(self) -> dict[str, Any]:
        """A position as JSON types."""
        return vars(self) | {"plan": self.plan._asdict(), "frozen": list(self.frozen)}

    @property
    def epochs(self) -> int:
        """The epochs that all groups have finished, which are those in the log."""
        return self.chunks // (self.plan.chunks * self.groups)

    def progress(self, groups: Sequence[Group]) -> tuple[Progress, ...]:
        """How far every member has trained."""
        epochs, rest = divmod(self.chunks, self.plan.chunks * self.groups)
        found: dict[int, Progress] = {}
        for number, group in enumerate(groups):
            taken = min(max(rest - number * self.plan.chunks, 0), self.plan.chunks)
            more, chunk = divmod(taken, self.plan.chunks)
            seen = sum(map(self.plan.examples_in, range(chunk)))
            part = seen / self.plan.examples
            for index in group.indices:
                found[index] = Progress(epochs + more, part, index in self.frozen)
        return tuple(found[index] for index in sorted(found))


def fraction(progress: Sequence[Progress], epochs: int) -> float:
    """How much of a run of so many epochs is done, over all its members."""
    done = [(member.epochs or 0) + (member.part or 0) for member in progress]
    return math.fsum(done) / (epochs * len(done))


def percent(part: float) -> str:
    """A fraction in words; never 0 or 100 %, which would be nothing or all."""
    return f"{min(max(round(100 * part), 1), 99)} %"


def describe_members(indices: Iterable[int]) -> str:
    """Members in words: "member 3", "members 0, 1 and 4 to 7"."""
    spans: list[list[int]] = []
    for index in sorted(indices):
        if spans and spans[-1][-1] == index - 1:
            spans[-1].append(index)
        else:
            spans.append([index])
    words: list[str] = []
    for span in spans:
        words += [f"{span[0]} to {span[-1]}"] if len(span) > 2 else map(str, span)
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"member{'s' if text != str(spans[0][0]) else ''} {text}"


def unequal_warning(progress: Sequence[Progress], epochs: int) -> str:
    """A sentence for a run whose members have trained unequally far; else empty."""
    alike: dict[str, list[int]] = {}
    for index, member in enumerate(progress):
        where = f"trained through {member.describe()}" if member.has_begun else "not begun"
        alike.setdefault(where, []).append(index)
    if len(alike) < 2:
        return ""
    parts = []
    for where, indices in alike.items():
        parts.append(f"{describe_members(indices)} {'have' if len(indices) > 1 else 'has'} {where}")
    known = all(member.part is not None for member in progress)
    where = f"at {percent(fraction(progress, epochs))}" if known else "in the middle of an epoch"
    return f"stopped {where}: {', '.join(parts)}"
