"""Denoisers by name or path: the one in the package, saved ones, and those of run folders."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from tiny import DATA, MEMBER, random_params

import jaxdae
from jaxdae import exchange, parallel
from jaxdae.errors import InputError
from jaxdae.exchange import packaged
from jaxdae.models import count_parameters
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.runs import Loop, checkpoints, folder
from jaxdae.runs.folder import Config
from jaxdae.training import Best, TrainState


def assert_same_denoiser(a, b):
    assert (a.module, a.about) == (b.module, b.about)
    assert jax.tree.structure(a.params) == jax.tree.structure(b.params)
    for x, y in zip(*map(jax.tree.leaves, (a.params, b.params)), strict=True):
        np.testing.assert_array_equal(x, y)


def test_the_packaged_denoiser_is_that_of_the_classic_experiment():
    digits = jaxdae.load_denoiser("digits")
    classic = jaxdae.PRESETS["classic"].member
    assert digits.module == classic.model and count_parameters(digits.params) == 28353
    assert digits.about.noise == classic.noise and digits.about.channels == 1
    assert digits.about.value_range == (0.0, 255.0) and digits.about.size is None
    assert "MNIST" in digits.about.origin


@pytest.mark.parametrize(
    "about",
    [
        About(jaxdae.Noise(level=(0.5, 0.5), redraw=False), 1, seed=0, origin="classic"),
        About(jaxdae.Noise("poisson", (0.0, 1.0), clip=False), 3, (-1.0, 1.0), (16, 24)),
    ],
)
def test_what_is_saved_is_loaded(tmp_path, about):
    model = jaxdae.ConvAutoencoder(width=4, depth=1, prediction="residual", compute_dtype="bfloat16")
    denoiser = Denoiser(model, random_params(model, about.channels), about)
    path = exchange.save_packaged(denoiser, "mine", tmp_path)
    assert sorted(file.name for file in path.iterdir()) == ["about.json", "params.npz"]
    assert json.loads((path / "about.json").read_text())["model"]["kind"] == "autoencoder"
    assert_same_denoiser(packaged._load_packaged(path), denoiser)


def test_the_package_s_own_files_are_what_would_be_saved(tmp_path):
    exchange.save_packaged(jaxdae.load_denoiser("digits"), home=tmp_path)
    own = packaged.HOME / "digits" / "about.json"
    assert (tmp_path / "digits" / "about.json").read_text() == own.read_text()


def test_a_denoiser_of_a_run_folder_is_the_default_member_s(tmp_path):
    members = jaxdae.grid(MEMBER, {"noise.level": [0.1, 0.5], "seed": [1, 0]})
    params = [random_params(MEMBER.model, seed=seed) for seed in range(4)]
    stacked = parallel.replicate(jax.tree.map(lambda *leaves: np.stack(leaves), *params))
    zeros = parallel.replicate(np.zeros(4, np.float32))
    state = TrainState(stacked, (), None, zeros, zeros, zeros > 0)
    folder.write_config(tmp_path, Config(members, Loop(), DATA.describe()))
    with checkpoints.open_manager(tmp_path / folder.CHECKPOINTS, keep=1) as manager:
        checkpoints.save(manager, 1, [state], [Best(stacked, zeros, zeros)])
    denoiser = jaxdae.load_denoiser(tmp_path)
    run = jaxdae.load_run(tmp_path)
    assert members[3].noise.level == (0.5, 0.5) and members[3].seed == 0
    assert_same_denoiser(denoiser, dataclasses.replace(run.denoisers[3], params=params[3]))
    assert denoiser.about.origin.startswith("member 3 (level 0.5, seed 0)")


def test_neither_a_name_nor_a_run_folder_is_refused(tmp_path):
    for name in ("digts", tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError, match=r"is neither a run folder nor a packaged denoiser \(digits\)"):
            jaxdae.load_denoiser(name)
