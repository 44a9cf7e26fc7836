"""Checkpoints of a run, by Orbax: the only module that knows it.

A checkpoint is one Orbax step, numbered by the optimizer steps taken, with four items: `params` (the last of every
model), `best` (of every model the parameters at its lowest validation loss, that loss and its epoch), `state`
(optimizer and running sums: what only training needs) and `config`. So drawing a figure never reads the optimizer.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxdae.config import InputError, RunConfig
from jaxdae.training import Best, TrainState


def open_manager(folder: Path, keep: int = 1) -> ocp.CheckpointManager:
    """The checkpoints in a folder, of which a save keeps the newest `keep`. Close it, or use it in a `with`."""
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(n=keep), cleanup_tmp_directories=True
    )
    handlers = {item: ocp.StandardCheckpointHandler() for item in ("params", "best", "state")}
    handlers["config"] = ocp.JsonCheckpointHandler()
    return ocp.CheckpointManager(folder.resolve(), options=options, item_handlers=handlers)


def save(manager: ocp.CheckpointManager, step: int, states: TrainState, best: Best, config: RunConfig) -> None:
    """Starts to save a checkpoint; the arrays may be donated as soon as this returns."""
    manager.save(
        step,
        args=ocp.args.Composite(
            params=ocp.args.StandardSave(states.params),
            best=ocp.args.StandardSave(best),
            state=ocp.args.StandardSave(states.replace(params=None)),
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

    step = latest_step(manager)
    items = manager.restore(
        step,
        args=ocp.args.Composite(
            params=target(states.params), best=target(best), state=target(states.replace(params=None))
        ),
    )
    return step, items["state"].replace(params=items["params"]), items["best"]


def restore_arrays(manager: ocp.CheckpointManager, item: str) -> Any:
    """Restores one item of the newest checkpoint as a tree of NumPy arrays, whatever devices saved it."""
    step = latest_step(manager)
    shapes = manager.item_metadata(step)[item]
    target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.tree)
    return manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(target)}))[item]


def latest_step(manager: ocp.CheckpointManager) -> int:
    """The newest step.

    Raises:
        InputError: there is none.
    """
    step = manager.latest_step()
    if step is None:
        raise InputError(f"{manager.directory} holds no checkpoint yet; train the run again with --overwrite")
    return step
