"""Picture files through a denoiser: names, sizes and depth stay, and nothing is written by halves."""

import resource

import numpy as np
import pytest
from PIL import Image
from tiny import pixels, random_params

import jaxdae
from jaxdae.data import picture_files, pictures
from jaxdae.errors import InputError
from jaxdae.exchange.pictures import Options, denoise_pictures
from jaxdae.models.denoiser import About, Denoiser

MODEL = jaxdae.ConvAutoencoder(width=2, depth=1)
NOISE = jaxdae.Noise("masking", (0.5, 0.5))
DARK = np.random.default_rng(0).integers(0, 100, (20, 27), np.uint8)
GREY = Denoiser(MODEL, random_params(MODEL), About(NOISE, 1, trained_on=DARK.shape, origin="somewhere"))
COLOUR = Denoiser(MODEL, random_params(MODEL, 3), About(NOISE, 3, trained_on=DARK.shape, origin="somewhere"))

RGB = np.stack([DARK, DARK[::-1], DARK[:, ::-1]], axis=-1)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def run(denoiser, *inputs, out, **options):
    return list(denoise_pictures(denoiser, inputs, out, Options(**options)))


def failures(denoiser, *inputs, out, **options):
    """What `denoise_pictures` returns."""
    lines = denoise_pictures(denoiser, inputs, out, Options(**options))
    while True:
        try:
            next(lines)
        except StopIteration as end:
            return end.value


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
        *map(str, [out / "scan.png", out / "a" / "deep.tif", out / "b.png"]),
    ]
    assert sorted(path for path in out.rglob("*") if path.is_file()) == sorted(
        pictures.Path(line) for line in lines[1:]
    )
    assert_close(pixels(out / "scan.png"), through(GREY, DARK[..., None])[..., 0])
    assert pixels(out / "a" / "deep.tif").dtype == np.uint16
    for channel in range(3):
        assert_close(pixels(out / "b.png")[..., channel], through(GREY, RGB[..., [channel]])[..., 0])


@pytest.mark.slow
def test_a_denoiser_of_colour_sees_all_channels_and_takes_grey_as_colour(tmp_path):
    photo, scan = save(tmp_path / "photo.png", RGB), save(tmp_path / "scan.png", DARK)
    run(COLOUR, photo, scan, out=tmp_path / "clean")
    assert_close(pixels(tmp_path / "clean" / "photo.png"), through(COLOUR, RGB))
    assert_close(pixels(tmp_path / "clean" / "scan.png"), through(COLOUR, np.stack(3 * [DARK], -1)).mean(axis=-1))


def test_parts_of_the_files_make_what_the_whole_makes(tmp_path):
    for i in range(5):
        save(tmp_path / "in" / f"{i}.png", np.roll(DARK, i))

    def results(name):
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    run(Identity(), tmp_path / "in", out=tmp_path / "whole", add_noise=0.2)
    run(Identity(), tmp_path / "in", out=tmp_path / "parts", add_noise=0.2, share=(1, 2))
    assert sorted(results("parts")) == ["1.png", "3.png"]
    run(Identity(), tmp_path / "in", out=tmp_path / "parts", add_noise=0.2, share=(0, 2), skip_existing=True)
    assert results("parts") == results("whole") and len(set(results("whole").values())) == 5


@pytest.mark.slow
def test_bright_pictures_are_inverted_when_asked(tmp_path, capsys):
    dark, bright = save(tmp_path / "dark.png", DARK), save(tmp_path / "bright.png", 255 - DARK)
    run(GREY, dark, out=tmp_path / "1")
    assert capsys.readouterr().err == ""
    run(GREY, bright, out=tmp_path / "2")
    capsys.readouterr()
    run(GREY, bright, out=tmp_path / "3", invert=True)
    assert capsys.readouterr().err == ""
    assert_close(pixels(tmp_path / "3" / "bright.png"), 255.0 - pixels(tmp_path / "1" / "dark.png"))
    assert np.abs(pixels(tmp_path / "2" / "bright.png") - (255.0 - pixels(tmp_path / "1" / "dark.png"))).max() > 1


