"""Whole runs: the folder, resuming to the bit, interruptions, frozen models and what is refused."""

import dataclasses
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
from tiny import CONFIG, DATA

from jaxdae import denoising, evaluation, reports, run_folder, runs, training
from jaxdae.config import InputError

TWO_MODELS = dataclasses.replace(CONFIG, noise_levels=(0.5, "0:1"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return runs.train(TWO_MODELS, DATA, out=tmp_path_factory.mktemp("run") / "run")


def assert_same_run(a, b):
    for x, y in zip(jax.tree.leaves((a.params, a.best)), jax.tree.leaves((b.params, b.best)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert without_timing(a.history) == without_timing(b.history)
    assert a.config == b.config


def without_timing(history):
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in history]


def signal_at_chunk(monkeypatch, number, chunk):
    calls = iter(range(1000))
    original = training.train_chunk

    def train_chunk(*args, **kwargs):
        if next(calls) == chunk:
            os.kill(os.getpid(), number)
        return original(*args, **kwargs)

    monkeypatch.setattr(training, "train_chunk", train_chunk)


def test_a_run_without_a_folder_writes_nothing(tmp_path, monkeypatch, uninterrupted):
    monkeypatch.chdir(tmp_path)
    run = runs.train(TWO_MODELS, DATA)
    assert run.path is None and not list(tmp_path.iterdir())
    assert_same_run(run, uninterrupted)


def test_the_log_has_a_line_for_every_model_and_epoch(uninterrupted):
    lines = [json.loads(line) for line in (uninterrupted.path / run_folder.METRICS).read_text().splitlines()]
    assert [(line["epoch"], line["model"]) for line in lines] == [(e, m) for e in (1, 2, 3) for m in (0, 1)]
    assert lines == uninterrupted.history
    assert set(lines[0]) == {
        "epoch", "model", "noise_level", "seed", "train_bce", "val_bce", "val_psnr", "images_per_second"
    }  # fmt: skip
    assert [line["noise_level"] for line in lines[:2]] == [0.5, "0:1"]
    assert all(line["images_per_second"] > 0 for line in lines)


def test_a_loaded_run_is_the_trained_one_in_numpy(uninterrupted):
    loaded = runs.load_run(uninterrupted.path)
    assert_same_run(loaded, uninterrupted)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(loaded.params))
    assert loaded.channels == 1


def test_best_is_the_epoch_of_the_lowest_validation_loss(uninterrupted):
    for model in (0, 1):
        curve = [line["val_bce"] for line in uninterrupted.history if line["model"] == model]
        assert uninterrupted.best.epoch[model] == 1 + np.argmin(curve)
        assert uninterrupted.best.loss[model] == pytest.approx(min(curve), abs=1e-6)


@pytest.mark.parametrize(
    ("number", "chunk"), [(signal.SIGINT, 0), (signal.SIGINT, 2), (signal.SIGTERM, 3), (signal.SIGINT, 5)]
)
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, monkeypatch, uninterrupted, number, chunk):
    signal_at_chunk(monkeypatch, number, chunk)
    with pytest.raises(runs.Interrupted) as stopped:
        runs.train(TWO_MODELS, DATA, out=tmp_path / "run")
    assert stopped.value.signal_number == number and stopped.value.path == tmp_path / "run"
    assert_same_run(runs.resume(tmp_path / "run", DATA), uninterrupted)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from tiny import DATA
from jaxdae import runs, training
from test_runs import TWO_MODELS
original, calls = training.train_chunk, []
def train_chunk(*args, **kwargs):
    calls.append(1)
    if len(calls) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)
