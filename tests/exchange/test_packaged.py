"""Denoisers by name or path: the one in the package, saved ones, and those of run folders."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from tiny import DATA, MEMBER, assert_same_denoiser, random_params

import jaxdae
from jaxdae import exchange, parallel
from jaxdae.errors import InputError
from jaxdae.exchange import packaged
from jaxdae.models import count_parameters
from jaxdae.runs import Loop, checkpoints, folder
from jaxdae.runs.folder import Config
from jaxdae.training import Best, TrainState


def test_the_packaged_denoiser_is_that_of_the_classic_experiment():
    digits = jaxdae.load_denoiser("digits")
    classic = jaxdae.PRESETS["classic"].member
    assert digits.module == classic.model and count_parameters(digits.params) == 28353
    assert digits.about.noise == classic.noise and digits.about.channels == 1
    assert digits.about.value_range == (0.0, 255.0) and digits.about.size is None
    assert "MNIST" in digits.about.origin


def test_the_packaged_parameters_are_those_that_were_trained():
    digest = hashlib.sha256()
    for name, array in sorted(flatten_dict(jaxdae.load_denoiser("digits").params, sep="/").items()):
        assert array.dtype == np.float32
        digest.update(name.encode() + array.tobytes())
    assert digest.hexdigest() == "c311285509414b3f0fbacb035dd1f7d6e50229fcd52c383895b833855226eb1a"


def test_the_package_s_own_files_are_what_would_be_saved(tmp_path):
    own = packaged.HOME / "digits"
    path = exchange.save_denoiser(jaxdae.load_denoiser("digits"), tmp_path, card=exchange.load_card(own))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        file.name: file.read_bytes() for file in own.iterdir()
    }


def test_every_packaged_denoiser_has_a_whole_card():
    for name in packaged.PACKAGED:
        assert all(vars(exchange.load_card(packaged.folder_of(name))).values())


def test_of_the_packaged_denoisers_the_one_that_fits_a_picture_is_taken():
    denoisers = [jaxdae.load_denoiser(name) for name in packaged.PACKAGED]

    def name(*sides):
        found = packaged.fitting(denoisers, [np.zeros((*pair, 1), np.float32) for pair in sides])
        return packaged.PACKAGED[denoisers.index(found)]

    assert (name((40, 28)), name((41, 28)), name((28, 28), (28, 41))) == ("digits", "photos", "photos")


@pytest.mark.slow
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
        with pytest.raises(InputError, match=r"neither a run folder.* nor a packaged denoiser \(digits, photos\)"):
            jaxdae.load_denoiser(name)