@pytest.mark.slow
def test_noise_is_added_when_asked_another_for_each_picture(tmp_path):
    files = [save(tmp_path / "in" / name, DARK) for name in ("a.png", "b.png")]
    seen = []

    class Recorder:
        about, check_level, takes_level = GREY.about, GREY.check_level, False

        def __call__(self, noisy, level, **_):
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
        (["broken.png"], {}, "broken.png cannot be read as a picture"),
        (["a.png"], {"add_noise": 1.5}, "noise level 1.5 is out of range: masking takes 0 to 1"),
        (["a.png"], {"value_range": (2, 1)}, "--range 2 1 is not allowed"),
        (["a.png"], {"max_pixels": 5}, "a.png has more than 5 pixels; raise --max-pixels"),
        (["a.png"], {"skip_existing": True, "overwrite": True}, "exclude each other"),
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

    for error, sentence in (
        (OSError("no space left"), r"scan.png cannot be written: is the disk full\? \(no space left\)"),
        (IndexError("out of\nrange"), "scan.png cannot be written as the file was: out of range"),
    ):

        def fails(path, *args, error=error):
            path.write_bytes(b"half")
            raise error

        monkeypatch.setattr(pictures, "write", fails)
        with pytest.raises(InputError, match=sentence):
            run(Identity(), scan, out=tmp_path / "clean")
    assert not (tmp_path / "clean").exists()


class Identity:
    """A denoiser that changes nothing, of clipped images."""

    about, check_level, takes_level = GREY.about, GREY.check_level, False

    def __call__(self, noisy, level, **_):
        assert noisy.min() >= 0 and noisy.max() <= 1
        return noisy


def test_a_batch_goes_on_after_a_bad_file_and_continues(tmp_path, capsys):
    save(tmp_path / "in" / "a.png", DARK)
    save(tmp_path / "in" / "c.png", DARK)
    (tmp_path / "in" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    (tmp_path / "in" / "notes.txt").touch()
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "a.png").write_bytes(b"old")
    with pytest.raises(InputError, match="a.png exists already"):
        run(Identity(), tmp_path / "in", out=tmp_path / "clean")
    lines = denoise_pictures(Identity(), [tmp_path / "in"], tmp_path / "clean", Options(skip_existing=True))
    seen = []
    while True:
        try:
            seen.append(next(lines))
        except StopIteration as end:
            [failed] = end.value
            break
    assert "b.png cannot be read as a picture" in failed
    assert seen[1:] == [str(tmp_path / "clean" / "c.png"), "1 results existed already and were left as they are"]
    assert "1 file of another kind was passed over: .txt" in capsys.readouterr().err
    assert (tmp_path / "clean" / "a.png").read_bytes() == b"old"
    run(Identity(), tmp_path / "in", out=tmp_path / "clean", overwrite=True)
    np.testing.assert_array_equal(pixels(tmp_path / "clean" / "a.png"), DARK)


def test_values_beyond_the_range_are_kept(tmp_path, capsys):
    deep = DARK.astype(np.uint16) + 477
    deep[3, 4] = 60000
    run(Identity(), save(tmp_path / "a.tif", deep), out=tmp_path / "clean")
    np.testing.assert_array_equal(pixels(tmp_path / "clean" / "a.tif"), deep)
    assert "more than the denoiser takes" in capsys.readouterr().err


@pytest.mark.slow
def test_comparison_and_reference(tmp_path):
    scan = save(tmp_path / "a.png", DARK)
    lines = run(Identity(), scan, out=tmp_path / "clean", compare=True, reference=scan)
    assert lines[2:] == [f"  {name}: PSNR 100.00 dB, SSIM 1.0000" for name in ("noisy", "denoised")]
    side = pixels(tmp_path / "clean" / "a.png.compare.png")
    np.testing.assert_array_equal(side, np.concatenate([DARK, DARK], axis=1))


