"""Training on pictures of one's own from the command line: every verb, and what is refused."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from command import refused, run
from PIL import Image

import jaxdae
from jaxdae import cli
from jaxdae.cli import report
from jaxdae.runs import folder

SMALL = ["--patch", "16", "--width", "2", "--depth", "1", "--batch-size", "4", "--chunk-steps", "2", "--no-progress",
         "--coverage", "1", "--schedule", "constant"]  # fmt: skip
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
        (["--dataset", "{}", "--patch", "16", "--target", "next"], "have unequal sizes"),
        (["--dataset", "{}", "--patch", "16", "--range", "9", "1"], "--range 9 1 is not allowed"),
        (["--dataset", "{}", "--target", "{}", "--objectives", "supervised", "noise2noise", "--no-clip"], "two runs"),
        (["--dataset", "digits", "--range", "0", "9"], "--range is for pictures of your own"),
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
        "dataset": str(pictures.resolve()), "target": None, "noisy_target": False, "patch": 16, "colour": "grey",
        "augment": True, "held_out": 0.1, "coverage": 1, "value_range": None, "value_type": "uint8",
        "shared_range": None, "image": [16, 16, 1], "allow_motion": False,
    }  # fmt: skip


@pytest.mark.slow
def test_it_is_evaluated_resumed_and_plotted(capsys, trained, pictures, tmp_path):
    status, out, _ = run(capsys, "evaluate", trained, "--json")
    rows = json.loads(out)
    line = folder.read_history(trained)[-1]
    assert status == 0 and rows[1]["psnr"] == pytest.approx(line["val_psnr"], abs=2e-5)
    shutil.copytree(trained, tmp_path / "run")
    path = tmp_path / "run" / folder.CONFIG
    fields = json.loads(path.read_text().replace(str(pictures.resolve()), str(tmp_path / "gone")))
    del fields["sha256"]  # as is advised to whom changes it
    path.write_text(json.dumps(fields))
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
    assert run(capsys, "train", *words, *SMALL)[0] == 0
    data = jaxdae.data.load_again(folder.load_config(tmp_path / "run").source)
    assert folder.load_config(tmp_path / "run").members[0].noise.level == (0, 0)
    identity, row = json.loads(run(capsys, "evaluate", tmp_path / "run", "--json")[1])
    clean, real = data.test / 255, data.noisy_test / 255
    assert identity["psnr"] == pytest.approx(np.mean(-10 * np.log10(((clean - real) ** 2).mean((1, 2, 3)))), abs=1e-3)
    assert row["psnr"] == pytest.approx(folder.read_history(tmp_path / "run")[-1]["val_psnr"], abs=2e-5)


def db(images, clean):
    """Mean PSNR of images clamped to [0, 1], by NumPy alone."""
    return np.mean(-10 * np.log10(((np.clip(images, 0, 1) - clean) ** 2).mean((1, 2, 3))))


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Five frames of one scene in a 16-bit file, dim and noisy."""
    frames = np.random.default_rng(0).normal(np.linspace(500, 600, 480).reshape(20, 24), 15, (5, 20, 24))
    path = tmp_path_factory.mktemp("stacks") / "stack.tif"
    tifffile.imwrite(path, frames.astype(np.uint16), photometric="minisblack")
    return path


