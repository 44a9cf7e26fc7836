"""A folder is read as it lies: what is no picture is passed over, what is broken is named."""

import gzip

import numpy as np
import pytest
from PIL import Image

from jaxdae.data.folder import read_folder
from jaxdae.errors import InputError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
RGB = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)


def test_pictures_and_arrays_are_read_by_sorted_name(tmp_path):
    (tmp_path / "below").mkdir()
    Image.fromarray(RGB).save(tmp_path / "below" / "c.png")
    Image.fromarray(GREY).save(tmp_path / "b.png")
    np.save(tmp_path / "a.npy", np.stack([GREY, GREY[::-1]]) / np.float32(255))
    np.savez(tmp_path / "d.npz", one=RGB, two=np.full((5, 5), 0.3))
    found = read_folder(tmp_path)
    assert list(found.pictures) == [
        "a.npy:000000", "a.npy:000001", "b.png", "below/c.png", "d.npz:one", "d.npz:two"
    ]  # fmt: skip
    assert found.passed_over == 0 and found.broken == {}
    np.testing.assert_array_equal(found.pictures["a.npy:000001"].values[..., 0], GREY[::-1] / np.float32(255))
    np.testing.assert_array_equal(found.pictures["below/c.png"].values, RGB)
    assert [picture.group for picture in found.pictures.values()] == [
        "a.npy", "a.npy", "b.png", "below/c.png", "d.npz", "d.npz"
    ]  # fmt: skip
    assert [picture.unit for picture in found.pictures.values()] == [True, True, False, False, False, True]


def test_pictures_keep_their_type(tmp_path):
    values = np.array([[0, 1, 40000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", values)
    np.save(tmp_path / "c.npy", values - 40000.0)
    for name, picture in read_folder(tmp_path).pictures.items():
        np.testing.assert_array_equal(picture.values[..., 0], values - (40000.0 if name == "c.npy" else 0))
        assert picture.values.dtype == (np.float64 if name == "c.npy" else np.uint16) and not picture.unit


def idx(*shape, magic=2051):
    return np.array([magic, *shape], ">i4").tobytes() + bytes(range(int(np.prod(shape))))


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-images.idx3-ubyte.gz", "A.IDX"])
def test_idx_files_are_read_in_folders_and_alone(tmp_path, name):
    content = idx(2, 3, 4)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for found in (read_folder(tmp_path), read_folder(tmp_path / name)):
        assert list(found.pictures) == [f"{name}:000000", f"{name}:000001"]
        second = found.pictures[f"{name}:000001"].values
        np.testing.assert_array_equal(second[..., 0], np.arange(12, 24, dtype=np.uint8).reshape(3, 4))
        assert second.dtype == np.uint8


def test_one_picture_file_of_several_pages_is_read(tmp_path):
    pages = [Image.fromarray(GREY + i) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    found = read_folder(tmp_path / "a.tif")
    assert list(found.pictures) == ["a.tif:000000", "a.tif:000001", "a.tif:000002"]


def test_files_that_are_no_pictures_are_passed_over_and_counted(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    for name in ("._a.png", "Thumbs.db", "a.png.compare.png"):
        (tmp_path / name).write_bytes(b"none")
    found = read_folder(tmp_path)
    assert list(found.pictures) == ["a.png"] and found.passed_over == 3 and not found.broken


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.png", b"none"),
        ("b.npy", b"none"),
        ("b.npz", b"PK"),
        ("b.npy", np.arange(9).reshape(3, 3)),
        ("b.npy", np.array([[0, np.nan]])),
        ("b.npy", np.zeros((2, 3, 3, 5), np.uint8)),
        ("b.npy", np.zeros((0, 3))),
        ("b-idx1-ubyte", idx(5, 1, 1, magic=2049)),
        ("b-idx3-ubyte", idx(2, 3, 4)[:-1]),
    ],
)
def test_broken_files_are_named_and_left_out_or_refused(tmp_path, name, content):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        np.save(tmp_path / name, content)
    found = read_folder(tmp_path)
    assert list(found.pictures) == ["a.png"] and list(found.broken) == [name]
    assert str(tmp_path / name) in found.broken[name] and "\n" not in found.broken[name]
    with pytest.raises(InputError, match=name):
        read_folder(tmp_path, strict=True)


def test_a_folder_without_pictures_is_refused(tmp_path):
    for path, sentence in ((tmp_path, "holds no picture; known"), (tmp_path / "x", "does not exist; give a folder")):
        with pytest.raises(InputError, match=sentence):
            read_folder(path)
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match="holds no picture that can be read: .*a.png"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="a.png cannot be read as a picture"):
        read_folder(tmp_path / "a.png")
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="a.txt is no picture; give a folder of pictures or one file, known: .png"):
        read_folder(tmp_path / "a.txt")
