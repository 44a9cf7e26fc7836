"""The calls of the README, end to end on a few small digits with a small network."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from command import refused, run
from PIL import Image
from tiny import DATA, assert_same_denoiser, pixels

from jaxdae import cli, runs, training
from jaxdae.cli import options, report
from jaxdae.data import ImageData, own
from jaxdae.errors import CannotWrite
from jaxdae.exchange import load_card, load_denoiser
from jaxdae.runs import folder

DIGITS = ImageData(DATA.train, DATA.test, "digits")
SMALL = ["--depth", "1", "--batch-size", "16", "--chunk-steps", "2", "--no-progress"]
LEVELS = ["0.25", "0.5", "0:1"]
PAIR = ["--width", "2", "--noise-levels", "0.5", "0:1"]
"""Two members that share their programs with those of `mixed`."""


@pytest.fixture(scope="module", autouse=True)
def small_digits():
    """In place of the embedded digits."""
    with pytest.MonkeyPatch.context() as patch:
        load = options.load
        for module in (options, own):
            patch.setattr(module, "load", lambda name, **dirs: DIGITS if name == "digits" else load(name, **dirs))
        yield


@pytest.fixture
def without_figures(monkeypatch):
    """Drawing takes seconds."""
    monkeypatch.setattr(report, "write_figures", lambda *_: [])


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Six members, trained in two calls."""
    path = tmp_path_factory.mktemp("runs") / "levels"
    grid = ["--noise-levels", *LEVELS, "--seeds", "0", "1", "--width", "2"]
    assert cli.main(["train", *grid, "--epochs", "1", "--out", str(path), *SMALL]) == 0
    assert cli.main(["resume", str(path), "--epochs", "2", "--no-progress"]) == 0
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Four members in two groups."""
    path = tmp_path_factory.mktemp("runs") / "mixed"
    grid = ["--width", "2", "--corruptions", "gaussian", "masking", "--learning-rates", "0.5", "1.0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_figures", lambda *_: [])
        assert cli.main(["train", *grid, "--epochs", "1", "--out", str(path), *SMALL]) == 0
    return path


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_a_verb_it_says_what_to_do_next(capsys, words):
    status, out, _ = run(capsys, *words)
    assert status == 0 and all(f"jaxdae {verb}" in out for verb in cli.VERBS)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_help(capsys, verb):
    status, out, _ = run(capsys, verb, "--help")
    assert status == 0 and f"usage: jaxdae {verb}" in out


@pytest.mark.slow
def test_train_reports_identity_and_denoised_and_where_things_are(capsys, population):
    status, out, err = run(capsys, "resume", population, "--no-progress")
    lines = out.split("\n")
    assert status == 0 and err.startswith("warning: members 0, ") and "worse than their own noisy input" in err
    assert lines[1] == "member 2 (level 0.5, seed 0), last epoch 2, on 20 test images:"
    assert [line.split()[0] for line in lines[2:5]] == ["member", "identity", "2"]
    paths = [line.split(None, 1)[1] for line in lines if line.startswith(("figures", "checkpoint"))]
    assert all(os.path.exists(path) for path in [*paths[0].split(", "), paths[1]])


@pytest.mark.slow
def test_evaluate_prints_rows(capsys, population):
    status, out, _ = run(capsys, "evaluate", population, "--test-levels", "0.1", "0.5", "--json")
    rows = json.loads(out)
    assert status == 0
    assert [(row["member"], row["test_level"]) for row in rows] == [
        (member, level) for level in (0.1, 0.5) for member in ("identity", *range(6))
    ]
    assert list(rows[0]) == [
        "member", "noise_level", "seed", "test_corruption", "test_level", "bce", "mse", "psnr", "ssim", "origin"
    ]  # fmt: skip
    assert rows[0]["origin"] is None and rows[3]["origin"] == "member 2 (level 0.5, seed 0), last epoch 2"
    assert [(row["noise_level"], row["seed"]) for row in rows[:7]] == [
        (None, None), *((level, seed) for level in LEVELS for seed in (0, 1))
    ]  # fmt: skip
    lines = [line for line in folder.read_history(population) if line["epoch"] == 2]
    for member in (2, 3):  # trained at level 0.5
        assert rows[8 + member]["bce"] == pytest.approx(lines[member]["val_bce"], abs=2e-6)
        assert rows[8 + member]["psnr"] == pytest.approx(lines[member]["val_psnr"], abs=2e-5)


@pytest.mark.slow
def test_evaluate_takes_one_member_and_other_weights(capsys, population):
    status, out, _ = run(capsys, "evaluate", population, "--member", "2", "--weights", "best", "--json")
    assert status == 0 and [row["member"] for row in json.loads(out)] == ["identity", 2]
    status, out, _ = run(capsys, "evaluate", population, "--member", "2", "--test-level", "0.5")
    assert status == 0 and out.startswith("member 2 (level 0.5, seed 0), last epoch 2\n")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["member", "identity", "2"]


@pytest.mark.slow
def test_members_are_measured_with_their_own_corruption_or_one_for_all(capsys, mixed):
    status, out, _ = run(capsys, "evaluate", mixed, "--json")
    rows = json.loads(out)
    assert status == 0
    assert [(row["test_corruption"], row["member"]) for row in rows] == [
        *(("gaussian", member) for member in ("identity", 0, 1)),
        *(("masking", member) for member in ("identity", 2, 3)),
    ]
    status, out, _ = run(capsys, "evaluate", mixed, "--member", "2", "--test-corruption", "gaussian", "--json")
    assert [(row["test_corruption"], row["member"]) for row in json.loads(out)] == [
        ("gaussian", "identity"), ("gaussian", 2)
    ]  # fmt: skip
    assert json.loads(out)[0] == rows[0]


@pytest.mark.slow
def test_a_mixed_run_is_resumed(capsys, tmp_path, mixed, without_figures):
    shutil.copytree(mixed, tmp_path / "run")
    status, out, _ = run(capsys, "resume", tmp_path / "run", "--epochs", "2", "--no-progress")
    assert status == 0 and "member 0 (gaussian, learning rate 0.5, level 0.5, seed 0), last epoch 2" in out
    assert len(folder.read_history(tmp_path / "run")) == 8


@pytest.mark.slow
def test_plot_writes_and_names_the_figures(capsys, population):
    status, out, _ = run(capsys, "plot", population, "--layer", "decoder_0", "--member", "4", "--noise-level", "0.3")
    named = out.splitlines()
    assert status == 0
    assert named[0] == "member 4 (level 0:1, seed 0), last epoch 2"
    assert [os.path.basename(path) for path in named[1:]] == [
        "loss.png", "noisy.png", "denoised.png", "features_decoder_0.png"
    ]  # fmt: skip
    assert all(pixels(path).shape[1] > 500 for path in named[1:])


@pytest.mark.slow
def test_denoise_uses_the_member_of_a_run(capsys, tmp_path, population):
    digit = DATA.test[0, ..., 0] // 2
    Image.fromarray(digit).save(tmp_path / "scan.png")
    arguments = ["denoise", tmp_path / "scan.png", "--run", population]
    for member, level in (("2", "0.5"), ("4", "0:1")):
        status, out, err = run(capsys, *arguments, "--member", member, "--out", tmp_path / member)
        assert status == 0 and err == ""
        assert out.splitlines() == [
            f"denoising with member {member} (level {level}, seed 0), last epoch 2",
            str(tmp_path / member / "scan.png"),
        ]
    [denoiser] = runs.load_run(population).select([4])
    expected = denoiser(digit[None, ..., None] / np.float32(255))[0, ..., 0]
    np.testing.assert_allclose(pixels(tmp_path / "4" / "scan.png") / 255, expected, atol=0.003)
    status, out, _ = run(capsys, *arguments, "--weights", "best", "--add-noise", "0.5", "--out", tmp_path / "noisy")
    assert status == 0 and "member 2 (level 0.5, seed 0), best epoch" in out
    assert not np.array_equal(pixels(tmp_path / "2" / "scan.png"), pixels(tmp_path / "noisy" / "scan.png"))


@pytest.mark.slow
def test_export_takes_a_member_and_says_what_the_run_measured(capsys, tmp_path, population):
    words = ("export", population, "--to", "safetensors", "--member", "4", "--weights", "best", "--out", tmp_path)
    status, out, err = run(capsys, *words)
    assert status == 0 and err == "" and out.startswith("member 4 (level 0:1, seed 0), best epoch")
    trained = runs.load_run(population)
    [denoiser] = trained.select([4], "best")
    assert_same_denoiser(load_denoiser(tmp_path), denoiser)
    epoch = int(trained.best[4].epoch)
    [line] = [line for line in trained.history if (line["epoch"], line["member"]) == (epoch, 4)]
    assert load_card(tmp_path).numbers[f"val_psnr, epoch {epoch}"] == line["val_psnr"]
    refused(capsys, "member 9 does not exist", *words[:4], "--member", "9", "--out", tmp_path / "other")


@pytest.mark.slow
def test_levels_are_taken_on_the_scale_of_8_bit_images(capsys, tmp_path, population):
    Image.fromarray(DATA.test[0, ..., 0]).save(tmp_path / "scan.png")
    noisy = ["denoise", tmp_path / "scan.png", "--run", population, "--add-noise"]
    assert run(capsys, *noisy, "51", "--noise-scale", "255", "--out", tmp_path / "a")[0] == 0
    assert run(capsys, *noisy, "0.2", "--out", tmp_path / "b")[0] == 0
    np.testing.assert_array_equal(pixels(tmp_path / "a" / "scan.png"), pixels(tmp_path / "b" / "scan.png"))
    refused(capsys, "noise level 51 is out of range", *noisy, "51", "--out", tmp_path / "c")
    measured = ["evaluate", population, "--member", "2", "--json", "--test-levels"]
    scaled = json.loads(run(capsys, *measured, "127.5", "--noise-scale", "255")[1])
    assert scaled == json.loads(run(capsys, *measured, "0.5")[1])


@pytest.mark.slow
def test_an_estimated_level_chooses_among_the_members_of_one_level(capsys, tmp_path, population):
    sheet = np.tile(np.pad(DATA.test[0, ..., 0] / 255, 6), (8, 8))
    noisy = np.clip(sheet + 0.28 * np.random.default_rng(0).standard_normal(sheet.shape), 0, 1)
    Image.fromarray(np.round(255 * noisy).astype(np.uint8)).save(tmp_path / "a.png")
    arguments = ["denoise", tmp_path / "a.png", "--run", population, "--noise-level"]
    status, out, _ = run(capsys, *arguments, "auto", "--out", tmp_path / "clean")
    assert status == 0 and "the nearest by its noise level of 4 members" in out
    assert "of 255), estimated: member 0 (level 0.25, seed 0), last epoch" in out
    own = [*arguments, "auto", "--member", "2", "--out", tmp_path / "x"]
    refused(capsys, "this denoiser takes no noise level; leave --noise-level out", *own)
    refused(capsys, "'high' is neither a number nor auto", *arguments, "high", "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_denoise_without_a_run_takes_the_packaged_denoiser_that_fits(capsys, tmp_path):
    Image.fromarray(DATA.test[0, ..., 0]).save(tmp_path / "a.png")
    status, out, _ = run(capsys, "denoise", tmp_path / "a.png", "--out", tmp_path / "clean")
    assert status == 0 and "  with MNIST" in out and pixels(tmp_path / "clean" / "a.png").shape == (16, 16)
    rng = np.random.default_rng(0)
    for name, level in (("b.png", 20), ("c.png", 100)):
        noisy = np.clip(128 + level * rng.standard_normal((41, 96)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(tmp_path / name)
    status, out, _ = run(capsys, "denoise", tmp_path / "b.png", "--out", tmp_path / "clean")
    denoised = pixels(tmp_path / "clean" / "b.png").astype(float)
    assert status == 0 and "  with embedded photographs" in out and np.abs(denoised - 128).mean() < 5
    status, _, err = run(capsys, "denoise", tmp_path / "c.png", "--out", tmp_path / "clean")
    assert status == 0 and "by estimate, more than the packaged denoiser was made for (0.22)" in err
    status, out, _ = run(capsys, "denoise", tmp_path / "b.png", "--out", tmp_path / "mine", "--run", "digits")
    assert status == 0 and "denoising with MNIST" in out
    refused(capsys, "name the run with --run", "denoise", tmp_path / "a.png", "--out", tmp_path / "x", "--member", "1")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_names_the_way_back(capsys, tmp_path, monkeypatch, number, status):
    original = training.train_chunk

    def train_chunk(*args, **kwargs):
        os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    monkeypatch.setattr(training, "train_chunk", train_chunk)
    stopped, _, err = run(capsys, "train", *PAIR, "--epochs", "2", "--out", tmp_path / "run", *SMALL)
    assert stopped == status
    assert f"stopped; continue with: jaxdae resume {tmp_path / 'run'}" in err


@pytest.mark.slow
def test_a_frozen_member_makes_the_run_fail_at_its_end(capsys, tmp_path, without_figures):
    rates = ["--learning-rates", "1", "1e38", "--width", "2"]
    status, out, _ = run(capsys, "train", "--epochs", "1", *rates, "--out", tmp_path / "run", *SMALL)
    assert status == 1
    assert "member 1 (learning rate 1e+38, level 0.5, seed 0), last epoch 1: frozen, its loss was not finite" in out


@pytest.mark.slow
def test_a_batch_is_at_most_the_dataset(monkeypatch, tmp_path):
    plans = []

    def train_chunk(*args, plan, **kwargs):
        plans.append(plan)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_chunk", train_chunk)
    huge = ["--batch-size", str(10**30), "--chunk-steps", str(10**30)]
    assert cli.main(["train", *PAIR, "--out", str(tmp_path / "run"), *SMALL, *huge]) == 130
    assert plans == [training.Plan(50, batch_size=50, steps=1, chunk_length=1, chunks=1)]


OUT_OF_MEMORY = (
    "RESOURCE_EXHAUSTED: Out of memory allocating 154618822656 bytes.",
    "INTERNAL: Error dispatching computation: Out of memory allocating 360000000000000000 bytes.",
)


@pytest.mark.parametrize("error", [*map(jax.errors.JaxRuntimeError, OUT_OF_MEMORY), MemoryError()])
def test_a_memory_that_is_too_small_is_said_in_a_sentence(capsys, tmp_path, monkeypatch, error):
    def initial_states(*args):
        raise error

    monkeypatch.setattr(training, "initial_states", initial_states)
    refused(capsys, "the memory is too small for this (", "train", "--width", "2", "--out", tmp_path / "run", *SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (CannotWrite("the disk is full"), 1, "the disk is full"),
        (OSError(errno.ENOSPC, "No space left", "a.png"), 1, "a.png cannot be used: No space left"),
        (
            PermissionError(errno.EACCES, "Permission denied", "a\n.png"),
            2,
            "a\\n.png cannot be used: Permission denied",
        ),
    ],
)
def test_what_is_no_fault_of_the_command_line_ends_with_status_1(capsys, monkeypatch, error, status, sentence):
    def initial_states(*args):
        raise error

    monkeypatch.setattr(training, "initial_states", initial_states)
    assert run(capsys, "train", "--out", "/nowhere/at/all", *SMALL)[::2] == (status, f"jaxdae: {sentence}\n")


def test_a_defect_is_not_hidden(monkeypatch):
    def initial_states(*args):
        raise RuntimeError("a defect")

    monkeypatch.setattr(training, "initial_states", initial_states)
    with pytest.raises(RuntimeError, match="a defect"):
        cli.main(["train", "--out", "/nowhere/at/all", *SMALL])


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("verb 'trian' is not known; did you mean train?", "trian"),
        ("train has no option --resume; `jaxdae resume RUN` continues a run", "train --resume runs/digits"),
        ("train has no option --resume; `jaxdae resume RUN` continues a run", "train --resume=runs/digits"),
        ("unknown option --noise-levls; did you mean --noise-levels", "train --noise-levls 0.5"),
        ("unknown option --model; see jaxdae evaluate --help", "evaluate x --model 3"),
        ("unknown option --width; see jaxdae resume --help", "resume x --width 3"),
        ("dataset 'mnits' is not known; did you mean mnist", "train --dataset mnits"),
        ("preset 'seed' is not known; known: classic, fast", "train --preset seed"),
        ("--rho belongs to the optimizer adadelta, not to sgd; leave it out", "train --optimizer sgd --rho 0.9"),
        ("(in the cell noise.corruption 'masking', noise.level '2')",
         "train --corruptions gaussian masking --noise-levels 1 2"),
        ("width 100000000 is not allowed", "train --widths 100000000"),
        ("epochs 0 is not allowed: give an integer of at least 1", "train --epochs 0"),
        ("the following arguments are required: run", "evaluate"),
        ("gone.png does not exist", "denoise gone.png --out x"),
        ("x is no run folder (it has no config.json)", "resume x"),
        ("x is no run folder (it has no config.json)", "denoise gone.png --out y --run x"),
    ],
)  # fmt: skip
def test_what_is_refused_without_a_run(capsys, tmp_path, monkeypatch, sentence, words):
    monkeypatch.chdir(tmp_path)
    refused(capsys, sentence, *words.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_is_refused_of_a_run(capsys, tmp_path, population):
    before = {file: file.stat().st_mtime_ns for file in population.rglob("*")}
    refused(capsys, "already holds a run; continue it with `jaxdae resume", "train", "--out", population, *SMALL)
    refused(capsys, "is at epoch 2 already; 1 ", "resume", population, "--epochs", "1")
    refused(capsys, "member 6 does not exist; this run has members 0 to 5", "evaluate", population, "--member", "6")
    refused(capsys, "member -1 does not exist", "plot", population, "--member", "-1")
    refused(capsys, "weights 'bst' is not known; did you mean best?", "plot", population, "--weights", "bst")
    refused(capsys, "noise level -0.5 is out of range", "evaluate", population, "--test-levels", "0.1", "-0.5")
    refused(capsys, "masking takes 0 to 1", "evaluate", population, "--test-corruption", "masking",
            "--test-levels", "2")  # fmt: skip
    refused(capsys, "layer 'encoder_1' is not known; did you mean", "plot", population, "--layer", "encoder_1")
    refused(capsys, "gone.png does not exist", "denoise", "gone.png", "--out", tmp_path / "x", "--run", population)
    assert {file: file.stat().st_mtime_ns for file in population.rglob("*")} == before
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_run_from_python_is_left_to_python(capsys, tmp_path, mixed):
    shutil.copytree(mixed, tmp_path / "run")
    config = folder.load_config(mixed)
    folder.write_config(tmp_path / "run", dataclasses.replace(config, source=config.source | {"dataset": None}))
    for verb in ("resume", "evaluate", "plot"):
        refused(capsys, "this run was trained on images given from Python; use it from there", verb, tmp_path / "run")


def test_names_that_the_terminal_lacks_are_escaped():
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", "from jaxdae import cli; cli.console()", "denoise", "gefäß.png", "--out", "x"]
    ended = subprocess.run(command, capture_output=True, text=True, env=plain)
    assert ended.returncode == 2 and ended.stderr == "jaxdae: gef\\xe4\\xdf.png does not exist\n"


IN_A_PROCESS = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from tiny import DATA
from jaxdae import cli
from jaxdae.cli import options
from jaxdae.data import ImageData, own

options.load = own.load = lambda name, **dirs: ImageData(DATA.train, DATA.test, name)
cli.console()
"""


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path, population):
    shutil.copytree(population, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoints").glob("*/state/d/*"):
        file.write_bytes(b"")
    command = [sys.executable, "-c", IN_A_PROCESS, Path(__file__).parents[1], "resume", tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.startswith("jaxdae: the checkpoint ") and done.stderr.count("\n") == 1, done.stderr


def test_a_run_of_an_older_version_is_refused(capsys, tmp_path):
    (tmp_path / "config.json").write_text('{"dataset": "digits", "noise_levels": [0.5], "width": 32}')
    for words in (["resume"], ["evaluate"], ["plot"], ["denoise", "a.png", "--out", tmp_path / "x", "--run"]):
        refused(capsys, "was made by another version of jaxdae", *words, tmp_path)


def test_an_unusable_folder_is_named(capsys, tmp_path):
    (tmp_path / "file").touch()
    refused(capsys, "is not a run folder; choose another one", "train", "--out", tmp_path / "file", *SMALL)
    refused(capsys, "is not a run folder; choose another one", "train", "--out", tmp_path, "--overwrite", *SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
