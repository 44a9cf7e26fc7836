"""Checkpoints of a run, by Orbax: the only module that knows it.

A checkpoint is one Orbax step, numbered by the chunks taken over all groups, with three items: `params` (the result of
the training so far), `best` (the parameters at the lowest validation loss, that loss and its epoch) and `state` (all
that training continues from). Each item is a dictionary over the groups ("0", "1", ...), whose leaves have a leading
member axis. So drawing a figure never reads the optimizer.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxdae.errors import InputError
from jaxdae.training import Best, TrainState, trained_params

ITEMS = ("params", "best", "state")


def open_manager(folder: Path, keep: int | None = None) -> ocp.CheckpointManager:
    """The checkpoints in a folder: to write, keeping the newest N, or to read. Close it, or use it in a `with`."""
    if keep is None:
        if newest_step(folder) is None:
            raise InputError(f"{folder} holds no checkpoint yet; continue the run with `jaxdae resume {folder.parent}`")
        options = ocp.CheckpointManagerOptions(create=False)
    else:
        policy = preservation_policy.LatestN(n=keep)
        options = ocp.CheckpointManagerOptions(preservation_policy=policy, cleanup_tmp_directories=True)
    handlers = {item: ocp.StandardCheckpointHandler() for item in ITEMS}
    return ocp.CheckpointManager(folder.resolve(), options=options, item_handlers=handlers)


def newest_step(folder: Path) -> int | None:
    """The number of the newest checkpoint in a folder, None if there is none."""
    return max((int(path.name) for path in folder.glob("*/") if path.name.isdigit()), default=None)


def save(manager: ocp.CheckpointManager, step: int, states: Sequence[TrainState], bests: Sequence[Best]) -> None:
    """Starts to save a checkpoint; the arrays may be donated as soon as this returns."""
    items = {"params": [trained_params(state) for state in states], "best": bests, "state": states}
    saved = {name: ocp.args.StandardSave(_by_group(item)) for name, item in items.items()}
    manager.save(step, args=ocp.args.Composite(**saved))


def restore(
    manager: ocp.CheckpointManager, states: Sequence[TrainState], bests: Sequence[Best]
) -> tuple[int, list[TrainState], list[Best]]:
    """The step, states and bests of the newest checkpoint, on devices as those given; InputError if damaged."""

    def target(item: Sequence[Any]) -> Any:
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), _by_group(item))
        return ocp.args.StandardRestore(abstract)

    step = manager.latest_step()
    items = _restore(manager, best=target(bests), state=target(states))
    return step, _in_order(items["state"]), _in_order(items["best"])


def restore_arrays(manager: ocp.CheckpointManager, item: str) -> list[Any]:
    """One item of the newest checkpoint: a tree of NumPy arrays for each group, whatever devices saved it."""
    with _damage_named(manager):
        shapes = manager.item_metadata(manager.latest_step())[item]
        if shapes is None or shapes.tree is None:
            raise ValueError(f"its item {item} has no metadata")
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.tree)
    return _in_order(_restore(manager, **{item: ocp.args.StandardRestore(target)})[item])


def _by_group(item: Sequence[Any]) -> dict[str, Any]:
    return {str(group): tree for group, tree in enumerate(item)}


def _in_order(item: dict[str, Any]) -> list[Any]:
    return [item[str(group)] for group in range(len(item))]


def _restore(manager: ocp.CheckpointManager, **items: Any) -> Any:
    with _damage_named(manager):
        return manager.restore(manager.latest_step(), args=ocp.args.Composite(**items))


@contextlib.contextmanager
def _damage_named(manager: ocp.CheckpointManager) -> Iterator[None]:
    # Orbax and TensorStore raise these for truncated, altered and missing files (tests/runs/test_checkpoints.py).
    try:
        yield
    except (ValueError, KeyError) as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(
            f"the checkpoint {manager.directory / str(manager.latest_step())} is damaged or does not fit its "
            f"configuration ({reason})"
        ) from error
