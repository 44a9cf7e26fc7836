"""Files have the permissions that the user's umask leaves, whichever library writes them."""

import importlib.util
import os

import numpy as np
import pytest
from PIL import Image
from tiny import DATA, LOOP, MEMBER, random_params

import jaxdae
from jaxdae import runs
from jaxdae.exchange import save_denoiser
from jaxdae.exchange.exports import FORMATS, export_denoiser
from jaxdae.exchange.noisy_set import write_noisy_set
from jaxdae.exchange.pictures import Options, denoise_pictures
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.runs.figures import write_figures

DENOISER = Denoiser(MEMBER.model, random_params(MEMBER.model), About(MEMBER.noise, 1))
PICTURES = ("a.png", "b.jpg", "c.tif", "d.pgm", "e.webp", "f.gif", "g.bmp")


class Identity:
    """A denoiser that changes nothing."""

    about, check_level, takes_level = DENOISER.about, DENOISER.check_level, False

    def __call__(self, noisy, level, **_):
        return noisy


@pytest.fixture(params=[0o077, 0o022, 0o027])
def umask(request):
    previous = os.umask(request.param)
    yield request.param
    os.umask(previous)


def modes(path):
    """The permissions of all files and of all folders below a path, by name."""
    found = {}
    for file in path.rglob("*"):
        found[str(file.relative_to(path))] = (file.is_dir(), oct(file.stat().st_mode & 0o777))
    return found


def assert_modes(path, umask, count):
    found = modes(path)
    expected = {name: (is_dir, oct((0o777 if is_dir else 0o666) & ~umask)) for name, (is_dir, _) in found.items()}
    assert found == expected and len(found) >= count


def test_denoisers_results_and_noisy_sets(tmp_path, umask):
    save_denoiser(DENOISER, tmp_path / "saved")
    formats = [name for name in FORMATS if importlib.util.find_spec(FORMATS[name].package or "numpy")]
    list(export_denoiser(DENOISER, [name for name in formats if name != "stablehlo"], tmp_path / "exported"))
    write_noisy_set(tmp_path / "set.npz", DATA.test[:2], MEMBER.noise)
    images = [tmp_path / name for name in PICTURES]
    for path in images:
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    Image.new("1", (16, 16)).save(tmp_path / "h.tif", compression="group4")
    list(denoise_pictures(Identity(), [*images, tmp_path / "h.tif"], tmp_path / "clean", Options(compare=True)))
    assert_modes(tmp_path, umask, 30)


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o077], indirect=True)
def test_runs_and_their_figures(tmp_path, umask):
    run = runs.train(MEMBER, DATA, out=tmp_path / "run", **LOOP)
    write_figures(run, DATA)
    found = modes(tmp_path)
    assert not {name: mode for name, (_, mode) in found.items() if int(mode, 8) & umask}
    assert {"run/config.json", "run/metrics.jsonl", "run/figures/loss.png"} <= set(found)
    list(export_denoiser(jaxdae.load_denoiser(tmp_path / "run"), ["stablehlo"], tmp_path / "exported"))
    assert_modes(tmp_path / "exported", umask, 1)
