"""Whole runs: the log, resuming to the bit, interruptions, devices, frozen members and what is refused."""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae import runs, training
from jaxdae.data import ImageData
from jaxdae.errors import InputError
from jaxdae.runs import checkpoints, folder

MIXED = jaxdae.grid(
    MEMBER, {"model.width": [2, 4], "noise.corruption": ["gaussian", "masking"], "noise.level": [0.5, (0, 1)]}
)
MIXED = MIXED[0::2] + MIXED[1::2]
"""Eight members in four groups, 0 and 4 in the first. An epoch has eight chunks, two for each group."""

PAIR = (MIXED[0], MIXED[4])
"""The first group alone, whose programs are compiled already."""

SCHEDULED = training.Member(
    model=jaxdae.ConvAutoencoder(width=2, depth=1, prediction="residual"),
    objective=jaxdae.Supervised("mse"),
    optimizer=jaxdae.Adam(learning_rate=0.01, schedule="one_cycle", ema_decay=0.5),
)


def train(members=MIXED, data=DATA, **settings):
    return runs.train(members, data, **(LOOP | settings))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(out=tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory):
    return train(SCHEDULED, epochs=2, out=tmp_path_factory.mktemp("run") / "run")


def start(script, *arguments, devices=2):
    """A Python process that runs a script, with `tiny` at hand."""
    script = "import sys; sys.path.insert(0, sys.argv.pop(1))\n" + script
    command = [sys.executable, "-c", script, Path(__file__).parents[1], *arguments]
    return subprocess.Popen([str(word) for word in command], env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)})


def assert_same_run(a, b):
    for x, y in zip(jax.tree.leaves((a.params, a.best)), jax.tree.leaves((b.params, b.best)), strict=True):
        np.testing.assert_array_equal(x, y)
    assert without_timing(a.history) == without_timing(b.history)
    assert a.config == b.config


def without_timing(history):
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in history]


def assert_complete(run):
    """The log on disk is that of the run, in the order of epochs and members."""
    lines = folder.read_history(run.path)
    assert lines == run.history
    assert [(line["epoch"], line["member"]) for line in lines] == [
        (epoch, member) for epoch in range(1, run.loop.epochs + 1) for member in range(len(run.members))
    ]


def at_chunk(monkeypatch, number, action):
    """Does something when the loop has the chunk of that number, from 1, trained."""
    original, calls = training.train_chunk, []

    def train_chunk(*args, **kwargs):
        calls.append(args)
        if len(calls) == number:
            action()
        return original(*args, **kwargs)

    monkeypatch.setattr(training, "train_chunk", train_chunk)
    return calls


def refused(sentence, function, *args, **kwargs):
    with pytest.raises(InputError, match=sentence) as error:
        function(*args, **kwargs)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_run_without_a_folder_writes_nothing(tmp_path, monkeypatch, undisturbed):
    monkeypatch.chdir(tmp_path)
    run = train()
    assert run.path is None and not list(tmp_path.iterdir())
    assert_same_run(run, undisturbed)


@pytest.mark.slow
def test_the_log_has_a_line_for_every_epoch_and_member(undisturbed):
    assert_complete(undisturbed)
    lines = undisturbed.history
    assert set(lines[0]) == {
        "epoch", "member", "noise_level", "seed", "train_bce", "val_bce", "val_psnr", "images_per_second"
    }  # fmt: skip
    assert [line["noise_level"] for line in lines[:8]] == ["0.5"] * 4 + ["0:1"] * 4
    assert all(line["images_per_second"] > 0 for line in lines)
    assert len({line["val_bce"] for line in lines[:8]}) == 8


