"""The level of picture files is estimated, said and used; a result that is not without its noise is doubted."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from tiny import pixels

import jaxdae
from jaxdae.errors import InputError
from jaxdae.exchange.packaged import PACKAGED
from jaxdae.exchange.pictures import Options, denoise_pictures
from jaxdae.models.denoiser import About, Denoiser

ROWS, COLUMNS = np.mgrid[:96, :96]
CLEAN = (np.sin(ROWS / 9) * np.cos(COLUMNS / 13) / 6 + 0.4).astype(np.float32)
LEVEL = 25 / 255


@dataclasses.dataclass(frozen=True, eq=False)
class Fake(Denoiser):
    """Knows the clean picture, keeps the levels that it is told, and leaves a trace of itself."""

    told: list = dataclasses.field(default_factory=list)
    result: np.ndarray | None = None

    def __call__(self, noisy, level=None, **_):
        self.check_level(level, len(noisy))
        self.told.append(level)
        clean = CLEAN if self.result is None else self.result
        return np.broadcast_to(clean[None, ..., None], noisy.shape).astype(np.float32)


def fake(level=(0, 0.3), takes=True, result=None, corruption="gaussian", origin="it"):
    model = jaxdae.DnCNN(width=4, depth=2, level_input=takes)
    return Fake(model, None, About(jaxdae.Noise(corruption, level), 1, origin=origin), [], result)


def save(path, level=LEVEL, seed=0, clean=CLEAN):
    noisy = clean + level * np.random.default_rng(seed).standard_normal(clean.shape)
    Image.fromarray(np.round(255 * np.clip(noisy, 0, 1)).astype(np.uint8)).save(path)
    return path


def run(denoisers, *files, out, **options):
    return list(denoise_pictures(denoisers, files, out, Options(**({"level": "auto"} | options))))


def test_each_file_is_denoised_at_its_own_estimated_level(tmp_path, capsys):
    low, high = save(tmp_path / "low.png", 10 / 255), save(tmp_path / "high.png", 0.2)
    told = fake()
    lines = run(told, low, high, out=tmp_path / "out")
    assert lines[2] == f"  noise level {told.told[0]:.3f} ({255 * told.told[0]:.0f} of 255), estimated"
    assert told.told == pytest.approx([10 / 255, 0.2], rel=0.1)
    assert capsys.readouterr().err == ""


def test_a_level_beyond_the_training_is_said(tmp_path):
    line = run(fake(level=(0.0, 0.05)), save(tmp_path / "a.png"), out=tmp_path / "out")[2]
    assert line.endswith("estimated, beyond 0:0.05 of the training")


def test_a_level_that_was_given_is_used_as_it_is(tmp_path):
    told = fake()
    lines = run(told, save(tmp_path / "a.png"), out=tmp_path / "out", level=0.3)
    assert told.told == [0.3] and not any("estimated" in line for line in lines)


def test_a_file_whose_level_cannot_be_trusted_fails_and_asks_for_it(tmp_path):
    Image.fromarray(np.full((50, 50), 90, np.uint8)).save(tmp_path / "flat.png")
    good = save(tmp_path / "good.png")
    sentence = "the noise level of .*flat.png cannot be estimated, all its pixels are equal; give it with --noise-level"
    with pytest.raises(InputError, match=sentence):
        run(fake(), tmp_path / "flat.png", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    lines = denoise_pictures(fake(), [tmp_path / "flat.png", good], tmp_path / "out", Options(level="auto"))
    with pytest.raises(StopIteration) as end:
        while True:
            next(lines)
    assert len(end.value.value) == 1 and "flat.png cannot be estimated" in end.value.value[0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_of_several_the_nearest_to_each_file_is_used_and_said(tmp_path):
    members = [
        fake((level, level), takes=False, origin=f"member {i}", result=CLEAN * 0 + i / 10)
        for i, level in enumerate((0.05, 0.1, 0.5))
    ]
    low, high = save(tmp_path / "low.png", 0.04), save(tmp_path / "mid.png", 0.11)
    lines = run(members, low, high, out=tmp_path / "out")
    assert lines[0] == "denoising with the nearest by its noise level of 3 members"
    assert [line.split(": ")[1] for line in lines if "estimated" in line] == ["member 0", "member 1"]
    assert [pixels(tmp_path / "out" / name).mean() for name in ("low.png", "mid.png")] == [0, 26]
    assert members[1].told == [None]


def test_auto_is_refused_where_it_is_of_no_use(tmp_path):
    given = save(tmp_path / "a.png")
    for made, sentence in (
        (fake(takes=False), "takes no noise level; leave --noise-level out"),
        (fake(corruption="poisson"), "the level of poisson noise cannot be estimated; give it with --noise-level"),
    ):
        with pytest.raises(InputError, match=sentence):
            run(made, given, out=tmp_path / "out")
    packaged = [jaxdae.load_denoiser(name) for name in PACKAGED]
    with pytest.raises(InputError, match="takes no noise level; leave --noise-level out"):
        run(packaged, given, out=tmp_path / "out", fit=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("result", "doubt"),
    [(CLEAN, ""), (CLEAN * 0, "more was removed than noise"), (CLEAN[:, ::-1], "the denoiser may be wrong")],
)
def test_a_wrong_result_is_doubted_in_one_line(tmp_path, capsys, result, doubt):
    run(fake(takes=False, result=result), save(tmp_path / "a.png"), out=tmp_path / "out", level=None)
    said = capsys.readouterr().err
    assert said.count("\n") == bool(doubt) and doubt in said
    assert not doubt or ("a.png: " in said and "times the size of its estimated noise" in said)


@pytest.mark.slow
def test_the_packaged_digits_are_doubted_on_a_scene_only(tmp_path, capsys):
    digits = jaxdae.load("digits").test[:16, ..., 0].reshape(4, 4, 28, 28).swapaxes(1, 2).reshape(112, 112) / 255
    for name, clean, level in (("sheet.png", digits, 0.5), ("scene.png", CLEAN, LEVEL)):
        given = save(tmp_path / name, level, clean=clean)
        run(jaxdae.load_denoiser("digits"), given, out=tmp_path / "out", level=None)
        assert ("may be wrong for this picture" in capsys.readouterr().err) == (name == "scene.png")


def test_a_file_that_cuts_noise_off_is_named_for_a_denoiser_of_unclipped_noise(tmp_path, capsys):
    dark = save(tmp_path / "dark.png", clean=CLEAN / 8)
    denoiser = fake(result=CLEAN / 8)
    noise = denoiser.about.noise.replace(clip=False)
    unclipped = dataclasses.replace(denoiser, about=dataclasses.replace(denoiser.about, noise=noise))
    run(unclipped, dark, save(tmp_path / "gray.png"), out=tmp_path / "out")
    lines = [line for line in capsys.readouterr().err.splitlines() if "cut off" in line]
    assert len(lines) == 1 and lines[0].startswith(f"{dark}: ") and "of its values are black or white" in lines[0]
    run(denoiser, dark, out=tmp_path / "out", overwrite=True)
    assert "cut off" not in capsys.readouterr().err
