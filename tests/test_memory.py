"""Images that are too large are refused before they are unpacked, and before a run is begun; they are named."""

import resource

import numpy as np
import pytest
from command import refused
from PIL import Image
from tiny import DATA, LOOP, MEMBER

from jaxdae import memory, parallel, runs
from jaxdae.cli import options
from jaxdae.data import folder, load_again, pictures, read_own, room
from jaxdae.data.folder import read_folder
from jaxdae.errors import InputError
from jaxdae.memory import available_memory, is_out_of_memory, memory_named
from jaxdae.runs import loop, placement


def save(path, *sides):
    path.mkdir(exist_ok=True)
    for number, side in enumerate(sides):
        Image.fromarray(np.full((side, side), number, np.uint8)).save(path / f"{number}.png")
    return path


def grant(monkeypatch, count):
    """The memory that is free, of which pictures may fill a quarter."""
    monkeypatch.setattr(room, "available_memory", lambda: count)
    monkeypatch.setattr(room, "MIN_ROOM", 0)


def test_the_machine_has_memory_and_a_limit_of_the_process_counts():
    free = available_memory()
    assert free > 2**26
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28, hard))
    try:
        assert 2**27 < available_memory() <= 2**28
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [("memory.max", "memory.current", 700), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", 600)],
)
def test_the_limit_of_a_container_counts(tmp_path, monkeypatch, limit, used, free):
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    assert not list(memory._of_groups())
    for name, text in ((limit, "1000"), (used, "400"), ("memory.stat", "anon 5\ninactive_file 100\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    if used.startswith("memory/"):
        (tmp_path / "memory.stat").unlink()
    assert list(memory._of_groups()) == [free] and available_memory() == free
    (tmp_path / limit).write_text("max")
    assert not list(memory._of_groups())


def test_errors_of_the_memory_name_the_data_and_others_stay():
    errors = (MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 3 GB"), RuntimeError("Out of memory"))
    for error in errors:
        assert is_out_of_memory(error)
        with (
            pytest.raises(InputError, match="the images of scans are too large for the memory; give"),
            memory_named("scans"),
        ):
            raise error
    with pytest.raises(RuntimeError, match="another"), memory_named("scans"):
        raise RuntimeError("another")


def test_a_picture_of_too_many_pixels_is_left_out_before_it_is_unpacked(tmp_path):
    bomb = np.zeros((400, 500), np.uint8)
    save(tmp_path, 16, 16)
    Image.fromarray(bomb).save(tmp_path / "bomb.png")
    np.save(tmp_path / "bomb.npy", bomb)
    found = read_folder(tmp_path, max_pixels=199_999)
    assert list(found.pictures) == ["0.png", "1.png"]
    for name, sentence in found.broken.items():
        assert sentence == f"{tmp_path / name} has more than 199999 pixels; raise --max-pixels"
    assert list(found.broken) == ["bomb.npy", "bomb.png"]
    with pytest.raises(InputError, match="more than 199999 pixels"):
        read_folder(tmp_path, max_pixels=199_999, strict=True)
    assert len(read_folder(tmp_path, max_pixels=200_000).pictures) == 4


def test_a_limit_of_pixels_is_kept_for_the_next_reading(tmp_path):
    save(tmp_path, 8, 8, 16)
    own = read_own(tmp_path, max_pixels=64)
    assert own.settings["max_pixels"] == 64 and len(own.every) == 2
    again = load_again(own.describe())
    assert again.sha256 == own.sha256
    assert "max_pixels" not in read_own(tmp_path, patch=8).settings
    with pytest.raises(InputError, match="--max-pixels 0 is not allowed; give an integer of at least 1"):
        read_own(tmp_path, max_pixels=0)


def test_pictures_that_fill_the_memory_together_are_refused_when_the_first_is_too_much(tmp_path, monkeypatch):
    save(tmp_path, *[100] * 9)
    grant(monkeypatch, 4 * 99_999)  # a picture before it is unpacked counts as 60,000 bytes, then as 10,000
    reads = []
    read = pictures.read
    monkeypatch.setattr(pictures, "read", lambda *args: reads.append(args) or read(*args))
    with pytest.raises(InputError, match=rf"{tmp_path} are too large for the memory \(up to .*4.png they fill more"):
        read_folder(tmp_path)
    assert len(reads) == 5
    grant(monkeypatch, 4 * 140_000)
    assert len(read_folder(tmp_path).pictures) == 9


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a-ubyte"])
def test_arrays_that_fill_the_memory_are_refused_before_they_are_unpacked(tmp_path, monkeypatch, name):
    values = np.zeros((4, 100, 100), np.uint8)
    if name == "a-ubyte":
        (tmp_path / name).write_bytes(np.array([2051, 4, 100, 100], ">i4").tobytes() + values.tobytes())
    else:
        (np.save if name == "a.npy" else np.savez_compressed)(tmp_path / name, values)
    monkeypatch.setattr(np, "load", None)
    grant(monkeypatch, 4 * 39_999)
    with pytest.raises(InputError, match="are too large for the memory"):
        read_folder(tmp_path)


def test_values_that_become_floats_count_as_floats(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.ones((100, 100), np.uint16))
    grant(monkeypatch, 4 * 39_999)
    with pytest.raises(InputError, match="are too large for the memory"):
        read_folder(tmp_path)


def test_memory_that_ends_in_a_file_names_the_folder(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    save(tmp_path, 8, 8)
    monkeypatch.setattr(folder, "_pictures_in", fail)
    with pytest.raises(InputError, match=rf"the images of {tmp_path} are too large for the memory \(up to"):
        read_folder(tmp_path)


def test_images_that_do_not_fit_the_devices_are_named_before_a_run_is_begun(tmp_path, monkeypatch):
    needed = DATA.train.nbytes + DATA.test.nbytes
    monkeypatch.setattr(placement, "available_memory", lambda: needed - 1)
    with pytest.raises(InputError, match=r"this training are too large for the memory \(a copy would take"):
        runs.train(MEMBER, DATA, out=tmp_path / "run", **LOOP)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module, name", [(parallel, "replicate"), (np, "stack")])
def test_memory_that_ends_while_images_are_placed_names_the_data(tmp_path, monkeypatch, module, name):
    own = read_own(save(tmp_path / "in", 8, 8, 8))

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(InputError, match=rf"the images of {own.name} are too large for the memory"):
        runs.train(MEMBER, own, out=tmp_path / "run", **LOOP)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 3 GB"), RuntimeError("another")])
def test_a_run_that_never_began_for_want_of_memory_leaves_nothing(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(loop, "_untrained", lambda *_: ([], [], []))
    monkeypatch.setattr(loop, "_run_epochs", fail)
    with pytest.raises(type(error)):
        runs.train(MEMBER, DATA, out=tmp_path / "run", **LOOP)
    assert (tmp_path / "run").exists() == (str(error) == "another")


def test_the_command_says_it_of_data(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise MemoryError

    source = save(tmp_path / "in", 8, 8)
    monkeypatch.setattr(options.own, "read_own", fail)
    words = ("train", "--dataset", source, "--out", tmp_path / "run")
    refused(capsys, f"the images of {source} are too large for the memory; give fewer", *words)
    assert not (tmp_path / "run").exists()
