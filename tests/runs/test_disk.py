"""Disks that are full or read-only while a run is written: one sentence, and what was saved before stays."""

import errno
import shutil

import jax
import numpy as np
import pytest
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae.errors import CannotWrite
from jaxdae.runs import checkpoints, disk, folder, load_run

TENSORSTORE = ValueError(
    "RESOURCE_EXHAUSTED: Failed writing: \"/x\": No space left on device [os_error_code='28']\nmore"
)


def failing(error, at):
    """Fails the so-manieth time it is called."""
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == at:
            raise error

    return fail


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), TENSORSTORE])
def test_it_is_said_with_what_is_saved(tmp_path, error):
    with pytest.raises(CannotWrite) as raised, disk.failures_named(tmp_path / "run"):
        raise error
    assert "No space left on device" in str(raised.value) and "no checkpoint was saved yet" in str(raised.value)
    assert "\n" not in str(raised.value)
    (tmp_path / "run" / folder.CHECKPOINTS / "7").mkdir(parents=True)
    sentence = "checkpoint 7, the newest, is whole; mend this and continue with"
    with pytest.raises(CannotWrite, match=sentence), disk.failures_named(tmp_path / "run"):
        raise error


def test_other_errors_are_passed_on(tmp_path):
    with pytest.raises(ValueError, match="a defect"), disk.failures_named(tmp_path):
        raise ValueError("a defect")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["append_history", "save"])
def test_a_run_that_cannot_be_written_keeps_the_last_checkpoint_and_goes_on_from_it(tmp_path, monkeypatch, what):
    whole = jaxdae.train(MEMBER, DATA, out=tmp_path / "whole", **LOOP)
    module = folder if what == "append_history" else checkpoints
    fail, original = failing(OSError(errno.ENOSPC, "No space left on device"), at=2), getattr(module, what)
    with monkeypatch.context() as patch:
        patch.setattr(module, what, lambda *args: (fail(), original(*args))[1])
        with pytest.raises(CannotWrite, match="checkpoint 2, the newest, is whole"):
            jaxdae.train(MEMBER, DATA, out=tmp_path / "run", **LOOP)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    run = jaxdae.resume(tmp_path / "copy", DATA)
    for x, y in zip(*map(jax.tree.leaves, (run.params, whole.params)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert [line["epoch"] for line in load_run(tmp_path / "copy").history] == [1, 2, 3]