def test_a_full_disk_ends_a_batch_and_leaves_what_was_finished(tmp_path):
    """The limit of a file's size stands for the disk's, for every kind of file."""
    noise = np.random.default_rng(0).integers(0, 100, (200, 300), np.uint8)
    save(tmp_path / "in" / "a.png", DARK)
    large = [save(tmp_path / "in" / f"b.{suffix}", noise) for suffix in ("bmp", "jpg", "pgm", "png", "tif", "webp")]
    Image.fromarray(noise > 50).save(tmp_path / "in" / "b.tiff", compression="group4")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        failed = failures(Identity(), tmp_path / "in", out=tmp_path / "clean")
        for file in [*large, tmp_path / "in" / "b.tiff"]:
            with pytest.raises(InputError, match=f"{file.name} cannot be written: "):
                run(Identity(), file, out=tmp_path / "other")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    [sentence] = failed
    assert "b.bmp cannot be written" in sentence and "the 6 pictures after it were not tried" in sentence
    assert [path.name for path in (tmp_path / "clean").iterdir()] == ["a.png"]
    assert not (tmp_path / "other").exists()
    assert failures(Identity(), tmp_path / "in", out=tmp_path / "clean", skip_existing=True) == []
    assert len(list((tmp_path / "clean").iterdir())) == 8


def test_a_stopped_batch_continues(tmp_path):
    for name in "abc":
        save(tmp_path / "in" / f"{name}.png", DARK)

    class Stopped(Identity):
        calls = 0

        def __call__(self, noisy, level, **_):
            Stopped.calls += 1
            if Stopped.calls == 2:
                raise KeyboardInterrupt
            return noisy

    with pytest.raises(KeyboardInterrupt):
        run(Stopped(), tmp_path / "in", out=tmp_path / "clean")
    assert [path.name for path in (tmp_path / "clean").iterdir()] == ["a.png"]
    run(Stopped(), tmp_path / "in", out=tmp_path / "clean", skip_existing=True)
    assert Stopped.calls == 4 and len(list((tmp_path / "clean").iterdir())) == 3


def test_comparisons_hold_all_pages_are_no_pictures_and_heed_what_exists(tmp_path, capsys):
    pages = [Image.fromarray(page) for page in (DARK, DARK[::-1].copy())]
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:])
    save(tmp_path / "clean" / "a.png", DARK)
    run(Identity(), tmp_path / "in.tif", out=tmp_path / "clean", compare=True)
    run(Identity(), tmp_path / "clean" / "a.png", out=tmp_path / "clean" / "other", compare=True)
    with Image.open(tmp_path / "clean" / "in.tif.compare.tif") as side:
        side.seek(1)
        np.testing.assert_array_equal(np.asarray(side), np.concatenate([DARK[::-1]] * 2, axis=1))
    found = picture_files.find([tmp_path / "clean"], tmp_path / "out")
    assert [path.name for path in found] == ["a.png", "in.tif", "a.png"]
    assert picture_files.passed_over([tmp_path / "clean"], tmp_path / "out") == ""
    (tmp_path / "clean" / "in.tif").unlink()
    with pytest.raises(InputError, match=r"in.tif.compare.tif exists already; choose another folder"):
        run(Identity(), tmp_path / "in.tif", out=tmp_path / "clean", compare=True)
    run(Identity(), tmp_path / "in.tif", out=tmp_path / "clean", compare=True, overwrite=True)


def test_folders_and_hidden_files_are_no_pictures_and_broken_links_are_named(tmp_path, capsys):
    for name in ("a.png", "._a.png", "__MACOSX/a.png", ".cache/b.png"):
        save(tmp_path / "in" / name, DARK)
    (tmp_path / "in" / "folder.png").mkdir()
    (tmp_path / "in" / "gone.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    [failed] = failures(Identity(), tmp_path / "in", out=tmp_path / "clean")
    assert "gone.png cannot be read" in failed
    assert [path.name for path in (tmp_path / "clean").iterdir()] == ["a.png"]
    assert "3 files of other kinds were passed over: hidden" in capsys.readouterr().err


@pytest.mark.slow
def test_bright_pictures_get_no_dark_frame(tmp_path):
    """But those of the size of the training stay as the network gives them."""
    digits = jaxdae.load_denoiser("digits")
    for side in (28, 40):
        bright = save(tmp_path / f"{side}.png", np.full((side, side), 242, np.uint8))
        run(digits, bright, out=tmp_path / "clean")
    result = pixels(tmp_path / "clean" / "40.png").astype(float)
    assert abs(result[0].mean() - result[20].mean()) < 1 and result[20].mean() > 220
    assert_close(pixels(tmp_path / "clean" / "28.png"), through(digits, np.full((28, 28, 1), 242))[..., 0])
