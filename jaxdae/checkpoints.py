"""Checkpoints of a run, by Orbax: the only module that knows it.

A checkpoint is one Orbax step, numbered by the optimizer steps taken, with four items: `params` (what training has made
of every model so far), `best` (of every model the parameters at its lowest validation loss, that loss and its epoch),
`state` (all that training goes on from) and `config`. So drawing a figure never reads the optimizer.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxdae.config import InputError, RunConfig
from jaxdae.training import Best, TrainState, trained_params


def open_manager(folder: Path, keep: int | None = None) -> ocp.CheckpointManager:
    """The checkpoints in a folder. Close it, or use it in a `with`.

    Args:
        folder: where they are.
        keep: to write, the number that a save keeps, the newest; None to read, beside a run that may be writing.

    Raises:
        InputError: there is none to read.
    """
    if keep is None:
        if not any(path.name.isdigit() for path in folder.glob("*")):
            raise InputError(
                f"{folder} holds no checkpoint yet; continue the run with jaxdae train --resume {folder.parent}"
            )
        options = ocp.CheckpointManagerOptions(create=False)
    else:
        policy = preservation_policy.LatestN(n=keep)
        options = ocp.CheckpointManagerOptions(preservation_policy=policy, cleanup_tmp_directories=True)
    handlers = {item: ocp.StandardCheckpointHandler() for item in ("params", "best", "state")}
    handlers["config"] = ocp.JsonCheckpointHandler()
    return ocp.CheckpointManager(folder.resolve(), options=options, item_handlers=handlers)


def save(manager: ocp.CheckpointManager, step: int, states: TrainState, best: Best, config: RunConfig) -> None:
    """Starts to save a checkpoint; the arrays may be donated as soon as this returns."""
    manager.save(
        step,
        args=ocp.args.Composite(
            params=ocp.args.StandardSave(trained_params(states, config.average)),
            best=ocp.args.StandardSave(best),
            state=ocp.args.StandardSave(states),
            config=ocp.args.JsonSave(config.to_dict()),
        ),
    )


def restore(manager: ocp.CheckpointManager, states: TrainState, best: Best) -> tuple[int, TrainState, Best]:
    """Restores the newest checkpoint.

    Args:
        manager: the checkpoints.
        states: states of the same shapes, whose placement on devices the restored ones take.
        best: likewise.

    Returns:
        The step, the states and the best.
    """

    def target(tree: Any) -> Any:
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
        return ocp.args.StandardRestore(abstract)

    step = manager.latest_step()
    items = _restore(manager, best=target(best), state=target(states))
    return step, items["state"], items["best"]


def restore_arrays(manager: ocp.CheckpointManager, item: str) -> Any:
    """Restores one item of the newest checkpoint as a tree of NumPy arrays, whatever devices saved it."""
    with _damage_named(manager):
        shapes = manager.item_metadata(manager.latest_step())[item]
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.tree)
    return _restore(manager, **{item: ocp.args.StandardRestore(target)})[item]


def _restore(manager: ocp.CheckpointManager, **items: Any) -> Any:
    with _damage_named(manager):
        return manager.restore(manager.latest_step(), args=ocp.args.Composite(**items))


@contextlib.contextmanager
def _damage_named(manager: ocp.CheckpointManager) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, AttributeError, OSError) as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(
            f"{manager.directory / str(manager.latest_step())} is damaged or does not fit its configuration "
            f"({reason}); delete it to go on from the one before"
        ) from error
