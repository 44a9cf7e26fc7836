"""The calls of the README, end to end on the embedded digits with a small model."""

import json
import os
import signal

import numpy as np
import pytest
from PIL import Image
from tiny import pixels

from jaxdae import cli, data, training
from jaxdae.config import preset
from jaxdae.run_folder import load_config

SMALL = ["--width", "2", "--depth", "1", "--batch-size", "500", "--no-progress"]


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Three models, trained in two calls."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    levels = ["--noise-levels", "0.25", "0.5", "0:1", "--seeds", "0"]
    assert cli.main(["train", "--dataset", "digits", *levels, "--epochs", "1", "--out", str(folder), *SMALL]) == 0
    assert cli.main(["train", "--resume", str(folder), "--epochs", "2", "--no-progress"]) == 0
    return folder


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def refused(capsys, sentence, *arguments):
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert sentence in " ".join((out + err).replace("│", " ").split())
    assert "Traceback" not in out + err


def test_the_report_of_a_population_names_its_model(capsys, population):
    status, out, _ = run(capsys, "train", "--resume", population, "--no-progress")
    lines = out.split("\n")
    assert status == 0 and lines[1].startswith("model 1 (noise level 0.5, seed 0)") and lines[4].split()[0] == "1"


def test_without_arguments_it_says_what_to_do_next(capsys):
    for arguments in ([], ["--help"]):
        status, out, _ = run(capsys, *arguments)
        assert status == 0 and "jaxdae train" in out and "jaxdae denoise" in out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(capsys, command):
    status, out, _ = run(capsys, command, "--help")
    assert status == 0 and f"usage: jaxdae {command}" in out


def test_train_reports_identity_and_denoised_and_where_things_are(capsys, tmp_path):
    status, out, _ = run(capsys, "train", "--epochs", "1", "--out", tmp_path / "run", *SMALL)
    lines = out.split("\n")
    assert status == 0
    assert lines[1] == "model 0 (noise level 0.5, seed 0), last epoch 1, on 297 test images:"
    assert [line.split()[0] for line in lines[2:5]] == ["model", "identity", "0"]
    paths = [line.split(None, 1)[1] for line in lines if line.startswith(("figures", "checkpoint"))]
    assert all(os.path.exists(path) for path in [*paths[0].split(", "), paths[1]])


