"""What evaluation hands to networks and takes from them, seen by networks whose output tells what they were given.

A probe predicts `image * noisy + level * level + constant` with three parameters, so every published number is known
from its inputs: a test that cannot see a wrong level, member, weight or clipping would pass with any of them.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command import run as run_command
from flax import linen as nn
from tiny import DATA

import jaxdae
from jaxdae import data as data_module
from jaxdae import models, parallel
from jaxdae.cli import options
from jaxdae.components import structure
from jaxdae.data import InMemory
from jaxdae.evaluation import measure, sample_images, validate
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.noise import Noise, check_noise
from jaxdae.objectives import Supervised
from jaxdae.runs import folder
from jaxdae.runs.figures import image_figures
from jaxdae.runs.position import Progress
from jaxdae.runs.run import make_run
from jaxdae.training import Best, Member, check_member, group_members, stack

IMAGES = DATA.test[:6, 5:11, 5:11]
"""Six images of 6x6 pixels: without SSIM, which takes most of the time to compile."""
CLEAN = IMAGES.astype(np.float32) / 255


class Probe(nn.Module):
    """Tells what it was given: its output is a sum of its arguments, weighted by its parameters."""

    prediction: str = structure("image", "as in jaxdae.models", choices=models.prediction.PREDICTIONS)
    level_input: bool = structure(True, "the noise level as an input")
    multiple, reach, optimizer = 1, 0, "sgd"

    @nn.compact
    def __call__(self, images, level=None):
        image, told, constant = (self.param(name, nn.initializers.ones, ()) for name in ("image", "level", "constant"))
        shown = jnp.reshape(jnp.asarray(level, jnp.float32), (-1, 1, 1, 1)) if self.level_input else 0.0
        return image * images + told * shown + constant


def weights(image=0.0, level=0.0, constant=0.0):
    return {"image": np.float32(image), "level": np.float32(level), "constant": np.float32(constant)}


def denoiser(params, module=None, **noise):
    return Denoiser(module or Probe(), params, About(check_noise(Noise(**noise)), channels=1))


def expected_mse(denoised):
    return np.square(np.clip(denoised, 0, 1) - CLEAN, dtype=np.float64).mean((1, 2, 3))


def test_a_network_with_a_level_input_is_told_the_level_of_the_test():
    levels = (0.1, 0.25, 0.9)
    scores, _ = measure([denoiser(weights(level=1))], IMAGES, Noise(), levels)
    for i, level in enumerate(levels):
        np.testing.assert_allclose(scores["mse"][i, 0], expected_mse(level), rtol=1e-5)


@pytest.mark.parametrize("logit", [-40.0, 40.0])
def test_bce_of_logits_is_not_that_of_the_clamped_image(logit):
    """The image of such logits is 0 or 1, whose BCE ends at 16.1 a wrong pixel; that of the logits is 40."""
    scores, _ = measure([denoiser(weights(constant=logit), Probe("logits"))], IMAGES, Noise(), [0.5])
    wrong = CLEAN if logit < 0 else 1 - CLEAN
    np.testing.assert_allclose(scores["bce"][0, 0], abs(logit) * wrong.mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(scores["mse"][0, 0], expected_mse(float(logit > 0)), rtol=1e-5)


def test_every_denoiser_is_measured_on_its_own_corruption_and_clipping_in_its_own_row():
    """Halved, an image that was clipped differs from one that was not, also after the clamping of every metric."""
    noises = [
        Noise("gaussian"), Noise("masking"), Noise("gaussian", clip=False), Noise("masking"), Noise("gaussian"),
    ]  # fmt: skip
    shares = (0.5, 0.6, 0.7, 0.8, 0.9)
    several = [
        denoiser(weights(image=share), corruption=noise.corruption, level=0.5, clip=noise.clip)
        for share, noise in zip(shares, noises, strict=True)
    ]
    rows = jaxdae.evaluate(several, IMAGES, [0.25, 0.75], seed=7)
    assert len([row for row in rows if row["member"] != "identity"]) == 10
    for row in rows:
        if row["member"] == "identity":
            noise, share = Noise(row["test_corruption"]), 1.0
        else:
            noise, share = noises[row["member"]], shares[row["member"]]
        assert row["test_corruption"] == noise.corruption
        noisy = jaxdae.noisy_examples(IMAGES, noise.replace(level=row["test_level"]), seed=7)
        assert row["mse"] == pytest.approx(expected_mse(share * np.asarray(noisy)).mean(), rel=1e-5)


def test_validation_and_its_images_tell_a_blind_network_the_level_of_each_image():
    member = member_of(weights(), noise=Noise(level=(0.2, 0.8)))
    stacked = jax.tree.map(lambda x: np.asarray(x)[None], weights(level=1))
    arguments = parallel.replicate((stacked, stack([member]), InMemory(IMAGES)))
    levels = drawn_levels(3)
    assert np.ptp(levels) > 0.1
    [loss], [psnr] = validate(*arguments, seed=3)
    np.testing.assert_allclose(loss, np.mean(expected_mse(levels[:, None, None, None])), rtol=1e-5)
    np.testing.assert_allclose(psnr, np.mean(-10 * np.log10(expected_mse(levels[:, None, None, None]))), rtol=1e-5)
    _, denoised, _ = sample_images(*arguments, seed=3, count=4)
    np.testing.assert_allclose(denoised[0, :, 0, 0, 0], levels[:4], rtol=1e-6)


def drawn_levels(seed):
    """The level of every image: a uniform number by the purpose "level" (2), in place of an epoch the evaluation."""
    key = jax.random.key(seed, impl="threefry2x32")
    keys = [jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key, 2), 2**32 - 1), i) for i in range(6)]
    return np.array([0.2 + 0.6 * float(jax.random.uniform(key)) for key in keys], np.float32)


def test_a_denoiser_tells_every_image_its_own_level_in_whatever_batches():
    levels = np.linspace(0, 1, 6, dtype=np.float32)
    told = denoiser(weights(level=1))
    np.testing.assert_allclose(told(CLEAN, levels)[:, 0, 0, 0], levels, atol=1e-6)
    np.testing.assert_allclose(told(CLEAN[:1], 0.3)[:, 0, 0, 0], 0.3, atol=1e-6)


def test_figures_tell_the_level_that_they_draw(monkeypatch):
    shown = {}
    monkeypatch.setattr("jaxdae.plots.noisy_denoised_clean", lambda noisy, denoised, *_, **__: shown.update(d=denoised))
    monkeypatch.setattr("jaxdae.plots.noisy_digits", lambda noisy: None)
    image_figures(denoiser(weights(level=1), level=0.25), DATA)
    np.testing.assert_allclose(shown["d"], 0.25, atol=1e-6)
    image_figures(denoiser(weights(level=1), level=0.25), DATA, noise_level=0.75)
    np.testing.assert_allclose(shown["d"], 0.75, atol=1e-6)


def member_of(params, **fields):
    model = fields.pop("model", Probe())
    return check_member(Member(model=model, objective=Supervised("mse"), **fields))


LEVELS = (0.1, 0.2, 0.3, 0.4)


@pytest.fixture
def mixed_run(monkeypatch):
    """Members of two structures in turn; the last weights of member i say (i + 1) / 10, the best ones 5 / 10 more."""
    monkeypatch.setitem(models.MODELS, "probe", Probe)
    members = tuple(
        member_of(None, model=Probe(level_input=i % 2 == 1), noise=Noise(level=level)) for i, level in enumerate(LEVELS)
    )
    groups = group_members(members)
    assert [group.indices for group in groups] == [(0, 2), (1, 3)]

    def stacked(offset):
        constants = [np.float32([(i + 1) / 10 + offset for i in group.indices]) for group in groups]
        return [{"image": 0 * c, "level": 0 * c, "constant": c} for c in constants]

    bests = [Best(params, np.zeros(2, np.float32), np.full(2, 1, np.int32)) for params in stacked(0.5)]
    source = {"dataset": "digits", "sha256": "0", "image": [16, 16, 1]}
    config = folder.Config(members, folder.Loop(epochs=2, evaluation_seed=5), source)
    history = [{"epoch": 2, "member": i, "train_mse": 0.1, "val_mse": 0.1} for i in range(4)]
    return make_run(config, stacked(0.0), bests, history, None, (Progress(2),) * 4)


def test_a_mixed_run_gives_every_member_its_own_last_and_best_weights(mixed_run):
    for weights_name, offset in (("last", 0.0), ("best", 0.5)):
        constants = [float(d.params["constant"]) for d in mixed_run.select(weights=weights_name)]
        np.testing.assert_allclose(constants, [(i + 1) / 10 + offset for i in range(4)], rtol=1e-6)
    assert [d.about.noise.level[0] for d in mixed_run.denoisers] == list(LEVELS)
    rows = [row for row in jaxdae.evaluate(mixed_run.denoisers, IMAGES, [0.5]) if row["member"] != "identity"]
    for i, row in enumerate(rows):
        assert (row["member"], row["noise_level"]) == (i, f"{LEVELS[i]:g}")
        assert row["mse"] == pytest.approx(expected_mse((i + 1) / 10).mean(), rel=1e-5)


@pytest.mark.parametrize(("words", "offset"), [((), 0.0), (("--weights", "best"), 0.5)])
def test_the_command_measures_the_chosen_weights_on_the_noise_of_the_evaluation_seed(
    mixed_run, monkeypatch, capsys, words, offset
):
    monkeypatch.setattr(options, "load_run", lambda arguments: (mixed_run, data_module.ImageData(IMAGES, IMAGES)))
    monkeypatch.setattr(options, "load_denoiser_data", lambda arguments: None)
    status, out, _ = run_command(capsys, "evaluate", "x", "--member", 2, "--test-levels", 0.5, "--json", *words)
    rows = json.loads(out)
    assert status == 0 and [row["member"] for row in rows] == ["identity", 2]
    assert rows[1]["mse"] == pytest.approx(expected_mse(0.3 + offset).mean(), rel=1e-5)
    noisy = jaxdae.noisy_examples(IMAGES, Noise(level=0.5), seed=5)
    assert rows[0]["mse"] == pytest.approx(expected_mse(np.asarray(noisy)).mean(), rel=1e-5)
