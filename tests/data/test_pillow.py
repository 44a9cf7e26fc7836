"""JPEG, WebP, GIF, BMP and Netpbm files keep what their formats can keep; what is lost is said."""

import netpbmfile
import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin
from roundtrip import again, assert_same

from jaxdae.data import pictures
from jaxdae.errors import InputError

GREY = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24).clip(0, 255).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def exif():
    made = Image.Exif()
    made[0x0112] = 8
    return made


@pytest.mark.parametrize(("quality", "sampling"), [(40, 2), (99, 0)])
def test_jpeg_keeps_its_metadata_and_is_written_finely(tmp_path, quality, sampling):
    Image.fromarray(COLOUR).save(
        tmp_path / "a.jpg", exif=exif(), dpi=(200, 200), comment="note", xmp=XMP, icc_profile=SRGB, progressive=True,
        quality=quality, subsampling=sampling,
    )  # fmt: skip
    picture, _ = again(tmp_path / "a.jpg")
    assert picture.notes == ()
    with Image.open(tmp_path / "a.jpg") as old, Image.open(tmp_path / "again-a.jpg") as new:
        assert new.getexif()[0x0112] == 8 and new.info["icc_profile"] == SRGB and new.info["xmp"] == XMP
        assert new.info["dpi"] == (200, 200) and new.info["comment"] == b"note" and new.info["progressive"]
        assert JpegImagePlugin.get_sampling(new) == sampling
        finer = sum(new.quantization[0]) < sum(old.quantization[0])
        assert finer if quality == 40 else new.quantization == old.quantization


def test_the_constant_of_fine_tables_is_that_of_the_quality(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg", quality=pictures.pillow.QUALITY)
    with Image.open(tmp_path / "a.jpg") as image:
        assert sum(image.quantization[0]) == pictures.pillow.FINE


def test_segments_and_pictures_that_jpeg_loses_are_said(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xed\x00\x10Photoshop 3.0\0" + data[2:])
    assert pictures.read(tmp_path / "a.jpg").notes == ("its segments APP13 (such as IPTC captions) cannot be kept",)
    one = Image.fromarray(COLOUR)
    one.save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=[one])
    picture, written = again(tmp_path / "b.jpg")
    assert len(picture.pages) == len(written.pages) == 1 and "MPO" in picture.notes[0]


def test_webp_stays_without_loss_if_it_was(tmp_path):
    clear = np.concatenate([COLOUR, GREY[..., None]], -1)
    Image.fromarray(clear).save(tmp_path / "a.webp", lossless=True, exact=True, exif=exif(), icc_profile=SRGB, xmp=XMP)
    assert_same(tmp_path / "a.webp")
    with Image.open(tmp_path / "again-a.webp") as image:
        assert image.getexif()[0x0112] == 8 and image.info["icc_profile"] == SRGB and image.info["xmp"] == XMP
    Image.fromarray(COLOUR).save(tmp_path / "b.webp", quality=60)
    again(tmp_path / "b.webp")
    assert b"VP8 " in (tmp_path / "again-b.webp").read_bytes()[:40]


@pytest.mark.parametrize("name", ["a.webp", "b.webp", "a.gif"])
def test_equal_frames_stay_apart(tmp_path, name):
    frames = [Image.fromarray(f) for f in (COLOUR, 255 - COLOUR, COLOUR[::-1].copy())]
    more = {"lossless": name == "a.webp"} if "webp" in name else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=[40, 250, 70], loop=2, **more)
    picture = pictures.read(tmp_path / name)
    pictures.write(tmp_path / f"again-{name}", picture, [picture.pages[1] / np.float32(255)] * 3)
    with Image.open(tmp_path / f"again-{name}") as image:
        assert image.n_frames == 3 and image.info["loop"] == 2
        durations = []
        for number in range(3):
            image.seek(number)
            image.load()
            durations.append(image.info["duration"])
            off = np.abs(np.asarray(image.convert("RGB")).astype(int) - picture.pages[1]).mean()
            assert off < 3
        assert durations == [40, 250, 70]
    assert bool(picture.notes) == (name == "a.gif")


def test_gif_keeps_transparency_and_comment(tmp_path):
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "a.gif", transparency=2, comment=b"hello")
    picture, written = again(tmp_path / "a.gif")
    np.testing.assert_array_equal(picture.alpha[0], written.alpha[0])
    assert 0 in picture.alpha[0] and "quantized" in picture.notes[0]
    with Image.open(tmp_path / "again-a.gif") as image:
        assert image.info["comment"] == b"hello"


@pytest.mark.parametrize("values", [GREY, COLOUR, GREY > 99])
def test_bmp_comes_back(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "a.bmp", dpi=(100, 100))
    picture, _ = assert_same(tmp_path / "a.bmp")
    assert picture.pages[0].dtype == values.dtype


@pytest.mark.parametrize(
    ("values", "most"),
    [(GREY, 255), (GREY // 16, 15), (GREY.astype(np.uint16) * 4, 1023), (GREY.astype(np.uint16) * 257, 65535),
     (COLOUR.astype(np.uint16) * 257, 65535), (COLOUR, 255), (GREY > 99, 1)],
)  # fmt: skip
def test_netpbm_keeps_its_largest_value(tmp_path, values, most):
    netpbmfile.imwrite(tmp_path / "a.pnm", values, maxval=most)
    picture, written = assert_same(tmp_path / "a.pnm")
    np.testing.assert_array_equal(picture.pages[0], values.reshape(*values.shape[:2], -1))
    with netpbmfile.NetpbmFile(tmp_path / "again-a.pnm") as file:
        assert file.maxval == most
    if picture.pages[0].dtype != np.uint16:
        assert (picture.black, picture.white) == ((1, 0) if values.dtype == bool else (0, most))
    bright = [np.full((*values.shape[:2], picture.pages[0].shape[-1]), 9, np.float32)]
    if picture.black == 0 or values.dtype == np.uint16:
        assert max(page.max() for page in pictures.stored(picture, bright)) == most
    assert written.limit == picture.limit


def test_what_is_refused(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", format="JPEG2000")
    Image.new("CMYK", (9, 9)).save(tmp_path / "a.jpg")
    (tmp_path / "a.pgm").write_bytes(b"P5\n9 9\n255\nshort")
    (tmp_path / "a.bmp").write_text("no picture")
    for name, sentence in {
        "a.png": "is a JPEG2000 file, which cannot be written back", "a.jpg": "CMYK without",
        "a.pgm": "cannot be read", "a.bmp": "cannot be read",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=sentence) as error:
            pictures.read(tmp_path / name)
        assert "\n" not in str(error.value)
