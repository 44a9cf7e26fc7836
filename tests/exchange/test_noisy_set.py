"""The file holds the images that the evaluation measures."""

import hashlib
import json

import numpy as np
import pytest
from tiny import DATA

import jaxdae
from jaxdae import cli, evaluation
from jaxdae.errors import InputError
from jaxdae.exchange.noisy_set import write_noisy_set

NOISE = jaxdae.Noise(level=0.3)


@pytest.mark.slow
def test_it_holds_what_is_measured(tmp_path):
    digest = write_noisy_set(tmp_path / "set.npz", DATA.test, NOISE, seed=4)
    with np.load(tmp_path / "set.npz") as file:
        noisy, clean, about = file["noisy"], file["clean"], json.loads(str(file["about"]))
        assert str(file["sha256"]) == digest == hashlib.sha256(noisy.tobytes() + clean.tobytes()).hexdigest()
    np.testing.assert_array_equal(clean, DATA.test)
    assert noisy.dtype == np.float32 and about["seed"] == 4 and about["noise"]["level"] == [0.3, 0.3]
    _, identity = evaluation.measure([], DATA.test, NOISE, [0.3], seed=4)
    psnr = -10 * np.log10(((noisy - clean / 255) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(psnr, identity["psnr"][0], rtol=1e-5)


@pytest.mark.slow
def test_the_command(tmp_path, capsys):
    out = ["--out", str(tmp_path / "set.npz")]
    assert cli.main(["noisy-set", "--noise-level", "51", "--noise-scale", "255", "--no-clip", *out]) == 0
    said = capsys.readouterr().out
    with np.load(tmp_path / "set.npz") as file:
        assert said.endswith(f"297 noisy and clean images, SHA-256 {file['sha256']}\n")
        assert file["noisy"].min() < 0 and json.loads(str(file["about"]))["noise"]["level"] == [0.2, 0.2]
    before = (tmp_path / "set.npz").read_bytes()
    assert cli.main(["noisy-set", "--noise-level", "-1", *out]) == 2
    assert (tmp_path / "set.npz").read_bytes() == before


@pytest.mark.parametrize("name", ["set", "set.npy"])
def test_another_name_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"must end in \.npz"):
        write_noisy_set(tmp_path / name, DATA.test, NOISE)