training.train_chunk = train_chunk
runs.train(TWO_MODELS, DATA, out=sys.argv[2])
"""


def test_killed_and_resumed_is_uninterrupted(tmp_path, uninterrupted):
    tests = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", KILLED, tests, tmp_path / "run"], timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert_same_run(runs.resume(tmp_path / "run", DATA), uninterrupted)


def test_more_epochs_are_those_of_a_longer_run(tmp_path, uninterrupted):
    runs.train(dataclasses.replace(TWO_MODELS, epochs=1), DATA, out=tmp_path / "run")
    extended = runs.resume(tmp_path / "run", DATA, epochs=3)
    assert_same_run(extended, uninterrupted)
    assert_same_run(runs.load_run(tmp_path / "run"), uninterrupted)


def test_a_schedule_and_an_average_are_resumed_and_cannot_be_extended(tmp_path, monkeypatch):
    config = dataclasses.replace(
        TWO_MODELS, optimizer="adam", learning_rate=0.01, schedule="one_cycle", average=0.9, epochs=2
    )
    whole = runs.train(config, DATA, out=tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(runs.Interrupted):
        signal_at_chunk(patch, signal.SIGINT, 2)
        runs.train(config, DATA, out=tmp_path / "run")
    assert_same_run(runs.resume(tmp_path / "run", DATA, epochs=2), whole)
    val_bce, _ = evaluation.validate(whole.params, training.population(config), DATA.test, config=config)
    np.testing.assert_allclose(val_bce, [line["val_bce"] for line in whole.history[-2:]], atol=2e-6)
    with pytest.raises(InputError, match=r"follows a one_cycle schedule over 2 epochs, which --epochs 3 would change"):
        runs.resume(tmp_path / "run", DATA, epochs=3)


def test_log_lines_beyond_the_checkpoint_are_dropped(tmp_path):
    runs.train(dataclasses.replace(CONFIG, epochs=1), DATA, out=tmp_path / "run")
    log = tmp_path / "run" / run_folder.METRICS
    line = log.read_text()
    log.write_text(line + line.replace('"epoch": 1', '"epoch": 2') + '{"epoch": 3, "mo')
    assert len(runs.resume(tmp_path / "run", DATA).history) == 1
    assert log.read_text() == line


def test_only_the_newest_checkpoints_are_kept(uninterrupted):
    steps = sorted(int(path.name) for path in (uninterrupted.path / run_folder.CHECKPOINTS).iterdir())
    assert steps == [8, 12]


def test_a_model_whose_loss_is_not_finite_is_frozen_and_the_others_finish(tmp_path, caplog):
    config = dataclasses.replace(CONFIG, noise_levels=(0.5, 1e30), clip=False, epochs=2)
    run = runs.train(config, DATA, out=tmp_path / "run")
    assert run.diverged == [1]
    assert [record.message[:27] for record in caplog.records] == ["model 1 (noise level 1e+30,"]
    initial, _ = training.initial_states(config, 1)
    assert np.isfinite(jax.tree.leaves(run.params)[0]).all()
    np.testing.assert_array_equal(run.params["output"]["kernel"][1], initial.params["output"]["kernel"][1])
    healthy = runs.train(dataclasses.replace(config, noise_levels=(0.5, 0.25)), DATA)
    np.testing.assert_allclose(run.params["output"]["kernel"][0], healthy.params["output"]["kernel"][0], atol=2e-5)
    assert runs.load_run(tmp_path / "run").diverged == [1]


def test_the_holdout_is_validated_on_and_not_trained_on(monkeypatch):
    seen = {}
    original = training.train_chunk

    def train_chunk(states, members, images, *args, **kwargs):
        seen["train"] = images
        return original(states, members, images, *args, **kwargs)

    monkeypatch.setattr(training, "train_chunk", train_chunk)
    config = dataclasses.replace(CONFIG, holdout=20, epochs=1)
    runs.train(config, DATA._replace(train=np.concatenate([DATA.train, DATA.test])))
    np.testing.assert_array_equal(seen["train"], DATA.train)
    run = runs.train(config, DATA._replace(train=np.concatenate([DATA.train, DATA.test])))
    assert run.history[0]["val_bce"] == runs.train(dataclasses.replace(config, holdout=0), DATA).history[0]["val_bce"]


def test_one_of_a_population(uninterrupted):
    one = uninterrupted.only(1)
    assert one.config.members == (("0:1", 0),)
    np.testing.assert_array_equal(one.params["output"]["bias"][0], uninterrupted.params["output"]["bias"][1])
    assert one.describe(0) == "model 0 (noise level 0:1, seed 0), last epoch 3"


def test_what_is_refused(tmp_path, uninterrupted):
    def refused(sentence, function, *args, **kwargs):
        with pytest.raises(InputError, match=sentence):
            function(*args, **kwargs)

    path = uninterrupted.path
    before = sorted(p.name for p in path.rglob("*"))
    refused("already holds a run; continue it with --resume", runs.train, CONFIG, DATA, out=path)
    refused("is at epoch 3 already; --epochs 2 is too few", runs.resume, path, DATA, epochs=2)
    refused("model 2 does not exist; this run has models 0 to 1", uninterrupted.member, 2)
    refused("has no config.json", runs.resume, tmp_path / "nothing", DATA)
    refused("has no config.json", runs.load_run, tmp_path)
    (tmp_path / "mine.txt").write_text("dear")
    refused("is not a run folder; choose another", runs.train, CONFIG, DATA, out=tmp_path, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "dear"
    (tmp_path / run_folder.CONFIG).write_text('{"epochs": 0}')
    refused("epochs 0 is not an integer", runs.load_run, tmp_path)
    (tmp_path / run_folder.CONFIG).write_text("{}")
    refused("holds no checkpoint yet", runs.load_run, tmp_path)
    big = dataclasses.replace(CONFIG, holdout=50)
    refused("holdout 50 leaves nothing of 50 training images", runs.train, big, DATA, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert sorted(p.name for p in path.rglob("*")) == before


def test_images_that_do_not_fit_are_refused(tmp_path, uninterrupted):
    def refused(sentence, function, *args, **kwargs):
        with pytest.raises(InputError, match=sentence):
            function(*args, **kwargs)

    other = DATA._replace(train=DATA.train[::-1])
    refused("was trained on other images than these", runs.resume, uninterrupted.path, other, epochs=4)
    for broken in (DATA.train / 255, DATA.train[..., 0], DATA.train[:0], DATA.train[:, :8]):
        refused("must be uint8 .* of one size", runs.train, CONFIG, DATA._replace(test=broken), out=tmp_path / "new")
    deep = dataclasses.replace(CONFIG, depth=5)
    refused(r"depth 5 halves images of \(16, 16\) pixels to nothing", runs.train, deep, DATA, out=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_reading_a_run_leaves_what_another_process_is_writing(uninterrupted):
    unfinished = uninterrupted.path / run_folder.CHECKPOINTS / "99.orbax-checkpoint-tmp"
    unfinished.mkdir()
    runs.load_run(uninterrupted.path)
    assert unfinished.exists()
    unfinished.rmdir()


def test_damage_is_named(tmp_path, uninterrupted):
    for file, content, sentence in [
        (run_folder.CONFIG, "[1]", "config.json cannot be read"),
        (run_folder.CONFIG, '{"adadelta_rho": "a"}', "config.json cannot be read"),
        (run_folder.METRICS, "garbage\n", "metrics.jsonl is damaged"),
    ]:
        shutil.copytree(uninterrupted.path, tmp_path / "run")
        (tmp_path / "run" / file).write_text(content)
        with pytest.raises(InputError, match=sentence):
            runs.load_run(tmp_path / "run")
        shutil.rmtree(tmp_path / "run")
    shutil.copytree(uninterrupted.path, tmp_path / "run")
    for path in (tmp_path / "run" / run_folder.CHECKPOINTS / "12" / "params").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(InputError, match="12.* is damaged"):
        runs.load_run(tmp_path / "run")


def test_overwrite_replaces_a_run(tmp_path):
    one_epoch = dataclasses.replace(CONFIG, epochs=1)
    runs.train(dataclasses.replace(CONFIG, seeds=(4,)), DATA, out=tmp_path / "run")
    run = runs.train(one_epoch, DATA, out=tmp_path / "run", overwrite=True)
    assert_same_run(runs.load_run(tmp_path / "run"), run)
    assert run.history[-1]["seed"] == 0


def test_a_residual_run_lessens_the_squared_error_everywhere_by_name(tmp_path):
    config = dataclasses.replace(CONFIG, head="residual", loss="mse", optimizer="adam", learning_rate=0.01)
    run = runs.load_run(runs.train(config, DATA, out=tmp_path / "run").path)
    curve = [line["val_mse"] for line in run.history]
    assert run.history[-1]["train_mse"] < run.history[0]["train_mse"]
    assert run.best.loss[0] == pytest.approx(min(curve), abs=1e-6) and not run.diverged
    noisy = np.asarray(evaluation.noisy_examples(DATA.test, 0.5, config=config))
    error = np.square(denoising.denoise(run, noisy) - DATA.test / 255).mean()
    scores, _ = evaluation.evaluate_population(run.params, DATA.test, np.array([0.5]), config=config)
    assert scores["mse"].mean() == pytest.approx(error, rel=1e-4) == pytest.approx(curve[-1], rel=1e-4)
    assert np.isfinite(scores["bce"]).all()
    assert "loss" in {path.stem for path in reports.write_figures(run, DATA)}
