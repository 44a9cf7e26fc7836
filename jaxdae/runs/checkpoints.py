"""Checkpoints of a run, by Orbax: the only module that knows it.

A checkpoint is one Orbax step, numbered by the chunks taken over all groups, with three items: `params` (the result of
the training so far), `best` (the parameters at the lowest validation loss, that loss and its epoch) and `state` (all
that training continues from). Each item is a dictionary over the groups ("0", "1", ...), whose leaves have a leading
member axis. So drawing a figure never reads the optimizer.

Orbax notices a damaged file mostly, not always: of single bits that were flipped, 1 in 60 went unseen into the
parameters. So each checkpoint, once it is whole, gets the digests of its files (digests.json), which reading compares.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from jaxdae import distributed
from jaxdae.errors import InputError, printable
from jaxdae.paths import require_regular_file
from jaxdae.runs.files import is_temporary, write_text
from jaxdae.training import Best, TrainState, trained_params

ITEMS = ("params", "best", "state")
DIGESTS = "digests.json"

_log = logging.getLogger("jaxdae")
Read = TypeVar("Read")


def open_manager(folder: Path, keep: int | None = None) -> ocp.CheckpointManager:
    """The checkpoints in a folder: to write, keeping the newest N, or to read. Close it, or use it in a `with`.

    InputError if there is none to read, or one of their files is a named pipe, which Orbax would wait for.
    """
    for path in folder.rglob("*"):
        require_regular_file(path)
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
    return max((int(path.name) for path in folder.glob("*/") if path.name.isdecimal()), default=None)


def save(
    manager: ocp.CheckpointManager,
    step: int,
    states: Sequence[TrainState],
    bests: Sequence[Best],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Starts to save a checkpoint; the arrays may be donated as soon as this returns.

    `finish` comes after the last. The metadata are JSON types.
    """
    finish(manager)
    items = {"params": [trained_params(state) for state in states], "best": bests, "state": states}
    saved = {name: ocp.args.StandardSave(_by_group(item)) for name, item in items.items()}
    custom = dict(metadata) if metadata else None
    manager.save(step, args=ocp.args.Composite(**saved), custom_metadata=custom)


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits for what is being saved, and keeps the digests of its files."""
    manager.wait_until_finished()
    for step in manager.all_steps() if distributed.is_first() else ():
        folder = Path(manager.directory) / str(step)
        if not (folder / DIGESTS).exists():
            files = sorted(path for path in folder.rglob("*") if path.is_file() and not is_temporary(path))
            digests = {str(path.relative_to(folder)): _digest(path) for path in files}
            write_text(folder / DIGESTS, json.dumps(digests, indent=1) + "\n")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def restore(
    manager: ocp.CheckpointManager, states: Sequence[TrainState], bests: Sequence[Best]
) -> tuple[int, list[TrainState], list[Best]]:
    """The step, states and bests of the newest checkpoint that is whole in all its items, on devices as those given.

    Damaged ones after it are warned of and removed. InputError if all are damaged; then none is removed.
    """

    def target(item: Sequence[Any]) -> Any:
        abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), _by_group(item))
        return ocp.args.StandardRestore(abstract)

    wanted = {"best": target(bests), "state": target(states)}

    def read(step: int) -> Any:
        with _damage_named(manager, step):
            _verify(Path(manager.directory) / str(step), ITEMS)
            return manager.restore(step, args=ocp.args.Composite(**wanted))

    step, items, damaged = _newest_whole(manager, read)
    for broken, reason in damaged:
        _log.warning(f"{printable(reason)}; it is removed, and the run continues from checkpoint {step}")
        manager.delete(broken)
    return step, _in_order(items["state"]), _in_order(items["best"])


class Saved(NamedTuple):
    """What was read of a checkpoint."""

    step: int
    metadata: Mapping[str, Any]
    """That of `save`; empty if there was none, as in older checkpoints."""
    items: Sequence[list[Any]]
    """As `restore_arrays` has them."""


def read_newest(manager: ocp.CheckpointManager, items: Sequence[str]) -> Saved:
    """Some items of the newest checkpoint that is whole in them. Nothing is changed.

    Damaged ones after it are warned of. InputError if all are damaged.
    """

    def read(step: int) -> Saved:
        arrays = [restore_arrays(manager, item, step) for item in items]
        with _damage_named(manager, step):
            return Saved(step, metadata(manager, step), arrays)

    step, saved, damaged = _newest_whole(manager, read)
    for _, reason in damaged:
        _log.warning(f"{printable(reason)}; checkpoint {step}, the newest that is whole, is read in its place")
    return saved


def _newest_whole(
    manager: ocp.CheckpointManager, read: Callable[[int], Read]
) -> tuple[int, Read, list[tuple[int, InputError]]]:
    """The newest step that can be read, what is read of it, and the damaged ones after it.

    InputError if all are damaged.
    """
    damaged: list[tuple[int, InputError]] = []
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            return step, read(step), damaged
        except InputError as error:
            damaged.append((step, error))
    raise damaged[0][1]


def metadata(manager: ocp.CheckpointManager, step: int | None = None) -> Mapping[str, Any]:
    """The metadata of a checkpoint (default: the newest); empty if it has none, as older ones."""
    step = manager.latest_step() if step is None else step
    return manager.metadata(step).custom_metadata or {}


def restore_arrays(manager: ocp.CheckpointManager, item: str, step: int | None = None) -> list[Any]:
    """One item of a checkpoint (default: the newest): a tree of NumPy arrays for each group.

    It does not matter what devices saved it.
    """
    step = manager.latest_step() if step is None else step
    with _damage_named(manager, step):
        _verify(Path(manager.directory) / str(step), [item])  # or the metadata may be what is damaged
        shapes = manager.item_metadata(step)[item]
        if shapes is None or shapes.tree is None:
            raise ValueError(f"its item {item} has no metadata")
        target = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.tree)
        restored = manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.StandardRestore(target)}))
    return _in_order(restored[item])


def _by_group(item: Sequence[Any]) -> dict[str, Any]:
    return {str(group): tree for group, tree in enumerate(item)}


def _in_order(item: dict[str, Any]) -> list[Any]:
    return [item[str(group)] for group in range(len(item))]


def _verify(folder: Path, items: Sequence[str]) -> None:
    """Raises ValueError if a file of some items is not as it was saved; without digests nothing is compared."""
    if not (folder / DIGESTS).exists():  # an older one, or one whose process was killed as it ended
        return
    for name, digest in json.loads((folder / DIGESTS).read_text()).items():
        if "/" not in name or name.startswith(tuple(f"{item}/" for item in items)):
            path = folder / name
            if not path.is_file():
                raise ValueError(f"its file {name} is missing")
            if _digest(path) != digest:
                raise ValueError(f"its file {name} has changed since it was saved")


@contextlib.contextmanager
def _damage_named(manager: ocp.CheckpointManager, step: int) -> Iterator[None]:
    # Orbax and TensorStore raise these for truncated, altered and missing files (tests/runs/test_checkpoints.py).
    try:
        yield
    except (ValueError, KeyError) as error:
        reason = str(error).split("\n")[0][:200]
        raise InputError(
            f"the checkpoint {manager.directory / str(step)} is damaged or does not fit its configuration ({reason})"
        ) from error
