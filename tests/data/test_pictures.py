"""Picture files keep their name, size, format and depth."""

import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from roundtrip import again, assert_same
from tiny import pixels

from jaxdae.data import picture_files, pictures
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
    assert picture.pages[0].shape == (12, 9, 1 if mode in ("L", "LA") else 3)
    pictures.write(tmp_path / f"again{name}", picture, pictures.unit_scale(picture))
    with Image.open(tmp_path / f"again{name}") as again:
        assert again.mode == mode
    np.testing.assert_array_equal(pixels(tmp_path / f"again{name}"), np.asarray(original))


def test_sixteen_bits_stay_sixteen(tmp_path):
    deep = GREY.astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save(tmp_path / "a.png")
    picture = pictures.read(tmp_path / "a.png")
    pictures.write(tmp_path / "b.png", picture, pictures.unit_scale(picture))
    np.testing.assert_array_equal(pixels(tmp_path / "b.png"), deep)


def test_jpeg_keeps_its_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = pictures.read(tmp_path / "a.jpg")
    pictures.write(tmp_path / "b.jpg", picture, pictures.unit_scale(picture))
    with Image.open(tmp_path / "b.jpg") as written:
        assert written.getexif()[0x0112] == 6


def test_folders_keep_their_order(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("one.png", "deep/two.JPG", "notes.txt"):
        (tmp_path / "in" / name).touch()
    found = picture_files.find([tmp_path / "in"], tmp_path / "out")
    assert {path.name: target.relative_to(tmp_path / "out").as_posix() for path, target in found.items()} == {
        "one.png": "one.png", "two.JPG": "deep/two.JPG"
    }  # fmt: skip


def test_what_is_refused(tmp_path):
    def refused(sentence, *names, out="out"):
        with pytest.raises(InputError, match=sentence):
            for path in picture_files.find([tmp_path / name for name in names], tmp_path / out):
                pictures.read(path)

    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "a.xyz").touch()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    for folder in (".", "other"):
        Image.fromarray(GREY).save(tmp_path / folder / "a.png")
    refused("gone.png does not exist", "gone.png")
    refused("empty holds no picture; known: .png, .apng, .jpg", "empty")
    refused("a.xyz is not a picture that can be written back", "a.xyz")
    refused("a.png and .*other/a.png would both become", "a.png", "other/a.png")
    refused("a.png exists already; choose another folder", "a.png", out=".")
    refused("broken.png cannot be read as a picture", "broken.png")


def test_what_lies_beyond_black_and_white_becomes_them(tmp_path):
    picture = pictures.Picture((np.zeros((1, 2, 1), np.uint8),), (None,), "pillow", {"format": "BMP"}, 0, 255)
    pictures.write(tmp_path / "a.bmp", picture, [np.array([[[-0.3], [1.2]]], np.float32)])
    assert pixels(tmp_path / "a.bmp").tolist() == [[0, 255]]


@pytest.mark.parametrize("kind", ["uint16", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_tiff_pages_keep_type_scale_and_polarity(tmp_path, kind, photometric):
    low = 0 if kind == "uint16" else -100
    pages = (GREY.astype(int) // 2 + low).astype(kind)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in (pages, pages[::-1]):
            file.write(page, photometric=photometric, metadata=None, resolution=(72, 72))
    picture, _ = assert_same(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pages[1][..., 0], pages[::-1])
    assert (picture.black > picture.white) == (photometric == "miniswhite")
    with tifffile.TiffFile(tmp_path / "again-a.tif") as file:
        assert file.pages[1].photometric.name.lower() == photometric
        assert file.pages[0].tags["XResolution"].value == (72, 1)


def test_the_range_is_measured_over_all_pages_or_given(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for add in (500, 5000):
            file.write(GREY.astype(np.uint16) + add, metadata=None)
    picture = pictures.read(tmp_path / "a.tif")
    assert picture.black < 510 and picture.white > 5200
    given = pictures.read(tmp_path / "a.tif", (0, 10000))
    assert (given.black, given.white) == (0, 10000)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_of_16_bit_colour_keeps_16_bits(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, channels), np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    with Image.open(tmp_path / "a.png") as image:  # Pillow reads the high bytes
        image.load()
        np.testing.assert_array_equal(np.asarray(image)[..., 0], values[..., 0] >> 8)
    picture, _ = assert_same(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pages[0], values[..., : channels - (channels in (2, 4))])


@pytest.mark.parametrize("often", [1, 80])
@pytest.mark.parametrize(
    ("kind", "nothing", "tagged"),
    [("float32", -9999, False), ("float32", -3.4028235e38, False), ("int32", -(2**31), False),
     ("float64", 1e300, False), ("float32", -50, True), ("int16", -50, True)],
)  # fmt: skip
def test_values_that_stand_for_nothing_stay_exactly(tmp_path, kind, nothing, tagged, often):
    values = (np.tile(GREY, (8, 9)) / 5).astype(kind)
    values[5, :often] = nothing
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, 2, 0, str(nothing), True)] if tagged else [])
    picture = pictures.read(tmp_path / "a.tif")
    [page] = pictures.unit_scale(picture)
    assert np.isfinite(page).all() and page[5, 0, 0] == (nothing > 0)
    assert (
        0 <= picture.black < 1
        and 40 < picture.white < 44
        and pictures.left_as_they_are(picture).startswith(f"{often} values stay")
    )
    [written] = pictures.stored(picture, [page * 0 + 0.3])
    np.testing.assert_array_equal(written[5, :often, 0], values[5, :often])
    assert (written[6] != values[6][:, None]).any()


def test_animations_keep_their_frames(tmp_path):
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    for name in ("a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=[100, 250], lossless=True)
        picture, written = again(tmp_path / name)
        assert len(picture.pages) == len(written.pages) == 2


def test_what_cannot_be_read_gets_one_sentence(tmp_path):
    Image.new("CMYK", (9, 9)).save(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "a.tif", np.full((9, 9), np.nan, np.float32))
    (tmp_path / "b.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    for name, sentence in (("a.jpg", "CMYK without"), ("a.tif", "not finite"), ("b.tif", "cannot be read")):
        with pytest.raises(InputError, match=sentence) as error:
            pictures.read(tmp_path / name)
        assert "\n" not in str(error.value)


FIELD = Path(os.environ.get("JAXDAE_MANUAL_DIR", "none")) / "field"


@pytest.mark.skipif(not FIELD.is_dir(), reason="JAXDAE_MANUAL_DIR has no folder field of real files")
def test_real_files_come_back_or_are_refused(tmp_path):
    refused = set()
    for path in sorted([*(FIELD / "pictures").iterdir(), *(FIELD / "micro").iterdir()]):
        try:
            picture = pictures.read(path)
        except InputError:
            refused.add(path.name)
            continue
        pictures.write(tmp_path / path.name, picture, pictures.unit_scale(picture))
        written = pictures.read(tmp_path / path.name)
        assert [(p.shape, p.dtype) for p in picture.pages] == [(p.shape, p.dtype) for p in written.pages], path
    assert refused <= {
        "pil_png_decompression_dos.png", "pil_seek_too_large.tif",
        "pil_tiff_strip_cmyk_jpeg.tif", "pil_truncated_jpeg.jpg",
    }  # fmt: skip