@pytest.mark.slow
def test_frames_are_trained_with_noise2noise_and_nothing_claims_a_clean_picture(capsys, tmp_path, stack, monkeypatch):
    monkeypatch.setattr(report, "write_figures", lambda *_: [])
    words = [
        "train",
        "--dataset",
        stack,
        "--target",
        "next",
        "--objectives",
        "noise2noise",
        "--seeds",
        "0",
        "1",
        *SMALL,
    ]
    refused(capsys, "are noisy, no clean ones for Supervised", *words[:5], *SMALL, "--out", tmp_path / "whole")
    status, out, err = run(capsys, *words, "--epochs", "2", "--out", tmp_path / "whole")
    assert status == 0 and "no clean image is known: measured against the other noisy image" in out
    assert "warning: members 0, 1 are worse than their own noisy input (member 0: " in err
    line = folder.read_history(tmp_path / "whole")[-2]
    assert "val_psnr" not in line and "val_mse" in line
    identity, row, _ = json.loads(run(capsys, "evaluate", tmp_path / "whole", "--json")[1])
    assert not {"bce", "mse", "psnr", "ssim"} & set(row)
    assert row["psnr_to_noisy"] == pytest.approx(line["val_psnr_to_noisy"], abs=2e-5)
    frames = tifffile.imread(stack).astype(np.float64)
    low, high = np.percentile(frames, (0.1, 99.9))
    fourth, fifth = ((frame[None, 2:18, 4:20, None] - low) / (high - low) for frame in frames[3:])
    assert identity["psnr_to_noisy"] == pytest.approx(db(fourth, np.clip(fifth, 0, 1)), abs=1e-3)

    assert run(capsys, *words, "--epochs", "1", "--out", tmp_path / "longer")[0] == 0
    assert run(capsys, "resume", tmp_path / "longer", "--epochs", "2", "--no-progress")[0] == 0
    same_params(tmp_path / "longer", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("clip", [True, False])
def test_values_beyond_the_range_go_through_training_and_evaluation_alike(capsys, tmp_path, stack, clip, monkeypatch):
    monkeypatch.setattr(report, "write_figures", lambda *_: [])
    words = ["train", "--dataset", stack, "--range", "520", "560", "--epochs", "1", "--out", tmp_path / "run", *SMALL]
    other = ["--noise-level", "0.1"] if clip else ["--no-clip", "--noise-level", "0", "--loss", "mse"]
    if not clip:
        refused(capsys, "loss bce has no minimum for targets beyond [0, 1]", *words, *other[:-1], "bce")
    assert run(capsys, *words, *other)[0] == 0
    _, row = json.loads(run(capsys, "evaluate", tmp_path / "run", "--json")[1])
    assert row["psnr"] == pytest.approx(folder.read_history(tmp_path / "run")[-1]["val_psnr"], abs=2e-5)
    if not clip:
        data = jaxdae.data.load_again(folder.load_config(tmp_path / "run").source)
        assert data.noisy_test.max() > 1, "what the network sees"
        [denoiser] = jaxdae.load_run(tmp_path / "run").denoisers
        assert row["psnr"] == pytest.approx(db(denoiser(data.noisy_test), data.test), abs=1e-3)
    status, out, _ = run(capsys, "denoise", stack, "--run", tmp_path / "run", "--out", tmp_path / "out")
    assert status == 0 and "in uint16 files 520 and 560 stand for black and white, as in training" in out
    same = ["denoise", stack, "--run", tmp_path / "run", "--range", "520", "560", "--out", tmp_path / "same"]
    assert run(capsys, *same)[0] == 0
    np.testing.assert_array_equal(*(tifffile.imread(tmp_path / out / "stack.tif") for out in ("out", "same")))
    Image.fromarray(np.full((20, 24), 200, np.uint8)).save(tmp_path / "grey.png")
    assert run(capsys, "denoise", tmp_path / "grey.png", "--run", tmp_path / "run", "--out", tmp_path / "out")[0] == 0
    assert jaxdae.load_run(tmp_path / "run").denoisers[0].about.value_range == (520, 560)


@pytest.mark.slow
def test_a_run_from_python_is_used_from_the_command_with_and_without_its_pictures(capsys, tmp_path, pictures):
    photos = shutil.copytree(pictures, tmp_path / "photos")
    model = jaxdae.ConvAutoencoder(width=2, depth=1)
    members = jaxdae.grid(jaxdae.Member(model=model), {"noise.level": [0.1, 0.2]})
    data = jaxdae.read_own(photos, patch=16)
    made = jaxdae.train(members, data, epochs=1, batch_size=4, chunk_steps=2, out=tmp_path / "run")
    rows = jaxdae.evaluate(made.denoisers, data.test, noisy=data.noisy_test)
    printed = json.loads(run(capsys, "evaluate", tmp_path / "run", "--json")[1])
    assert [row.pop("origin") for row in printed][:2] == [None, "member 0 (level 0.1, seed 0), last epoch 1"]
    assert printed == rows
    assert jaxdae.resume(tmp_path / "run", epochs=2).history[-1]["epoch"] == 2
    assert run(capsys, "plot", tmp_path / "run")[0] == 0
    assert {"loss.png", "noisy.png", "denoised.png"} <= {file.name for file in (tmp_path / "run" / "figures").iterdir()}
    shutil.rmtree(photos)
    assert jaxdae.load_run(tmp_path / "run").denoisers[1](np.zeros((1, 9, 9, 1), np.float32)).shape == (1, 9, 9, 1)
    status, out, _ = run(capsys, "plot", tmp_path / "run")
    assert status == 0 and "only the loss curves" in out
    words = ["denoise", pictures / "0.png", "--run", tmp_path / "run", "--member", "1", "--out", tmp_path / "out"]
    assert run(capsys, *words)[0] == 0 and (tmp_path / "out" / "0.png").exists()
    for verb in ("evaluate", "resume"):
        refused(capsys, "photos does not exist", verb, tmp_path / "run")
