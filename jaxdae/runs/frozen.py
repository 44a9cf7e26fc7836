"""Members whose numbers go wrong in training: found within a chunk, and named with epoch and step."""

import logging
from collections.abc import Sequence

import numpy as np

from jaxdae import parallel
from jaxdae.runs.folder import Config
from jaxdae.training import Group, Plan, TrainState, labels

_log = logging.getLogger("jaxdae")


def frozen_members(groups: Sequence[Group], states: Sequence[TrainState]) -> set[int]:
    """The indices of the members that no longer step."""
    finite = parallel.to_host([state.finite for state in states])
    return {
        index
        for group, flags in zip(groups, finite, strict=True)
        for index, steps in zip(group.indices, flags, strict=True)
        if not steps
    }


def name_frozen(
    config: Config, group: Group, state: TrainState, losses: np.ndarray, epoch: int, plan: Plan, known: set[int]
) -> None:
    """Warns of the members of a group that froze in this epoch, by their losses after a chunk, and adds them to known.

    The state is that after this or a later chunk of the epoch: a frozen member's no longer changes, so that the
    examples that it has seen tell its last step.
    """
    new = [(i, at) for at, i in enumerate(group.indices) if not np.isfinite(losses[at]) and i not in known]
    for index, position in new:
        step = int(parallel.to_host(state.example_count)[position]) // plan.batch_size + 1
        _log.warning(
            f"member {index} ({labels(config.members)[index]}) is frozen since epoch {epoch}, step {step} of "
            f"{plan.steps}, and stays as it was before: its loss, gradient or parameters were not finite; a lower "
            "--learning-rate may help"
        )
        known.add(index)
