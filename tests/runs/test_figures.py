"""The figures of a run: which are drawn, of what, and whole or not at all."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from tiny import DATA, MEMBER, pixels, random_params

import jaxdae
from jaxdae import plots
from jaxdae.errors import InputError
from jaxdae.runs import Loop, Run, figures, folder
from jaxdae.runs.folder import Config
from jaxdae.training import Best

LEVELS = jaxdae.grid(MEMBER, {"noise.level": [0.25, (0, 1)]})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two members that were never trained."""
    params = tuple(random_params(MEMBER.model, seed=seed) for seed in (0, 1))
    history = [{"epoch": 3, "member": i, "train_bce": 0.4, "val_bce": 0.3} for i in (0, 1)]
    config = Config(LEVELS, Loop(evaluation_seed=7), DATA.describe())
    return Run(config, params, (Best(params[1], 0.3, 2),) * 2, history, tmp_path_factory.mktemp("run"))


@pytest.fixture
def drawn(monkeypatch):
    """What was drawn: the arguments of the plotting functions by their names."""
    drawn = {}
    for name in ("noisy_digits", "noisy_denoised_clean", "feature_maps", "loss_curves"):

        def draw(*args, name=name, **kwargs):
            drawn[name] = args
            return Figure(figsize=(1, 1))

        monkeypatch.setattr(plots, name, draw)
    return drawn


@pytest.mark.slow
def test_figures_are_written_and_named(run):
    written = figures.write_figures(run, DATA)
    assert [path.name for path in written] == ["loss.png", "noisy.png", "denoised.png", "features_encoder_0.png"]
    assert set((run.path / folder.FIGURES).iterdir()) == set(written)
    assert pixels(written[1]).shape[:2] == (200, 2000)


@pytest.mark.slow
def test_the_noisy_images_are_those_of_the_evaluation(run, drawn):
    figures.write_figures(run, DATA, member=0)
    noisy = np.asarray(jaxdae.noisy_examples(DATA.test[:10], LEVELS[0].noise, seed=7))
    np.testing.assert_array_equal(drawn["noisy_digits"][0], noisy)
    shown, denoised, clean = drawn["noisy_denoised_clean"]
    np.testing.assert_array_equal(shown, noisy)
    np.testing.assert_array_equal(denoised, run.denoisers[0](noisy))
    np.testing.assert_allclose(clean, DATA.test[:10] / 255, rtol=1e-6)
    assert drawn["loss_curves"] == (run.history, run.labels)


@pytest.mark.slow
def test_member_weights_layer_and_level_are_those_asked_for(run, drawn):
    written = figures.write_figures(run, DATA, member=1, weights="best", layer="decoder_0", noise_level=0.125)
    noise = dataclasses.replace(LEVELS[1].noise, level=0.125)
    noisy = np.asarray(jaxdae.noisy_examples(DATA.test[:10], noise, seed=7))
    np.testing.assert_array_equal(drawn["noisy_digits"][0], noisy)
    (best,) = run.select([1], "best")
    np.testing.assert_array_equal(drawn["noisy_denoised_clean"][1], best(noisy))
    image, maps = drawn["feature_maps"]
    assert image.shape == (16, 16, 1) and written[-1].name == "features_decoder_0.png"
    np.testing.assert_allclose(maps, best.layers(noisy)["decoder_0"][0], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layer": "encoder_1"}, r"layer 'encoder_1' is not known; did you mean encoder_0"),
        ({"member": 2}, "member 2 does not exist; this run has members 0 to 1"),
        ({"noise_level": -1.0}, "noise level -1 is out of range"),
        ({"weights": "bets"}, r"weights 'bets' is not known; did you mean best\?"),
    ],
)
def test_what_is_refused_leaves_no_figure(run, settings, sentence):
    elsewhere = dataclasses.replace(run, path=run.path / "new")
    with pytest.raises(InputError, match=sentence):
        figures.write_figures(elsewhere, DATA, **settings)
    assert not (run.path / "new").exists()


def test_a_figure_that_cannot_be_saved_leaves_nothing(tmp_path, monkeypatch):
    def disk_full(self, path, **kwargs):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", disk_full)
    with pytest.raises(OSError, match="no space"):
        figures.save_figures(tmp_path, {"one": Figure()})
    assert not list(tmp_path.iterdir())
