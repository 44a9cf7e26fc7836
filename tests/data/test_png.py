"""PNG files keep their depth, chunks and frames."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from roundtrip import assert_same
from tiny import pixels

from jaxdae.data import pictures, png
from jaxdae.errors import InputError

GREY = np.arange(12 * 18, dtype=np.uint8).reshape(12, 18)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)
DEEP = COLOUR.astype(np.uint16) * 257 + 3
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>6</tiff:Orientation></x:xmpmeta>'


def chunks_of(path):
    return png._chunks(path.read_bytes())[0]


def write_chunks(path, chunks):
    parts = [struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks]
    path.write_bytes(png.SIGNATURE + b"".join(parts))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_stay_16(tmp_path, channels):
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, channels), np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values if channels > 1 else values[..., 0]))
    picture, _ = assert_same(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pages[0], values[..., : channels - (channels in (2, 4))])
    assert (picture.alpha[0] is None) == (channels in (1, 3))


@pytest.mark.parametrize("values", [GREY, COLOUR, DEEP, GREY > 99])
def test_chunks_stay(tmp_path, values):
    """Text, XMP with an orientation, gamma, colour profile, resolution and EXIF, for every depth."""
    exif = Image.Exif()
    exif[0x0112] = 6
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "field")
    text.add_text("Long", "y" * 99, zip=True)
    text.add_itxt("XML:com.adobe.xmp", XMP)
    text.add(b"gAMA", struct.pack(">I", 45455))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(GREY).save(tmp_path / "b.png", pnginfo=text, dpi=(300, 200), exif=exif, icc_profile=profile)
    more = [chunk for chunk in chunks_of(tmp_path / "b.png") if chunk[0] not in png.MADE_ANEW]
    Image.fromarray(values if values is not DEEP else COLOUR).save(tmp_path / "a.png")
    if values is DEEP:
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(DEEP))
    head, *rest = chunks_of(tmp_path / "a.png")
    write_chunks(tmp_path / "a.png", [head, *more, (b"bKGD", b"\0\0" * (3 if values.ndim == 3 else 1)), *rest])
    picture, _ = assert_same(tmp_path / "a.png")
    written = chunks_of(tmp_path / "again-a.png")
    assert {b"tEXt", b"zTXt", b"iTXt", b"gAMA", b"iCCP", b"pHYs", b"eXIf"} == {name for name, _ in more}
    assert [chunk for chunk in written if chunk[0] not in png.MADE_ANEW] == more
    assert picture.notes == ("its chunks bKGD cannot be kept",)
    with Image.open(tmp_path / "again-a.png") as image:
        image.load()
        assert image.text["Title"] == "field" and image.info["icc_profile"] == profile
        assert image.getexif()[0x0112] == 6 and image.info["dpi"] == pytest.approx((300, 200), abs=0.1)


def test_a_transparent_colour_or_entry_becomes_alpha(tmp_path):
    key = tuple(int(value) for value in COLOUR[3, 4])
    Image.fromarray(COLOUR).save(tmp_path / "a.png", transparency=key)
    Image.fromarray(COLOUR).quantize(16).save(tmp_path / "b.png", transparency=3)
    head, *rest = png._chunks(imagecodecs.png_encode(np.ascontiguousarray(DEEP[..., 0])))[0]
    write_chunks(tmp_path / "c.png", [head, (b"tRNS", struct.pack(">H", DEEP[2, 2, 0])), *rest])
    for name in "abc":
        picture, _ = assert_same(tmp_path / f"{name}.png")
        assert 0 in picture.alpha[0] and picture.alpha[0].max() == np.iinfo(picture.pages[0].dtype).max
    assert assert_same(tmp_path / "a.png")[0].alpha[0][3, 4, 0] == 0


@pytest.mark.parametrize("hidden", [False, True])
def test_frames_stay_even_equal_ones(tmp_path, hidden):
    frames = [Image.fromarray(f) for f in (COLOUR, COLOUR[::-1].copy(), 255 - COLOUR)]
    frames[0].save(
        tmp_path / "a.png", save_all=True, append_images=frames[1:], default_image=hidden, loop=3,
        duration=[250, 70] if hidden else [40, 250, 70],
    )  # fmt: skip
    picture = pictures.read(tmp_path / "a.png")
    equal = [picture.pages[1] / np.float32(255)] * 3
    pictures.write(tmp_path / "b.png", picture, equal)
    with Image.open(tmp_path / "a.png") as old, Image.open(tmp_path / "b.png") as new:
        assert new.n_frames == old.n_frames == 3 and new.info == old.info and new.info["loop"] == 3
        for number in range(3):
            old.seek(number)
            new.seek(number)
            assert old.info.get("duration") == new.info.get("duration")
            np.testing.assert_array_equal(np.asarray(new), picture.pages[1])
    assert_same(tmp_path / "a.png")


def test_frames_of_16_bits_stay_16(tmp_path):
    (tmp_path / "a.png").write_bytes(imagecodecs.apng_encode(np.stack([DEEP, DEEP, DEEP[::-1]]), delay=40))
    picture, _ = assert_same(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pages[2], DEEP[::-1])
    with Image.open(tmp_path / "again-a.png") as image:
        assert image.n_frames == 3 and image.info["duration"] == 40


def test_interlaced_16_bits_are_read(tmp_path):
    rows = b"".join(b"\0" + DEEP[0, x].astype(">u2").tobytes() for x in (0, 1))  # the passes of two pixels side by side
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 1)
    write_chunks(tmp_path / "a.png", [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    picture, _ = assert_same(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pages[0], DEEP[:1, :2])


def test_bits_and_small_depths(tmp_path):
    Image.fromarray(GREY > 99).save(tmp_path / "a.png")
    assert assert_same(tmp_path / "a.png")[0].pages[0].dtype == bool
    packed = (GREY[:, ::2] >> 4 << 4) | (GREY[:, 1::2] >> 4)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", 18, 12, 4, 0, 0, 0, 0)
    write_chunks(tmp_path / "b.png", [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    picture, _ = assert_same(tmp_path / "b.png")
    np.testing.assert_array_equal(picture.pages[0][..., 0], (GREY >> 4) * 17)
    assert pixels(tmp_path / "again-b.png").dtype == np.uint8


def test_what_is_refused(tmp_path):
    whole = imagecodecs.png_encode(np.random.default_rng(0).integers(0, 65536, (9, 12, 3), np.uint16))
    (tmp_path / "cut.png").write_bytes(whole[:200])
    (tmp_path / "short.png").write_bytes(whole[:20])
    (tmp_path / "large.png").write_bytes(whole)
    bomb = PngImagePlugin.PngInfo()
    bomb.add_text("x", "y" * 2**21, zip=True)
    Image.fromarray(GREY).save(tmp_path / "text.png", pnginfo=bomb)
    for name, sentence in {"cut.png": "cannot be read as a picture", "short.png": "it is cut off"}.items():
        with pytest.raises(InputError, match=sentence):
            pictures.read(tmp_path / name)
    for name, sentence in {"large.png": "has more than 99 pixels", "text.png": "has more text in it than"}.items():
        with pytest.raises(InputError, match=rf"^\S+{name} {sentence}"):
            pictures.read(tmp_path / name, None, 99 if name == "large.png" else 9999)