@pytest.mark.slow
def test_a_member_s_speed_is_that_of_its_group(monkeypatch):
    ticks = itertools.accumulate(itertools.count())  # the time between two looks grows by a second each time
    monkeypatch.setattr("jaxdae.runs.loop.time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    speeds = [line["images_per_second"] for line in train(epochs=1).history]
    assert speeds == [round(100 / seconds, 1) for seconds in (2, 4, 6, 8)] * 2


@pytest.mark.slow
def test_members_of_a_mixed_run_train_as_they_do_alone(undisturbed):
    run = train(PAIR)
    for alone, index in enumerate((0, 4)):
        for x, y in zip(*map(jax.tree.leaves, (run.params[alone], undisturbed.params[index])), strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.slow
def test_a_loaded_run_is_the_trained_one_in_numpy(undisturbed):
    loaded = runs.load_run(undisturbed.path)
    assert_same_run(loaded, undisturbed)
    assert all(isinstance(leaf, np.ndarray | np.generic) for leaf in jax.tree.leaves((loaded.params, loaded.best)))
    assert loaded.params[3]["output"]["kernel"].shape == (3, 3, 4, 1)


@pytest.mark.slow
def test_best_is_the_epoch_of_the_lowest_validation_loss(undisturbed):
    for member, best in enumerate(undisturbed.best):
        curve = [line["val_bce"] for line in undisturbed.history if line["member"] == member]
        assert best.epoch == 1 + np.argmin(curve)
        assert best.loss == pytest.approx(min(curve), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "chunk"), [(signal.SIGINT, 1), (signal.SIGTERM, 4), (signal.SIGINT, 8), (signal.SIGTERM, 15)]
)
def test_interrupted_and_resumed_is_undisturbed(tmp_path, monkeypatch, capsys, undisturbed, number, chunk):
    with monkeypatch.context() as patch, pytest.raises(runs.Interrupted) as stopped:
        at_chunk(patch, chunk, lambda: os.kill(os.getpid(), number))
        train(out=tmp_path / "run")
    assert stopped.value.signal_number == number and stopped.value.path == tmp_path / "run"
    assert checkpoints.newest_step(tmp_path / "run" / folder.CHECKPOINTS) == chunk
    assert len(folder.read_history(tmp_path / "run")) == 8 * (chunk // 8)
    paused = runs.load_run(tmp_path / "run")
    epoch, rest = divmod(chunk, 8)
    trained = [epoch + min(max(rest - 2 * group, 0), 2) / 2 for group in range(4)] * 2
    assert [member.epochs + round(member.part, 1) for member in paused.progress] == [
        at if at % 1 == 0 else at + 0.1
        for at in trained  # a first chunk has 32 of 50 examples
    ]
    left = at_chunk(monkeypatch, 0, None)
    run = runs.resume(tmp_path / "run", DATA, progress=True)
    assert len(left) == 24 - chunk
    assert_same_run(run, undisturbed)
    assert_complete(run)
    assert "1.20k/1.20k" in capsys.readouterr().err  # images: 3 epochs of 50 for 8 members


@pytest.mark.slow
def test_a_signal_while_the_last_epoch_is_saved_is_not_lost(tmp_path, monkeypatch, undisturbed):
    original, calls = checkpoints.save, []

    def save(*args):
        calls.append(args)
        if len(calls) == 3:  # the last epoch's
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*args)

    with monkeypatch.context() as patch, pytest.raises(runs.Interrupted):
        patch.setattr(checkpoints, "save", save)
        train(out=tmp_path / "run")
    assert_same_run(runs.resume(tmp_path / "run", DATA), undisturbed)


KILLED = """
import os, signal, threading
from tiny import DATA, LOOP
from jaxdae import runs, training

like, out, chunk, seconds = sys.argv[1:]
original, calls = training.train_chunk, []

def train_chunk(*args, **kwargs):
    calls.append(1)
    if len(calls) == int(chunk):
        threading.Timer(float(seconds), os.kill, (os.getpid(), signal.SIGKILL)).start()
    return original(*args, **kwargs)

training.train_chunk = train_chunk
runs.train(runs.load_run(like).members, DATA, out=out, **LOOP)
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_is_undisturbed(tmp_path, undisturbed):
    moment = random.randint(9, 16), random.uniform(0, 0.05)
    print("killed so many seconds after the start of the chunk:", moment)
    process = start(KILLED, undisturbed.path, tmp_path / "run", *moment)
    assert process.wait(timeout=300) == -signal.SIGKILL
    assert len(folder.read_history(tmp_path / "run")) in (8, 16)
    run = runs.resume(tmp_path / "run", DATA)
    assert_same_run(run, undisturbed)
    assert_complete(run)


RESUMED = """
import jax, numpy
from tiny import DATA
from jaxdae import runs

path, devices = sys.argv[1:]
assert jax.device_count() == int(devices)
restored = runs.resume(path, DATA)
numpy.savez(path + "/restored", *jax.tree.leaves((restored.params, restored.best)))
runs.resume(path, DATA, epochs=3)
"""


@pytest.mark.slow
def test_a_run_is_resumed_on_other_devices(tmp_path):
    run = train(PAIR, epochs=2, out=tmp_path / "2")
    for devices in (1, 3):
        shutil.copytree(run.path, tmp_path / str(devices))
    processes = [start(RESUMED, tmp_path / str(devices), devices, devices=devices) for devices in (1, 3)]
    longer = runs.resume(run.path, DATA, epochs=3)
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    for devices in ("1", "3"):
        with np.load(tmp_path / devices / "restored.npz") as restored:
            for x, name in zip(jax.tree.leaves((run.params, run.best)), restored, strict=True):
                np.testing.assert_array_equal(x, restored[name])
        other = runs.load_run(tmp_path / devices)
        for x, y in zip(jax.tree.leaves(other.params), jax.tree.leaves(longer.params), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=2e-6)
        for x, y in zip(other.history, longer.history, strict=True):
            assert x["val_bce"] == pytest.approx(y["val_bce"], abs=2e-6)


@pytest.mark.slow
def test_more_epochs_are_those_of_a_longer_run_and_fewer_are_refused(tmp_path, undisturbed):
    train(epochs=1, out=tmp_path / "run")
    extended = runs.resume(tmp_path / "run", DATA, epochs=3)
    assert_same_run(extended, undisturbed)
    assert_same_run(runs.load_run(tmp_path / "run"), undisturbed)
    config = (tmp_path / "run" / folder.CONFIG).read_bytes()
    refused("is at epoch 3 already; 2 .*too few", runs.resume, tmp_path / "run", DATA, epochs=2)
    refused("epochs 0 is not allowed", runs.resume, tmp_path / "run", DATA, epochs=0)
    assert (tmp_path / "run" / folder.CONFIG).read_bytes() == config
    assert_complete(extended)


@pytest.mark.slow
def test_a_schedule_and_an_average_are_resumed_and_cannot_be_extended(tmp_path, monkeypatch, scheduled):
    with monkeypatch.context() as patch, pytest.raises(runs.Interrupted):
        at_chunk(patch, 3, lambda: os.kill(os.getpid(), signal.SIGINT))
        train(SCHEDULED, epochs=2, out=tmp_path / "run")
    assert_same_run(runs.resume(tmp_path / "run", DATA, epochs=2), scheduled)
    for epochs in (1, 3):
        sentence = f"follows a one_cycle schedule over 2 epochs, which {epochs} .*would change; start another run"
        refused(sentence, runs.resume, tmp_path / "run", DATA, epochs=epochs)


@pytest.mark.slow
def test_the_log_tells_the_error_of_the_denoiser(scheduled):
    (member,) = scheduled.members
    noisy = np.asarray(jaxdae.noisy_examples(DATA.test, member.noise))
    error = np.square(scheduled.denoisers[0](noisy) - DATA.test / 255).mean()
    curve = [line["val_mse"] for line in scheduled.history]
    assert curve[-1] == pytest.approx(error, rel=1e-4)
    assert scheduled.best[0].loss == pytest.approx(min(curve), abs=1e-6)
    assert scheduled.history[-1]["train_mse"] < scheduled.history[0]["train_mse"] and not scheduled.diverged


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [12, 16])
def test_log_lines_beyond_the_checkpoint_are_dropped(tmp_path, monkeypatch, caplog, undisturbed, chunk):
    """As after a kill between the end of an epoch and its checkpoint, and in the middle of a line."""
    with monkeypatch.context() as patch, pytest.raises(runs.Interrupted):
        at_chunk(patch, chunk, lambda: os.kill(os.getpid(), signal.SIGTERM))
        train(out=tmp_path / "run")
    kept = folder.read_history(tmp_path / "run")
    folder.append_history(tmp_path / "run", undisturbed.history[len(kept) :])
    with (tmp_path / "run" / folder.METRICS).open("a") as log:
        log.write('{"epoch": 4, "mem')
    caplog.clear()
    run = runs.resume(tmp_path / "run", DATA)
    assert f"goes on to epoch 3, but the newest whole checkpoint is of epoch {chunk // 8}" in caplog.text
    assert_same_run(run, undisturbed)
    assert_complete(run)


@pytest.mark.slow
def test_a_finished_run_is_resumed_as_it_is(undisturbed):
    run = runs.resume(undisturbed.path, DATA)
    assert_same_run(run, undisturbed)
    assert run.history == undisturbed.history
    assert_complete(run)


@pytest.mark.slow
def test_only_the_newest_checkpoints_are_kept(undisturbed):
    steps = sorted(int(path.name) for path in (undisturbed.path / folder.CHECKPOINTS).iterdir())
    assert steps == [16, 24]


@pytest.mark.slow
def test_a_member_whose_loss_is_not_finite_is_frozen_and_the_others_finish(tmp_path, caplog, undisturbed):
    members = jaxdae.grid(MIXED[0], {"optimizer.learning_rate": [1.0, 1e38]})
    run = train(members, out=tmp_path / "run")
    assert run.diverged == [1] and run.history[-1]["train_bce"] is None
    assert [record.message[:49] for record in caplog.records] == ["member 1 (learning rate 1e+38, level 0.5, seed 0)"]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.params))
    for x, y in zip(*map(jax.tree.leaves, (run.params[0], undisturbed.params[0])), strict=True):
        np.testing.assert_array_equal(x, y)
    assert runs.load_run(tmp_path / "run").diverged == [1]


@pytest.mark.slow
def test_the_holdout_is_validated_on_and_not_trained_on(monkeypatch, undisturbed):
    calls = at_chunk(monkeypatch, 0, None)
    both = ImageData(np.concatenate([DATA.train, DATA.test]), DATA.test[:1])
    run = train(PAIR, both, holdout=20, epochs=1)
    _, _, source, *_ = calls[0]
    np.testing.assert_array_equal(source.images, DATA.train)
    assert [line["val_bce"] for line in run.history] == [undisturbed.history[i]["val_bce"] for i in (0, 4)]


@pytest.mark.slow
def test_members_are_selected_and_described(undisturbed):
    assert [denoiser.module.width for denoiser in undisturbed.denoisers] == [2, 2, 4, 4] * 2
    last, best = undisturbed.select([5]), undisturbed.select([5], "best")
    assert last[0].about.noise == jaxdae.Noise("masking", (0.0, 1.0)) and last[0].about.seed == 0
    assert last[0].params is undisturbed.params[5] and best[0].params is undisturbed.best[5].params
    assert undisturbed.index() == 0
    assert undisturbed.describe(5) == "member 5 (masking, width 2, level 0:1, seed 0), last epoch 3"
    assert undisturbed.describe(5, "best") == last[0].about.origin.replace(
        "last epoch 3", f"best epoch {undisturbed.best[5].epoch}"
    )
    refused("member 8 does not exist; this run has members 0 to 7", undisturbed.select, [8])
    refused("member -1 does not exist", undisturbed.index, -1)
    refused(r"weights 'bets' is not known; did you mean best\?", undisturbed.select, [0], "bets")


@pytest.mark.slow
def test_what_cannot_be_resumed_is_refused_and_changes_nothing(tmp_path, undisturbed):
    path = undisturbed.path
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}
    other = ImageData(DATA.train[::-1], DATA.test)
    refused("was trained on other images than these", runs.resume, path, other, epochs=4)
    refused("was trained on images given from Python; use it from there, with data=", runs.resume, path)
    refused("has no config.json", runs.resume, tmp_path / "nothing", DATA)
    refused("already holds a run; continue it with `jaxdae resume", train, out=path)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.slow
def test_a_log_that_was_changed_is_refused_and_one_that_is_gone_is_said(tmp_path, caplog, undisturbed):
    shutil.copytree(undisturbed.path, tmp_path / "run")
    lines = folder.read_history(tmp_path / "run")
    folder.write_history(tmp_path / "run", [lines[0] | {"val_psnr": 1.0}, *lines[1:]])
    for read in (lambda path: runs.resume(path, DATA), runs.load_run):
        refused("metrics.jsonl is damaged", read, tmp_path / "run")
    (tmp_path / "run" / folder.METRICS).unlink()
    run = runs.resume(tmp_path / "run", DATA, epochs=4)
    assert "metrics.jsonl is gone" in caplog.text and [line["epoch"] for line in run.history] == [4] * 8
    assert runs.load_run(tmp_path / "run").history == run.history


@pytest.mark.slow
def test_members_that_do_not_divide_over_the_devices_are_refused(tmp_path):
    three = jaxdae.grid(MIXED[0], {"seed": [0, 1, 2]})
    sentence = "3 members of one structure cannot be divided evenly over 2 devices"
    refused(sentence, train, three, divide="members", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = train(PAIR, divide="members", epochs=1, out=tmp_path / "run")
    assert run.loop.divide == "members" and len(runs.resume(tmp_path / "run", DATA, epochs=2).history) == 4


@pytest.mark.slow
def test_overwrite_replaces_a_run(tmp_path, undisturbed):
    shutil.copytree(undisturbed.path, tmp_path / "run")
    run = train(PAIR, out=tmp_path / "run", overwrite=True, epochs=1, keep=1)
    assert_same_run(runs.load_run(tmp_path / "run"), run)
    assert [path.name for path in (tmp_path / "run" / folder.CHECKPOINTS).iterdir()] == ["2"]
    assert len(run.history) == 2


def test_data_or_networks_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    deep = jaxdae.grid(MEMBER, {"model.depth": [1, 5]})
    refused(r"images of \(16, 16\) pixels are too small for .* 32 pixels", train, deep, out=tmp_path / "new")

    def memory_is_short(*args):
        raise RuntimeError("RESOURCE_EXHAUSTED")

    monkeypatch.setattr(training, "initial_states", memory_is_short)
    with pytest.raises(RuntimeError):
        train(out=tmp_path / "new")
    assert not list(tmp_path.iterdir())