def test_evaluate_prints_rows(capsys, population):
    status, out, _ = run(capsys, "evaluate", population, "--noise-levels", "0.1", "0.5", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [(row["model"], row["test_level"]) for row in rows] == [
        (model, level) for level in (0.1, 0.5) for model in ("identity", 0, 1, 2)
    ]
    assert set(rows[0]) == {"model", "noise_level", "seed", "test_level", "bce", "mse", "psnr", "ssim"}
    assert [row["noise_level"] for row in rows[:4]] == [None, 0.25, 0.5, "0:1"]
    identity = rows[4]
    assert identity["psnr"] == pytest.approx(9.29, abs=0.05)
    status, out, _ = run(capsys, "evaluate", population, "--model", "2", "--checkpoint", "best", "--json")
    assert [row["model"] for row in json.loads(out)] == ["identity", 2]


def test_evaluation_is_what_the_log_says(capsys, population):
    rows = json.loads(run(capsys, "evaluate", population, "--noise-levels", "0.5", "--json")[1])
    lines = [json.loads(line) for line in (population / "metrics.jsonl").read_text().splitlines()]
    logged = next(line for line in lines if line["epoch"] == 2 and line["model"] == 1)
    assert rows[2]["bce"] == pytest.approx(logged["val_bce"], abs=2e-6)
    assert rows[2]["psnr"] == pytest.approx(logged["val_psnr"], abs=2e-5)


def test_plot_writes_and_names_the_figures(capsys, population):
    status, out, _ = run(capsys, "plot", population, "--layer", "decoder_0", "--model", "2")
    named = out.splitlines()
    assert status == 0
    assert named[0] == "model 2 (noise level 0:1, seed 0), last epoch 2"
    assert [os.path.basename(path) for path in named[1:]] == [
        "loss.png", "noisy.png", "denoised.png", "features_decoder_0.png"
    ]  # fmt: skip
    assert all(pixels(path).shape[1] > 500 for path in named[1:])


def test_denoise_keeps_names_and_sizes(capsys, tmp_path, population):
    (tmp_path / "photos").mkdir()
    digit = data.load("digits").test[0, ..., 0]
    Image.fromarray(digit).save(tmp_path / "scan.png")
    Image.fromarray(np.stack([digit] * 3, -1)[:20, :27]).save(tmp_path / "photos" / "b.png")
    arguments = [tmp_path / "scan.png", tmp_path / "photos", "--run", population]
    status, out, err = run(capsys, "denoise", *arguments, "--out", tmp_path / "clean")
    assert status == 0 and err == ""
    assert "denoising with model 1 (noise level 0.5, seed 0), last epoch 2" in out
    assert "colour pictures are denoised channel by channel" in out
    assert pixels(tmp_path / "clean" / "b.png").shape == (20, 27, 3)
    plain = pixels(tmp_path / "clean" / "scan.png")
    assert run(capsys, "denoise", *arguments, "--out", tmp_path / "noisy", "--add-noise", "0.5")[0] == 0
    assert not np.array_equal(plain, pixels(tmp_path / "noisy" / "scan.png"))


def test_denoise_inverts_what_is_bright(capsys, tmp_path, population):
    digit = data.load("digits").test[0, ..., 0]
    Image.fromarray(digit).save(tmp_path / "dark.png")
    Image.fromarray(255 - digit).save(tmp_path / "bright.png")
    common = ["--run", population]
    run(capsys, "denoise", tmp_path / "dark.png", "--out", tmp_path / "1", *common)
    _, _, warned = run(capsys, "denoise", tmp_path / "bright.png", "--out", tmp_path / "2", *common)
    _, _, quiet = run(capsys, "denoise", tmp_path / "bright.png", "--out", tmp_path / "3", "--invert", *common)
    assert "try --invert" in warned and quiet == ""
    dark, bright = (pixels(tmp_path / p).astype(int) for p in ("1/dark.png", "3/bright.png"))
    assert np.abs(dark + bright - 255).max() <= 1


def test_denoise_without_a_run_uses_the_pretrained_model(capsys, tmp_path):
    noisy = np.random.default_rng(0).integers(0, 255, (28, 28), np.uint8)
    Image.fromarray(noisy // 2).save(tmp_path / "a.png")
    status, out, _ = run(capsys, "denoise", tmp_path / "a.png", "--out", tmp_path / "clean")
    assert status == 0 and "noise level 0.5, seed 0" in out and (tmp_path / "clean" / "a.png").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_names_the_way_back(capsys, tmp_path, monkeypatch, number, status):
    original = training.train_chunk

    def train_chunk(*args, **kwargs):
        os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    monkeypatch.setattr(training, "train_chunk", train_chunk)
    folder = tmp_path / "run"
    stopped, _, err = run(capsys, "train", "--epochs", "2", "--out", folder, *SMALL)
    assert stopped == status
    assert f"jaxdae train --resume {folder}" in err


def test_a_frozen_model_makes_the_run_fail_at_its_end(capsys, tmp_path, monkeypatch):
    original = training.train_chunk

    def train_chunk(*args, **kwargs):
        states, losses = original(*args, **kwargs)
        return states, losses.at[1].set(np.nan)

    monkeypatch.setattr(training, "train_chunk", train_chunk)
    levels = ["--noise-levels", "0.25", "0.5", "1"]
    status, out, _ = run(capsys, "train", "--epochs", "1", *levels, "--out", tmp_path / "run", *SMALL)
    assert status == 1
    assert "model 1 (noise level 0.5, seed 0), last epoch 1: frozen" in out


def test_a_preset_gives_way_to_options(capsys, tmp_path):
    out = tmp_path / "run"
    small = ["--dataset", "digits", "--epochs", "1", "--average", "0.5", "--out", out, *SMALL]
    status, _, err = run(capsys, "train", "--preset", "fast", *small)
    assert status == 0, err
    assert load_config(out) == preset("fast", dataset="digits", epochs=1, average=0.5, width=2, depth=1, batch_size=500)
    refused(capsys, "one_cycle schedule over 1 epochs", "train", "--resume", out, "--epochs", "2")
    refused(capsys, "leave out --out, --overwrite and --preset", "train", "--resume", out, "--preset", "fast")


def test_what_is_refused(capsys, tmp_path, population):
    refused(capsys, "command 'trian' is not known; did you mean train?", "trian")
    refused(capsys, "dataset 'mnits' is not known; did you mean mnist", "train", "--dataset", "mnits")
    refused(capsys, "noise level -1.0 is out of range", "train", "--noise-levels", "-1")
    refused(capsys, "noise level 'x:y' is neither a number", "train", "--noise-levels", "x:y")
    refused(capsys, "already holds a run; continue it with --resume", "train", "--out", population)
    refused(capsys, "--seeds (1,) differs from the run's own (0,)", "train", "--resume", population, "--seeds", "1")
    refused(capsys, "--width 8 differs from the run's own 2", "train", "--resume", population, "--width", "8")
    refused(capsys, "is at epoch 2 already; --epochs 1 is too few", "train", "--resume", population, "--epochs", "1")
    refused(capsys, "--resume names a run with its settings", "train", "--resume", population, "--out", tmp_path)
    refused(capsys, "has no config.json", "evaluate", tmp_path)
    refused(capsys, "model 3 does not exist", "evaluate", population, "--model", "3")
    refused(capsys, "noise level -0.5 is out of range", "evaluate", population, "--noise-levels", "-0.5")
    refused(capsys, "layer 'encoder_1' is not known; did you mean", "plot", population, "--layer", "encoder_1")
    refused(capsys, "gone.png does not exist", "denoise", tmp_path / "gone.png", "--out", tmp_path / "x")
    refused(capsys, "invalid choice", "train", "--corruption", "salt")
    file = tmp_path / "file"
    file.touch()
    refused(capsys, "file", "train", "--out", file / "run", *SMALL)
    assert not (tmp_path / "x").exists()
