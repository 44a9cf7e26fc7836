"""A folder is read as it lies: what is no picture is passed over, what is broken is named."""

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
    np.testing.assert_array_equal(found.pictures["a.npy:000001"][..., 0], GREY[::-1])
    np.testing.assert_array_equal(found.pictures["below/c.png"], RGB)
    assert found.pictures["a.npy:000000"].dtype == np.uint8, "floats that are 8-bit values are stored as such"
    assert found.pictures["d.npz:two"].dtype == np.float32


def test_16_bit_pictures_keep_their_depth(tmp_path):
    values = np.array([[0, 1, 40000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", values)
    for picture in read_folder(tmp_path).pictures.values():
        np.testing.assert_allclose(picture[..., 0], values / 65535, atol=1e-7)


def test_files_that_are_no_pictures_are_passed_over_and_counted(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    for name in ("._a.png", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"none")
    found = read_folder(tmp_path)
    assert list(found.pictures) == ["a.png"] and found.passed_over == 3 and not found.broken


@pytest.mark.parametrize(
    ("name", "content"),
    [("b.png", b"none"), ("b.npy", b"none"), ("b.npz", b"PK"), ("b.npy", np.arange(9).reshape(3, 3)),
     ("b.npy", np.full((3, 3), 255.0)), ("b.npy", np.zeros((2, 3, 3, 5), np.uint8)), ("b.npy", np.zeros((0, 3)))],
)  # fmt: skip
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
    with pytest.raises(InputError, match="is one file; give a folder"):
        read_folder(tmp_path / "a.png")
