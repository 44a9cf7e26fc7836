"""Checkpoints: three items over the groups, restored bit for bit or refused with the reason."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdae import parallel
from jaxdae.errors import InputError
from jaxdae.runs import checkpoints
from jaxdae.training import Best, TrainState


def states_and_bests(*widths):
    """Groups of two members, of a tiny network each."""

    def group(width):
        kernel = jnp.arange(2.0 * 9 * width).reshape(2, 3, 3, width)
        params = {"output": {"kernel": kernel, "bias": jnp.full((2, width), width)}}
        numbers = jnp.array([0.5, 0.25])
        state = TrainState(params, optax.sgd(1.0, 0.9).init(params), None, numbers, numbers, jnp.array([True, False]))
        return state, Best(jax.tree.map(jnp.negative, params), numbers, jnp.array([3, 4]))

    return map(list, zip(*(parallel.replicate(group(width)) for width in widths), strict=True))


STATES, BESTS = states_and_bests(2, 4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with checkpoints.open_manager(folder, keep=2) as manager:
        for step in (3, 7, 12):
            checkpoints.save(manager, step, STATES, BESTS)
        checkpoints.finish(manager)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def read(folder):
    """All that can be read of the newest checkpoint: what resuming and what loading a run reads."""
    with checkpoints.open_manager(folder) as manager:
        _, states, bests = checkpoints.restore(manager, STATES, BESTS)
        return states, bests, checkpoints.restore_arrays(manager, "params")


def assert_equal(tree, other):
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(x, y)


def test_what_is_saved_is_restored(saved):
    with checkpoints.open_manager(saved) as manager:
        step, states, bests = checkpoints.restore(manager, STATES, BESTS)
        params, best = (checkpoints.restore_arrays(manager, item) for item in ("params", "best"))
    assert step == checkpoints.newest_step(saved) == 12
    assert_equal((states, bests), (STATES, BESTS))
    assert jax.tree.map(lambda x: x.sharding, states) == jax.tree.map(lambda x: x.sharding, STATES)
    assert_equal(params, [state.params for state in STATES])
    assert_equal([Best(**group) for group in best], BESTS)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves((params, best)))


def test_the_newest_are_kept_and_hold_three_items_over_the_groups(saved):
    assert {path.name for path in saved.iterdir()} == {"7", "12"}
    assert {path.name for path in (saved / "12").iterdir() if path.is_dir()} == {"params", "best", "state"}
    with checkpoints.open_manager(saved) as manager:
        items = manager.item_metadata(12)
    assert all(set(items[item].tree) == {"0", "1"} for item in checkpoints.ITEMS)


def test_reading_leaves_what_another_process_is_writing(saved):
    unfinished = saved / "99.orbax-checkpoint-tmp"
    unfinished.mkdir()
    read(saved)
    assert unfinished.exists()
    unfinished.rmdir()


def test_without_a_checkpoint_the_way_on_is_named(tmp_path):
    (tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir(parents=True)
    (tmp_path / "checkpoints" / "7").touch()
    for folder in (tmp_path / "checkpoints", tmp_path / "nothing"):
        with pytest.raises(InputError, match=f"holds no checkpoint yet; continue .* with `jaxdae resume {tmp_path}"):
            checkpoints.open_manager(folder)


DAMAGES = {
    "emptied": lambda path, content: path.write_bytes(b""),
    "halved": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "zeroed": lambda path, content: path.write_bytes(bytes(len(content))),
    "deleted": lambda path, content: path.unlink(),
    "flipped": lambda path, content: path.write_bytes(content[:-1] + bytes([content[-1] ^ 1])),
}


def damaged_reads(folder):
    """What reading says of each damage to a file of each kind: the damage, the kind, and the error or None."""
    newest = folder / "12"
    files = {
        re.sub(r"/d/\w+", "/d/*", str(path.relative_to(newest))): path for path in newest.rglob("*") if path.is_file()
    }
    for kind, path in files.items():
        content = path.read_bytes()
        for name, damage in DAMAGES.items():
            damage(path, content)
            try:
                assert_equal(read(folder), (STATES, BESTS, [state.params for state in STATES]))
                error = None
            except InputError as refused:
                error = str(refused)
            path.write_bytes(content)
            yield name, kind, error


@pytest.mark.slow
def test_a_damaged_file_is_refused_with_its_checkpoint_and_the_reason(copied, tmp_path):
    shutil.rmtree(copied / "7")
    # In a process of its own: after an error, coroutines and threads of Orbax fail for some time.
    arguments = [sys.executable, __file__, copied]
    found = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    refused = {(damage, kind): error for damage, kind, error in found if error}
    for error in refused.values():
        sentence = f"the checkpoint {tmp_path}/checkpoints/12 is damaged or does not fit its configuration ("
        assert error.startswith(sentence) and "delete" not in error and "\n" not in error
    needed = {kind for _, kind, _ in found if kind.startswith(checkpoints.ITEMS)}
    assert len(needed) > 3 * len(checkpoints.ITEMS)
    assert refused.keys() >= {(damage, file) for damage in DAMAGES for file in needed}


@pytest.mark.parametrize("item", checkpoints.ITEMS)
def test_of_damaged_checkpoints_the_newest_whole_one_is_restored_and_they_are_removed(copied, caplog, item):
    [damaged] = (copied / "12" / item / "d").iterdir()
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    with checkpoints.open_manager(copied, keep=2) as manager:
        step, states, bests = checkpoints.restore(manager, STATES, BESTS)
        assert step == 7 and "12 is damaged" in caplog.text and "continues from checkpoint 7" in caplog.text
        assert_equal((states, bests), (STATES, BESTS))
        checkpoints.save(manager, 12, STATES, BESTS)
        checkpoints.finish(manager)
    read(copied)


def test_where_all_are_damaged_none_is_removed(copied):
    for step in ("7", "12"):
        (copied / step / "state" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(InputError, match="checkpoints/12 is damaged"):
        read(copied)
    assert {path.name for path in copied.iterdir()} == {"7", "12"}


@pytest.mark.parametrize("item", checkpoints.ITEMS)
def test_a_missing_item_is_refused(copied, item):
    shutil.rmtree(copied / "7")
    shutil.rmtree(copied / "12" / item)
    with pytest.raises(InputError, match=f"checkpoints/12 is damaged or does not fit its configuration .*{item}"):
        read(copied)


@pytest.mark.parametrize("widths", [(2,), (2, 4, 6)])
def test_a_checkpoint_of_other_groups_is_refused(saved, widths):
    with (
        checkpoints.open_manager(saved) as manager,
        pytest.raises(InputError, match="checkpoints/12 is damaged or does not fit its configuration"),
    ):
        checkpoints.restore(manager, *states_and_bests(*widths))


def test_another_error_is_passed_on(saved, monkeypatch):
    def broken(*args, **kwargs):
        raise PermissionError("no")

    monkeypatch.setattr(checkpoints.ocp.CheckpointManager, "restore", broken)
    with pytest.raises(PermissionError):
        read(saved)


if __name__ == "__main__":
    print(json.dumps(list(damaged_reads(Path(sys.argv[1])))))
