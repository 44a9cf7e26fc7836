"""Training on pictures of one's own from the command line: every verb, and what is refused."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from command import refused, run
from PIL import Image

import jaxdae
from jaxdae import cli
from jaxdae.cli import report
from jaxdae.runs import folder

SMALL = ["--patch", "16", "--width", "2", "--depth", "1", "--batch-size", "4", "--chunk-steps", "2", "--no-progress"]
SHAPES = ((20, 30), (25, 22), (16, 40), (33, 18), (24, 24))


def save(path, noise=0.0):
    """Pictures of unequal sizes."""
    path.mkdir()
    draw = np.random.default_rng(0)
    for number, (height, width) in enumerate(SHAPES):
        clean = np.linspace(50, 200, height * width).reshape(height, width)
        Image.fromarray((clean + draw.normal(0, 1, clean.shape) * noise).astype(np.uint8)).save(path / f"{number}.png")
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return save(tmp_path_factory.mktemp("own") / "pictures")


@pytest.fixture(scope="module")
def trained(pictures, tmp_path_factory):
    """Two epochs of augmented patches."""
    path = tmp_path_factory.mktemp("runs") / "own"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_figures", lambda *_: [])
        words = ["train", "--dataset", str(pictures), "--augment", "--epochs", "2", "--out", str(path), *SMALL]
        assert cli.main(words) == 0
    return path


def same_params(a, b):
    for mine, theirs in zip(*(jaxdae.load_run(path).params for path in (a, b)), strict=True):
        for layer in mine:
            for name in mine[layer]:
                np.testing.assert_array_equal(mine[layer][name], theirs[layer][name])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dataset", "{}/gone"], "gone does not exist"),
        (["--dataset", "photo"], "is not known"),
        (["--dataset", "{}", "--patch", "17"], "give --patch 16 or less"),
        (["--dataset", "{}", "--patch", "16", "--holdout", "2"], "held out by --held-out"),
        (["--dataset", "{}", "--patch", "16", "--target", "{}/gone"], "gone does not exist"),
        (["--dataset", "{}", "--patch", "16", "--target", "{}"], "is the folder of the noisy pictures itself"),
        (["--dataset", "digits", "--patch", "16"], "--patch is for pictures of your own (--dataset FOLDER), not for"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_written(capsys, tmp_path, pictures, words, sentence):
    refused(capsys, sentence, "train", *(word.format(pictures) for word in words), "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_run_keeps_how_its_pictures_are_read(trained, pictures):
    source = folder.load_config(trained).source
    assert {name: source[name] for name in source if name != "sha256"} == {
        "dataset": str(pictures.resolve()), "target": None, "patch": 16, "colour": "grey", "augment": True,
        "held_out": 0.1, "image": [16, 16, 1],
    }  # fmt: skip


@pytest.mark.slow
def test_it_is_evaluated_resumed_and_plotted(capsys, trained, pictures, tmp_path):
    status, out, _ = run(capsys, "evaluate", trained, "--json")
    rows = json.loads(out)
    line = folder.read_history(trained)[-1]
    assert status == 0 and rows[1]["psnr"] == pytest.approx(line["val_psnr"], abs=2e-5)
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / folder.CONFIG
    path.write_text(path.read_text().replace(str(pictures.resolve()), str(tmp_path / "gone")))
    status, out, _ = run(capsys, "plot", tmp_path / "run")
    assert status == 0 and "only the loss curves" in out
    assert [file.name for file in (tmp_path / "run" / folder.FIGURES).iterdir()] == ["loss.png"]
    refused(capsys, "gone does not exist", "evaluate", tmp_path / "run")
    shutil.copytree(pictures, tmp_path / "gone")
    Image.fromarray(np.zeros(SHAPES[0], np.uint8)).save(tmp_path / "gone" / "0.png")
    for verb in ("evaluate", "resume", "plot"):
        refused(capsys, "gone has changed since", verb, tmp_path / "run")


@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_bit(capsys, trained, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write_figures", lambda *_: [])
    words = ["train", "--dataset", pictures, "--augment", "--epochs", "2", "--out", tmp_path / "run", *SMALL]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, words)], capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(folder.read_history(tmp_path / "run")) == 1
    assert run(capsys, "resume", tmp_path / "run", "--no-progress")[0] == 0
    same_params(tmp_path / "run", trained)


KILLED = """
import os, signal, sys
from jaxdae import cli, training
from jaxdae.runs import checkpoints
train_chunk, save = training.train_chunk, checkpoints.save
def saved(manager, *rest):
    save(manager, *rest)
    manager.wait_until_finished()
checkpoints.save = saved
def killed(*args, **kwargs):
    if args[3] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_chunk(*args, **kwargs)
training.train_chunk = killed
cli.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_pairs_are_trained_and_measured_on_their_own_noise(capsys, tmp_path, pictures, monkeypatch):
    monkeypatch.setattr(report, "write_figures", lambda *_: [])
    noisy = save(tmp_path / "noisy", noise=20)
    words = ["--dataset", noisy, "--target", pictures, "--epochs", "1", "--out", tmp_path / "run"]
    other = ["--objective", "noise2noise", "--no-clip", "--prediction", "image"]
    refused(capsys, "train pairs with supervised", "train", *words, *SMALL, *other)
    assert run(capsys, "train", *words, *SMALL)[0] == 0
    data = jaxdae.data.load_again(folder.load_config(tmp_path / "run").source)
    assert folder.load_config(tmp_path / "run").members[0].noise.level == (0, 0)
    identity, row = json.loads(run(capsys, "evaluate", tmp_path / "run", "--json")[1])
    clean, real = data.test / 255, data.noisy_test / 255
    assert identity["psnr"] == pytest.approx(np.mean(-10 * np.log10(((clean - real) ** 2).mean((1, 2, 3)))), abs=1e-3)
    assert row["psnr"] == pytest.approx(folder.read_history(tmp_path / "run")[-1]["val_psnr"], abs=2e-5)
