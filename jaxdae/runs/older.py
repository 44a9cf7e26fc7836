"""How far a run has trained whose checkpoints do not say it, as those of jaxdae 0.2.0.

As precisely as can be known: by the mark of the log, by the log, and by the running sums.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxdae.runs.folder import Config
from jaxdae.runs.position import Progress
from jaxdae.training import Best, group_members


def finished_epochs(
    config: Config,
    history: Sequence[dict[str, Any]],
    mark: Mapping[str, Any] | None,
    bests: Sequence[Best],
) -> tuple[int | None, bool]:
    """The epochs that all members have finished, and whether the mark of the log vouches for them.

    None if an earlier log has been moved away: the best parameters are of a later epoch.
    """
    members = len(config.members)
    marked = history if mark is None else history[: mark["lines"]]
    epochs = 0 if mark is None else mark["lines"] // members
    for start in range(0, len(marked) - members + 1, members):  # the last epoch may be cut
        epochs = marked[start]["epoch"]
    if any(np.max(best.epoch) > epochs for best in bests):
        return None, False
    return epochs, mark is not None and len(marked) == mark["lines"]


def progress(
    config: Config, step: int, epochs: int | None, certain: bool, states: Sequence[Any]
) -> tuple[Progress, ...]:
    """How far every member has trained.

    Args:
        config: of the run.
        step: the number of the checkpoint, 0 where nothing has been trained.
        epochs: as `finished_epochs` has them.
        certain: the same.
        states: the item `state` of the checkpoint, whose running sums say who has begun the next
            epoch; empty: nobody has.
    """
    if step == 0:
        return (Progress(0),) * len(config.members)
    groups = group_members(config.members)
    seen = [np.asarray(state["example_count"]) for state in states]
    if epochs == 0 and not any(count.any() for count in seen):
        epochs = None  # it is at the end of an epoch that the log does not have
    found = {}
    for number, group in enumerate(groups):
        part = None if seen and seen[number].any() else 0.0
        for position, index in enumerate(group.indices):
            frozen = bool(states) and not states[number]["finite"][position]
            found[index] = Progress(epochs, part, frozen, by_log=not certain)
    return tuple(found[index] for index in sorted(found))
