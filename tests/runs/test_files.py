"""Files are written whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest

from jaxdae.errors import InputError
from jaxdae.runs.files import atomic, atomic_files, remove_temporary, write_text


def test_a_file_appears_whole_in_a_new_folder(tmp_path):
    path = tmp_path / "deep" / "notes.txt"
    with atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists() and temporary.parent == path.parent
        temporary.write_text("whole")
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_a_failed_write_changes_nothing(tmp_path, error):
    write_text(tmp_path / "notes.txt", "old")
    for name in ("notes.txt", "new.txt"):
        with pytest.raises(type(error)), atomic(tmp_path / name) as temporary:
            temporary.write_text("half")
            raise error
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"notes.txt": "old"}
    with pytest.raises(type(error)), atomic(tmp_path / "new" / "deep" / "a.txt"):
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_what_killed_processes_left_is_removed(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    left = f".{killed.pid}-a.png"
    for name in (left, f".{os.getpid()}-a.png", f".{os.getppid()}-b.png", ".lock", "a.png", ".hidden-1"):
        (tmp_path / name).touch()
    remove_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".{os.getppid()}-b.png", ".hidden-1", ".lock", "a.png"]


def test_a_full_disk_is_named_with_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space.*notes.txt"), atomic(tmp_path / "notes.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("name", ["image.png", "params.npz", "metrics.jsonl", "plain", "two.parts.tif"])
def test_the_suffix_is_kept(tmp_path, name):
    with atomic(tmp_path / name) as temporary:
        assert temporary.suffix == (tmp_path / name).suffix
        temporary.touch()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("exists", [True, False])
def test_files_of_a_folder_are_written_whole_or_not_at_all(tmp_path, exists):
    folder = tmp_path / "folder"
    if exists:
        folder.mkdir()
        (folder / "other").write_text("mine")
    kept = ["other"] if exists else []
    with pytest.raises(OSError, match="full"), atomic_files(folder) as temporary:
        (temporary / "a").write_text("half")
        raise OSError("full")
    assert [path.name for path in tmp_path.rglob("*")] == (["folder", *kept] if exists else [])
    with atomic_files(folder) as temporary:
        (temporary / "a").write_text("whole")
    assert sorted(path.name for path in folder.iterdir()) == ["a", *kept]


def test_a_named_pipe_is_not_replaced_and_nothing_else_is(tmp_path):
    os.mkfifo(tmp_path / "b")
    with pytest.raises(InputError, match="b is a named pipe"), atomic_files(tmp_path) as temporary:
        for name in ("a", "b"):
            (temporary / name).write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"] and (tmp_path / "b").is_fifo()


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("dear")
    (tmp_path / f".{os.getpid()}-a.txt").symlink_to(mine)
    (tmp_path / "a.txt").symlink_to(mine)
    write_text(tmp_path / "a.txt", "new")
    assert mine.read_text() == "dear"
    assert (tmp_path / "a.txt").read_text() == "new" and not (tmp_path / "a.txt").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "mine"]
