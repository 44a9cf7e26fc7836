"""Members that end worse than their own input: who denoises with one does harm."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxdae import evaluation, parallel, training
from jaxdae.data import Data
from jaxdae.runs.run import Run

_NO_NOISE = 99.0
"""PSNR from which on an input has no noise to remove: identical images have 100 dB."""


class Below(NamedTuple):
    """A member whose PSNR (dB) is below that of its input, both on the same images."""

    member: int
    psnr: float
    input_psnr: float
    best: tuple[int, float] | None = None
    """The epoch of the best weights and their PSNR, where that is above the input's."""


def below_input(run: Run, data: Data) -> list[Below]:
    """The members of a trained run whose last validation PSNR is below that of the noisy validation images."""
    mesh = parallel.local_mesh()
    source = parallel.replicate(data.sources(run.loop.holdout)[1], mesh)
    found = []
    for group in training.group_members(run.members):
        members = parallel.replicate(group.members, mesh)
        inputs = evaluation.input_psnr(members, source, seed=run.loop.evaluation_seed, mesh=mesh)
        for index, value in zip(group.indices, inputs, strict=True):
            psnr = _psnr_by_epoch(run, index)
            if not psnr:  # the log is gone
                continue
            last, best_epoch = psnr[max(psnr)], int(run.best[index].epoch)
            if last < float(value) < _NO_NOISE:
                best = psnr.get(best_epoch, math.nan)
                better = (best_epoch, best) if best > float(value) else None
                found.append(Below(index, last, float(value), better))
    return sorted(found)


def below_identity(rows: Sequence[dict[str, Any]], levels: Mapping[int, tuple[float, float]]) -> list[Below]:
    """The members of an evaluation's rows whose PSNR is below that of the identity, at a level of their training.

    Args:
        rows: of `evaluate`; one member is named once.
        levels: of the training of every member, lowest and highest.
    """
    found: dict[int, Below] = {}
    input_psnr = math.nan
    for row in rows:
        psnr = _psnr(row, "")
        if row["member"] == "identity":
            input_psnr = psnr
            continue
        low, high = levels[row["member"]]
        trained = low - 1e-6 <= row["test_level"] <= high + 1e-6
        if trained and psnr < input_psnr < _NO_NOISE:
            found.setdefault(row["member"], Below(row["member"], psnr, input_psnr))
    return [found[index] for index in sorted(found)]


def describe_below(below: Sequence[Below]) -> str:
    """One sentence about such members, of which there is at least one."""
    first = below[0]
    numbers = f"{first.psnr:.2f} dB against {first.input_psnr:.2f}"
    if len(below) == 1:
        who = f"member {first.member} is worse than its own noisy input ({numbers})"
    else:
        names = ", ".join(str(item.member) for item in below)
        who = f"members {names} are worse than their own noisy input (member {first.member}: {numbers})"
    if first.best is None:
        return f"{who}; train longer, or on more pictures"
    epoch, psnr = first.best
    return f"{who}; --weights best takes those of epoch {epoch} ({psnr:.2f} dB)"


def _psnr_by_epoch(run: Run, member: int) -> dict[int, float]:
    """The validation PSNR of a member by epoch."""
    return {line["epoch"]: _psnr(line, "val_") for line in run.history if line["member"] == member}


def _psnr(row: dict[str, Any], prefix: str) -> float:
    """The PSNR of a row or a line of the log, whatever it is measured against; NaN where it was not finite."""
    psnr = row.get(f"{prefix}psnr", row.get(f"{prefix}psnr_to_noisy"))
    return math.nan if psnr is None else psnr
