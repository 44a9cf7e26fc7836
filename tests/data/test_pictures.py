"""Picture files keep their name, size, format and depth."""

import numpy as np
import pytest
from PIL import Image
from tiny import pixels

from jaxdae.data import pictures
from jaxdae.errors import InputError

GREY = np.arange(12 * 9, dtype=np.uint8).reshape(12, 9) * 2
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "L"), ("a.png", "RGB"), ("a.png", "LA"), ("a.png", "RGBA"), ("a.tif", "L"), ("a.tiff", "RGB")],
)
def test_what_is_read_is_written_back(tmp_path, name, mode):
    original = Image.fromarray(COLOUR).convert(mode)
    original.save(tmp_path / name)
    picture = pictures.read(tmp_path / name)
    assert picture.pixels.shape == (12, 9, 1 if mode in ("L", "LA") else 3)
    pictures.write(tmp_path / f"again{name}", picture, picture.pixels)
    with Image.open(tmp_path / f"again{name}") as again:
        assert again.mode == mode
    np.testing.assert_array_equal(pixels(tmp_path / f"again{name}"), np.asarray(original))


def test_sixteen_bits_stay_sixteen(tmp_path):
    deep = GREY.astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save(tmp_path / "a.png")
    picture = pictures.read(tmp_path / "a.png")
    pictures.write(tmp_path / "b.png", picture, picture.pixels)
    np.testing.assert_array_equal(pixels(tmp_path / "b.png"), deep)


def test_jpeg_keeps_its_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = pictures.read(tmp_path / "a.jpg")
    pictures.write(tmp_path / "b.jpg", picture, picture.pixels)
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.getexif()[0x0112] == 6


def test_folders_keep_their_order(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("one.png", "deep/two.JPG", "notes.txt"):
        (tmp_path / "in" / name).touch()
    found = pictures.find([tmp_path / "in"], tmp_path / "out")
    assert {path.name: target.relative_to(tmp_path / "out").as_posix() for path, target in found.items()} == {
        "one.png": "one.png", "two.JPG": "deep/two.JPG"
    }  # fmt: skip


def test_what_is_refused(tmp_path):
    def refused(sentence, *names, out="out"):
        with pytest.raises(InputError, match=sentence):
            for path in pictures.find([tmp_path / name for name in names], tmp_path / out):
                pictures.read(path)

    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "a.gif").touch()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    for folder in (".", "other"):
        Image.fromarray(GREY).save(tmp_path / folder / "a.png")
    Image.fromarray(GREY).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(GREY)])
    refused("gone.png does not exist", "gone.png")
    refused("empty holds no picture; known: .png, .jpg", "empty")
    refused("a.gif is not a picture that can be written back", "a.gif")
    refused("a.png and .*other/a.png would both become", "a.png", "other/a.png")
    refused("a.png exists already; choose another folder", "a.png", out=".")
    refused("broken.png cannot be read as a picture", "broken.png")
    refused("pages.tif has 2 pages", "pages.tif")


def test_what_lies_beyond_black_and_white_becomes_them(tmp_path):
    picture = pictures.Picture(np.zeros((1, 2, 1), np.float32), None, False, {})
    pictures.write(tmp_path / "a.png", picture, np.array([[[-0.3], [1.2]]], np.float32))
    assert pixels(tmp_path / "a.png").tolist() == [[0, 255]]
