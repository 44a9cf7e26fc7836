"""A run folder is held by one process at a time, and free again when that one ends or is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae.errors import CannotWrite, InputError
from jaxdae.runs import folder
from jaxdae.runs.lock import locked

HOLD = """
import pathlib, sys, time
from jaxdae.runs.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.slow
def test_a_folder_in_use_is_refused_with_its_holder_until_that_is_dead(tmp_path, holder):
    path = tmp_path / "run"
    for start in (lambda: jaxdae.train(MEMBER, DATA, out=path, **LOOP), lambda: locked(path).__enter__()):
        with pytest.raises(InputError, match=f"run is in use by process {holder.pid} on .*; wait for it, stop it"):
            start()
    assert [file.name for file in path.iterdir()] == [folder.LOCK]
    holder.kill()
    holder.wait()
    jaxdae.train(MEMBER, DATA, out=path, **LOOP | {"epochs": 1})
    assert not (path / folder.LOCK).exists()


def test_a_lock_ends_with_its_block_and_names_this_process(tmp_path):
    with locked(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / folder.LOCK).read_text()
        with pytest.raises(InputError, match=f"in use by process {os.getpid()}"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_disk_that_turned_read_only_hides_no_error(tmp_path, monkeypatch):
    def read_only(*_, **__):
        raise OSError("read-only")

    with pytest.raises(CannotWrite, match="the run"), locked(tmp_path):
        monkeypatch.setattr(Path, "unlink", read_only)
        raise CannotWrite("the run")
    monkeypatch.undo()
    with locked(tmp_path):  # what it left is taken over
        pass
    assert not list(tmp_path.iterdir())
