"""Picture files through a denoiser: names, sizes and depth stay, and nothing is written by halves."""

import numpy as np
import pytest
from PIL import Image
from tiny import pixels, random_params

import jaxdae
from jaxdae.data import pictures
from jaxdae.errors import InputError
from jaxdae.exchange.pictures import denoise_pictures
from jaxdae.models.denoiser import About, Denoiser

MODEL = jaxdae.ConvAutoencoder(width=2, depth=1)
NOISE = jaxdae.Noise("masking", (0.5, 0.5))
GREY = Denoiser(MODEL, random_params(MODEL), About(NOISE, 1, origin="somewhere"))
COLOUR = Denoiser(MODEL, random_params(MODEL, 3), About(NOISE, 3, origin="somewhere"))

DARK = np.random.default_rng(0).integers(0, 100, (20, 27), np.uint8)
RGB = np.stack([DARK, DARK[::-1], DARK[:, ::-1]], axis=-1)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def run(denoiser, *inputs, out, **options):
    return list(denoise_pictures(denoiser, inputs, out, **options))


def through(denoiser, array):
    """The pixels after the denoiser, as an 8-bit file holds them."""
    return np.round(np.clip(denoiser(array[None].astype(np.float32) / 255)[0], 0, 1) * 255)


def assert_close(a, b):
    np.testing.assert_allclose(a.astype(float), b, atol=1)


@pytest.mark.slow
def test_names_sizes_and_depth_stay(tmp_path):
    scan = save(tmp_path / "scan.png", DARK)
    save(tmp_path / "photos" / "a" / "deep.tif", DARK.astype(np.uint16) * 257)
    save(tmp_path / "photos" / "b.png", RGB)
    out = tmp_path / "clean"
    lines = run(GREY, scan, tmp_path / "photos", out=out)
    assert lines == [
        "denoising with somewhere",
        "the denoiser takes grey images: colour pictures are denoised channel by channel",
        *map(str, [out / "scan.png", out / "a" / "deep.tif", out / "b.png"]),
    ]
    assert sorted(path for path in out.rglob("*") if path.is_file()) == sorted(
        pictures.Path(line) for line in lines[2:]
    )
    grey = through(GREY, DARK[..., None])[..., 0]
    assert_close(pixels(out / "scan.png"), grey)
    deep = pixels(out / "a" / "deep.tif")
    assert deep.dtype == np.uint16
    assert_close(deep / 257, grey)
    for channel in range(3):
        assert_close(pixels(out / "b.png")[..., channel], through(GREY, RGB[..., [channel]])[..., 0])


@pytest.mark.slow
def test_a_denoiser_of_colour_sees_all_channels_and_refuses_grey(tmp_path, capsys):
    photo = save(tmp_path / "photo.png", RGB)
    run(COLOUR, photo, out=tmp_path / "clean")
    assert_close(pixels(tmp_path / "clean" / "photo.png"), through(COLOUR, RGB))
    scan = save(tmp_path / "scan.png", DARK)
    with pytest.raises(InputError, match=r"scan.png has 1 channels, but this denoiser takes 3"):
        run(COLOUR, photo, scan, out=tmp_path / "new")
    assert not (tmp_path / "new").exists() and capsys.readouterr().err == ""


@pytest.mark.slow
def test_bright_pictures_are_inverted_when_asked(tmp_path, capsys):
    dark, bright = save(tmp_path / "dark.png", DARK), save(tmp_path / "bright.png", 255 - DARK)
    run(GREY, dark, out=tmp_path / "1")
    assert capsys.readouterr().err == ""
    run(GREY, bright, out=tmp_path / "2")
    assert (
        "bright.png is mostly bright, the model was trained on white on black: try --invert" in capsys.readouterr().err
    )
    run(GREY, bright, out=tmp_path / "3", invert=True)
    assert capsys.readouterr().err == ""
    assert_close(pixels(tmp_path / "3" / "bright.png"), 255.0 - pixels(tmp_path / "1" / "dark.png"))
    assert np.abs(pixels(tmp_path / "2" / "bright.png") - (255.0 - pixels(tmp_path / "1" / "dark.png"))).max() > 1


@pytest.mark.slow
def test_noise_is_added_when_asked_another_for_each_picture(tmp_path):
    files = [save(tmp_path / "in" / name, DARK) for name in ("a.png", "b.png")]
    seen = []

    class Recorder:
        about, check_level = GREY.about, GREY.check_level

        def __call__(self, noisy, level):
            seen.append(noisy[0])
            return noisy

    run(Recorder(), *files, out=tmp_path / "1", add_noise=0.5)
    run(Recorder(), *files, out=tmp_path / "2", add_noise=0.5)
    clean = DARK[..., None].astype(np.float32) / 255
    for noisy in seen:
        assert 0.4 < (noisy == 0).mean() < 0.6
        np.testing.assert_array_equal(noisy[noisy > 0], clean[noisy > 0])
    assert not np.array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[:2], seen[2:])


@pytest.mark.parametrize(
    ("names", "options", "sentence"),
    [
        (["a.png", "gone.png"], {}, "gone.png does not exist"),
        (["a.png", "broken.png"], {}, "broken.png cannot be read as a picture"),
        (["a.png"], {"add_noise": 1.5}, "noise level 1.5 is out of range: masking takes 0 to 1"),
        (["."], {"out": "."}, "is the folder of the pictures themselves"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(tmp_path, names, options, sentence):
    save(tmp_path / "a.png", DARK)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    before = sorted(tmp_path.rglob("*"))
    options = options | {"out": tmp_path / options.get("out", "clean")}
    with pytest.raises(InputError, match=sentence):
        run(GREY, *(tmp_path / name for name in names), **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    scan = save(tmp_path / "scan.png", DARK)

    def disk_full(path, *args):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(pictures, "write", disk_full)
    with pytest.raises(OSError, match="no space"):
        run(GREY, scan, out=tmp_path / "clean")
    assert not list((tmp_path / "clean").iterdir())
