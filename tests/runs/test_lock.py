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


@pytest.mark.parametrize("kind", ["link", "link to nothing", "hard link", "file of its own", "folder", "pipe"])
def test_a_lock_that_is_no_file_of_a_run_is_refused_and_nothing_changes(tmp_path, kind):
    mine, run = tmp_path / "mine", tmp_path / "run"
    mine.write_text("dear\n")
    run.mkdir()
    lock = run / folder.LOCK
    make = {
        "link": lambda: lock.symlink_to(mine),
        "link to nothing": lambda: lock.symlink_to(tmp_path / "nothing"),
        "hard link": lambda: lock.hardlink_to(mine),
        "file of its own": lambda: lock.write_bytes(b"\xff dear"),
        "folder": lock.mkdir,
        "pipe": lambda: os.mkfifo(lock),
    }
    make[kind]()
    with (
        pytest.raises(InputError, match=rf"{lock} (is a link to|is not a file|holds what no run)") as error,
        locked(run),
    ):
        pass
    assert "\n" not in str(error.value)
    assert mine.read_text() == "dear\n" and not (tmp_path / "nothing").exists()
    assert os.path.lexists(lock) and (kind != "file of its own" or lock.read_bytes() == b"\xff dear")


def test_what_a_killed_process_left_is_taken_over(tmp_path):
    for left in ("", "process 1 on elsewhere\n"):
        (tmp_path / folder.LOCK).write_text(left)
        with locked(tmp_path):
            assert f"process {os.getpid()} on" in (tmp_path / folder.LOCK).read_text()


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with pytest.raises(InputError, match="of the run"), locked(tmp_path / "a" / "run"):
        raise InputError("of the run")
    assert not list(tmp_path.iterdir())
