"""TIFF files keep their pages, types, tags and compression, or the loss is said."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from roundtrip import again, assert_same

from jaxdae.data import pictures
from jaxdae.errors import InputError

GREY = np.arange(12 * 18, dtype=np.uint8).reshape(12, 18)
DEEP = GREY.astype(np.uint16) * 257
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def tags_of(path, *codes):
    with tifffile.TiffFile(path) as file:
        return {code: tag.value for code in codes if (tag := file.pages[0].tags.get(code))}


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (DEEP, {"compression": "lzw", "predictor": True}),
        (DEEP, {"compression": "zlib", "tile": (16, 16)}),
        (GREY, {"compression": "packbits"}),
        (DEEP.astype(np.float32), {"compression": "zstd", "predictor": True}),
        (DEEP, {"bigtiff": True, "byteorder": ">"}),
        (DEEP, {}),
        (GREY.astype(np.float16), {}),
        (GREY // 16, {"bitspersample": 4}),
        (DEEP // 16, {"bitspersample": 12}),
        (DEEP // 16, {"bitspersample": 12, "photometric": "miniswhite"}),
        (GREY > 99, {"compression": "lzw"}),
        (GREY > 99, {"photometric": "miniswhite"}),
        (np.stack([GREY, GREY[::-1]]), {"photometric": "minisblack"}),
        (np.stack([DEEP] * 5), {"photometric": "minisblack", "planarconfig": "separate"}),
        (COLOUR, {"photometric": "rgb"}),
        (np.concatenate([COLOUR, GREY[..., None]], -1), {"extrasamples": ["unassalpha"]}),
        (np.stack([DEEP, DEEP[::-1]], -1), {"extrasamples": ["unassalpha"], "planarconfig": "contig"}),
    ],
)
def test_structure_and_compression_stay(tmp_path, values, options):
    path = tmp_path / "a.tif"
    file_options = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    with tifffile.TiffWriter(path, **file_options) as file:
        file.write(values, metadata=None, **options)
    assert_same(path)
    facts = []
    for name in ("a.tif", "again-a.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            page = file.pages[0]
            facts.append((file.is_bigtiff, file.byteorder, page.compression, page.predictor, page.bitspersample,
                          page.photometric, page.is_tiled, page.extrasamples, len(file.pages)))  # fmt: skip
    assert facts[0] == facts[1]


def test_tags_stay_as_they_are(tmp_path):
    more = [(33550, 12, 3, (1.0, 2.0, 0.0), True), (42113, 2, 0, "-9999", True), (274, 3, 1, 6, True),
            (700, 1, 8, b"<x:xmp/>", True), (34735, 3, 4, (1, 1, 0, 0), True)]  # fmt: skip
    tifffile.imwrite(
        tmp_path / "a.tif", COLOUR, photometric="rgb", iccprofile=SRGB, resolution=(118, 59), software="mine",
        resolutionunit="centimeter", description="µm".encode(), extratags=more, metadata=None,
    )  # fmt: skip
    assert_same(tmp_path / "a.tif")
    codes = (270, 274, 282, 283, 296, 305, 700, 33550, 34675, 34735, 42113)
    kept = tags_of(tmp_path / "again-a.tif", *codes)
    assert len(kept) == len(codes) and kept == tags_of(tmp_path / "a.tif", *codes)


@pytest.mark.parametrize(("name", "kind"), [("a.tif", "imagej"), ("a.ome.tif", "ome")])
def test_metadata_of_microscopes_stay(tmp_path, name, kind):
    stack = np.stack([DEEP + k for k in range(6)]).reshape(3, 2, *DEEP.shape)
    about = {"axes": "ZCYX", **({"unit": "um", "Labels": list("abcdef")} if kind == "imagej" else {})}
    tifffile.imwrite(tmp_path / name, stack, metadata=about, **{kind: True})
    assert_same(tmp_path / name)
    with tifffile.TiffFile(tmp_path / name) as old, tifffile.TiffFile(tmp_path / f"again-{name}") as new:
        assert new.series[0].axes == old.series[0].axes == "ZCYX" and new.series[0].shape == stack.shape
        assert new.imagej_metadata == old.imagej_metadata
        assert new.pages[0].description == old.pages[0].description


def test_the_frames_of_a_stack_behind_one_page_become_pages(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP, byteorder=">", metadata=None, description="ImageJ=1.53t\nimages=3\nslices=3\n")
    with path.open("ab") as file:
        file.write((DEEP + 1).astype(">u2").tobytes() + (DEEP + 2).astype(">u2").tobytes())
    picture, _ = assert_same(path)
    assert len(picture.pages) == 3
    np.testing.assert_array_equal(picture.pages[2][..., 0], DEEP + 2)


@pytest.mark.parametrize("polarity", [0, 1])
def test_fax_pages_stay_group_4_with_their_tags(tmp_path, polarity):
    page = Image.fromarray(GREY > 99)
    tags = {262: polarity, 274: 6, 305: "mine"}
    how = {"compression": "group4", "dpi": (300, 300), "description": "scan", "tiffinfo": tags}
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page], **how)
    assert_same(tmp_path / "a.tif")
    codes = (259, 262, 270, 274, 282, 296, 305)
    kept = tags_of(tmp_path / "again-a.tif", *codes)
    assert kept[259] == 4 and kept == tags_of(tmp_path / "a.tif", *codes)
    with Image.open(tmp_path / "again-a.tif") as image:  # Pillow turns it by its orientation
        image.seek(1)
        np.testing.assert_array_equal(np.asarray(image), np.rot90(GREY > 99, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_lab_becomes_srgb_with_its_tags_and_a_word(tmp_path, orientation):
    spaces = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    muted = (COLOUR // 2 + 64).astype(np.uint8)  # all of it is inside both spaces
    lab = ImageCms.profileToProfile(Image.fromarray(muted), *spaces, outputMode="LAB")
    lab.save(tmp_path / "a.tif", compression="tiff_lzw", description="lab", tiffinfo={274: orientation})
    picture, written = again(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pages[0].astype(int), muted, atol=6)
    np.testing.assert_array_equal(picture.pages[0], written.pages[0])
    assert picture.notes == ("its colour space Lab cannot be kept; the result is sRGB",) and not written.notes
    assert tags_of(tmp_path / "again-a.tif", 259, 262, 270, 274, 34675) == {
        259: 5,
        262: 2,
        270: "lab",
        274: orientation,
    }


@pytest.mark.parametrize("save", [{"compression": "jpeg"}, {"compression": "tiff_lzw"}, {}])
def test_ycbcr_becomes_rgb(tmp_path, save):
    smooth = np.repeat(np.repeat(COLOUR[::4, ::4], 8, 0), 8, 1)
    Image.fromarray(smooth).convert("YCbCr").save(tmp_path / "a.tif", **save)
    picture, _ = assert_same(tmp_path / "a.tif")
    assert np.corrcoef(picture.pages[0].ravel(), smooth.ravel())[0, 1] > 0.97


def test_a_palette_becomes_its_colours(tmp_path):
    palette = Image.fromarray(COLOUR).quantize(16)
    palette.save(tmp_path / "a.tif")
    picture, _ = assert_same(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pages[0], np.asarray(palette.convert("RGB")))


def test_pages_of_1_and_8_bits_become_alike(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY > 99, photometric="miniswhite", metadata=None)
        file.write(GREY, metadata=None)
        file.write(COLOUR, photometric="rgb", metadata=None)
    picture, _ = assert_same(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pages[0][..., 0], 255 * (GREY <= 99))
    assert picture.notes == ("its 1-bit pages become 8-bit ones, as the others are",)


def test_what_is_beside_the_colours_stays_and_is_said(tmp_path):
    near = np.concatenate([COLOUR, GREY[..., None]], -1)
    tifffile.imwrite(tmp_path / "a.tif", near, photometric="rgb", extrasamples=["unspecified"])
    picture, _ = assert_same(tmp_path / "a.tif")
    assert picture.pages[0].shape[-1] == 3 and "beside red, green and blue" in picture.notes[0]


def test_what_is_refused(tmp_path):
    def write(name, *pages, **options):
        with tifffile.TiffWriter(tmp_path / name) as file:
            for page in pages:
                file.write(page, metadata=None, **options)

    write("complex.tif", GREY.astype(np.complex64))
    write("types.tif", GREY, DEEP)
    write("cut.tif", DEEP)
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:300])
    (tmp_path / "empty.tif").touch()
    Image.new("CMYK", (9, 9)).save(tmp_path / "cmyk.tif")
    with tifffile.TiffWriter(tmp_path / "polarity.tif") as file:
        file.write(DEEP, photometric="miniswhite")
        file.write(DEEP)
    for name, sentence in {
        "complex.tif": "it holds complex numbers", "types.tif": "several types", "cut.tif": "cannot be read",
        "empty.tif": "it is empty", "cmyk.tif": "CMYK without", "polarity.tif": "only some of its pages",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=sentence) as error:
            pictures.read(tmp_path / name)
        assert "\n" not in str(error.value) and name in str(error.value)
    with pytest.raises(InputError, match=r"^\S+types.tif has more than 200 pixels; raise --max-pixels"):
        pictures.read(tmp_path / "types.tif", None, 200)
