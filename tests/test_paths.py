"""What is no file is refused before it is opened: a named pipe would never answer."""

import contextlib
import os
import signal
import socket

import numpy as np
import pytest
from PIL import Image
from tiny import DATA, MEMBER

from jaxdae import load_denoiser
from jaxdae.data import datasets, picture_files, pictures, read_own
from jaxdae.data.folder import read_folder
from jaxdae.errors import InputError, printable
from jaxdae.exchange import saved
from jaxdae.paths import special_kind
from jaxdae.runs import checkpoints, folder, writers
from jaxdae.runs.files import write_text
from jaxdae.runs.folder import Config, Loop

GRAY = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.fixture(autouse=True)
def _nothing_waits():
    """A fault makes a test fail, not wait."""

    def fail(*_):
        raise TimeoutError("it waits for a named pipe")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(GRAY).save(path)
    return path


def test_kinds_have_names_and_links_are_followed(tmp_path):
    (tmp_path / "link").symlink_to(pipe(tmp_path / "pipe"))
    with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        names = ("pipe", "link", "socket", "/dev/zero", "gone", ".")
        kinds = [special_kind(tmp_path / name) for name in names]
    assert kinds == ["named pipe", "named pipe", "socket", "device", "", ""]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.png", pictures.read),
        ("a.npy", read_folder),
        ("a.png", lambda path: read_own(path.parent, target=path)),
        ("a.png", lambda path: picture_files.find([path], path.parent / "out")),
        ("a.h5", load_denoiser),
        ("train-images-idx3-ubyte", lambda path: datasets._by_hand("mnist", "train", path.parent)),
        ("train-images-idx3-ubyte", lambda path: datasets._verified(path, "mnist", "train", "")),
        ("model.safetensors", lambda path: load_denoiser(path.parent)),
        ("denoiser.json", lambda path: saved.load_card(path.parent)),
        ("config.json", lambda path: folder.load_config(path.parent)),
        ("config.json", lambda path: load_denoiser(path.parent)),
        ("metrics.jsonl", lambda path: folder.read_history(path.parent)),
        ("metrics.jsonl", lambda path: folder.append_history(path.parent, [])),
        ("logs/writers.json", lambda path: writers.saved_settings(path.parents[1])),
        ("3/params/d/0", lambda path: checkpoints.open_manager(path.parents[3])),
        ("set.npz", lambda path: write_text(path, "")),
    ],
)  # fmt: skip
def test_a_named_pipe_is_refused(tmp_path, name, read):
    if name == "model.safetensors":
        (tmp_path / "denoiser.json").write_text('{"schema": 1, "card": {}}')
    save(tmp_path / "other.png")
    path = pipe(tmp_path / name)
    with pytest.raises(InputError, match=rf"{path.name} is a named pipe, not a file; give a file"):
        read(path)


def test_named_pipes_in_folders_are_passed_over_and_counted(tmp_path):
    source = tmp_path / "in"
    save(source / "a.png")
    pipe(source / "b.png")
    pipe(source / "notes.txt")
    out = tmp_path / "out"
    assert [path.name for path in picture_files.find([source], out)] == ["a.png"]
    said = picture_files.passed_over([source], out)
    assert said == "2 files of other kinds were passed over: named pipe"
    found = read_folder(source)
    assert list(found.pictures) == ["a.png"] and found.passed_over == 2 and not found.broken


def test_a_link_that_leads_nowhere_is_named_in_a_folder_for_training(tmp_path):
    save(tmp_path / "a.png")
    for name in ("b.png", "c.npy", "d-ubyte"):
        (tmp_path / name).symlink_to("gone")
    found = read_folder(tmp_path)
    assert list(found.pictures) == ["a.png"] and list(found.broken) == ["b.png", "c.npy", "d-ubyte"]


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_log_that_is_no_file_of_its_own_gets_no_line(tmp_path, kind):
    other = tmp_path / "other"
    other.write_text("mine")
    log = tmp_path / folder.METRICS
    log.symlink_to(other) if kind == "link" else pipe(log)
    with pytest.raises(InputError, match=r"metrics.jsonl is a (link|named pipe)"):
        folder.append_history(tmp_path, [{"epoch": 1}])
    assert other.read_text() == "mine"


def test_a_run_is_replaced_without_what_its_links_lead_to(tmp_path):
    run, mine = tmp_path / "run", tmp_path / "mine"
    folder.write_config(run, Config((MEMBER,), Loop(), DATA.describe()))
    (mine / "3").mkdir(parents=True)
    for name in ("notes", ".99999999-left"):
        (mine / name).write_text("dear")
    for name in (folder.CHECKPOINTS, folder.FIGURES, folder.LOGS):
        (run / name).symlink_to(mine)
    (run / folder.METRICS).symlink_to(mine / "notes")
    folder.remove_half_written(run)
    folder.make_room(run)
    assert not list(run.iterdir())
    assert sorted(path.name for path in mine.iterdir()) == [".99999999-left", "3", "notes"]
    assert (mine / "notes").read_text() == "dear"


@pytest.mark.parametrize("name", [folder.CHECKPOINTS, folder.FIGURES, folder.LOGS, "checkpoints/3"])
def test_a_folder_of_a_run_that_is_a_link_is_refused(tmp_path, name):
    run, mine = tmp_path / "run", tmp_path / "mine"
    mine.mkdir()
    (run / name).parent.mkdir(parents=True)
    (run / name).symlink_to(mine)
    with pytest.raises(InputError, match=f"{name} is a link to .*mine, and a run changes nothing"):
        folder.require_own_folders(run)
    (tmp_path / "linked").symlink_to(tmp_path / "whole")
    (tmp_path / "whole" / folder.CHECKPOINTS).mkdir(parents=True)
    folder.require_own_folders(tmp_path / "linked")


def test_names_are_printed_with_what_steers_a_terminal_escaped():
    assert printable("a\x1b[31m\nb\u202e \udcff é.png") == r"a\x1b[31m\nb\u202e \udcff é.png"
