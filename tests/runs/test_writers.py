"""Writers beside metrics.jsonl: what they get, that nothing is doubled, and that a broken one is told of."""

import json
import struct

import numpy as np
import pytest
from command import refused
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae import runs
from jaxdae.errors import CannotWrite, InputError
from jaxdae.runs import checkpoints, folder, writers

MEMBERS = jaxdae.grid(MEMBER, {"seed": [0, 1]})
MIXED = (MEMBERS[0], *jaxdae.grid(MEMBER, {"model.width": [2]}), MEMBERS[1])
"""Members 0 and 2 are one group, 1 the other."""


class Recorder:
    """Keeps what it gets, in a list of the class."""

    made: list = []  # noqa: RUF012

    def __init__(self, path, config, epochs):
        self.path, self.config, self.epochs = path, config, epochs
        self.lines, self.pictures, self.closed = [], {}, 0
        self.made.append(self)

    def scalars(self, lines):
        self.lines += lines

    def picture(self, epoch, member, picture):
        self.pictures[epoch, member] = picture

    def close(self):
        self.closed += 1


class Broken(Recorder):
    def scalars(self, lines):
        if lines[0]["epoch"] == 2:
            raise OSError("no space left")
        super().scalars(lines)


@pytest.fixture(autouse=True)
def none_made():
    Recorder.made.clear()


def train(out, *log, **settings):
    return runs.train(MEMBERS, DATA, out=out, log=log, **(LOOP | settings))


def without_rates(lines):
    return [{name: value for name, value in line.items() if name != "images_per_second"} for line in lines]


@pytest.mark.slow
def test_a_writer_gets_the_lines_of_the_log_and_what_the_validation_sees(tmp_path):
    settings = LOOP | {"epochs": 2, "log_pictures": 2}
    run = runs.train(MIXED, DATA, out=tmp_path / "run", log=[Recorder], **settings)
    [made] = Recorder.made
    assert made.lines == run.history == folder.read_history(tmp_path / "run") and made.closed == 1
    assert made.config == run.config and made.epochs == 0
    assert sorted(made.pictures) == [(2, 0), (2, 1), (2, 2)]
    noisy = np.asarray(jaxdae.noisy_examples(DATA.test[:8], MEMBER.noise))
    for member, denoiser in enumerate(run.denoisers):
        rows = noisy, denoiser(noisy), DATA.test[:8] / 255
        expected = np.concatenate([np.concatenate(images, axis=1) for images in rows])
        np.testing.assert_allclose(made.pictures[2, member], expected, atol=1e-5)


@pytest.mark.slow
def test_writers_change_no_number_and_a_broken_one_is_told_of(tmp_path, caplog):
    alone, watched = train(tmp_path / "alone"), train(tmp_path / "watched", Broken, Recorder)
    assert without_rates(alone.history) == without_rates(watched.history)
    broken, whole = Recorder.made
    assert {line["epoch"] for line in broken.lines} == {1} and whole.lines == watched.history
    assert {epoch for epoch, _ in broken.pictures} == {1} and {epoch for epoch, _ in whole.pictures} == {1, 2, 3}
    told = [record.message for record in caplog.records]
    assert told == [
        "the log Broken failed in epoch 2 (OSError: no space left); training continues without it",
        "the log Broken is not complete: it failed in epoch 2; metrics.jsonl has everything",
    ]


@pytest.mark.slow
def test_a_log_on_the_disk_that_fails_ends_the_training(tmp_path, monkeypatch):
    def fail(path, lines):
        raise OSError("no space left")

    monkeypatch.setattr(folder, "append_history", fail)
    with pytest.raises(CannotWrite, match="no space left"):
        train(tmp_path / "run", Recorder)
    assert Recorder.made[0].closed == 1


def stopped_after(run_dir, epochs):
    """Turns a run's newest checkpoints away, as a kill between the log and the checkpoint would."""
    chunks = checkpoints.newest_step(run_dir / folder.CHECKPOINTS) // LOOP["epochs"]
    newest = run_dir / folder.CHECKPOINTS / str(chunks * LOOP["epochs"])
    newest.rename(run_dir.parent / "gone")
    assert checkpoints.newest_step(run_dir / folder.CHECKPOINTS) == chunks * epochs


def tensorboard_events(path):
    """What TensorBoard shows of a folder: a start at a step drops what came before it from that step on."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    shown = []
    for file in sorted(path.glob("events*")):
        data = file.read_bytes()
        while data:
            [length] = struct.unpack("<Q", data[:8])
            event, data = Event.FromString(data[12 : 12 + length]), data[16 + length :]
            if event.session_log.status == SessionLog.START:
                shown = [old for old in shown if old.step < event.step]
            shown += [event] if event.summary.value else []
    return shown


@pytest.mark.slow
def test_tensorboard_has_each_epoch_once_after_a_kill(tmp_path):
    pytest.importorskip("tensorboardX")
    run = train(tmp_path / "run", "tensorboard", log_pictures=2)
    stopped_after(tmp_path / "run", 2)
    again = runs.resume(tmp_path / "run", DATA, epochs=4)
    assert without_rates(again.history[: len(run.history)]) == without_rates(run.history)
    for member, label in enumerate(again.labels):
        events = tensorboard_events(tmp_path / "run" / "logs" / "tensorboard" / f"member {member} {label}")
        scalars = [(event.step, value.tag, value.simple_value)
                   for event in events for value in event.summary.value if value.HasField("simple_value")]  # fmt: skip
        losses = [(step, round(value, 5)) for step, tag, value in scalars if tag == "val_bce"]
        lines = [line for line in again.history if line["member"] == member]
        assert losses == [(line["epoch"], pytest.approx(line["val_bce"], abs=2e-5)) for line in lines]
        pictures = [(event.step, value.tag) for event in events for value in event.summary.value
                    if value.HasField("image")]  # fmt: skip
        assert pictures == [(epoch, "noisy_denoised_clean") for epoch in (2, 4)]
        [config] = [value for event in events for value in event.summary.value if "config" in value.tag]
        assert json.loads(config.tensor.string_val[0].decode().strip("`\n"))["member"]["seed"] == MEMBERS[member].seed


@pytest.mark.slow
def test_wandb_has_each_epoch_once_after_a_kill(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logged = []
    log = wandb.Run.log

    def noted(run, data, step):
        logged.append((run.id, step, data))
        log(run, data, step=step)

    monkeypatch.setattr(wandb.Run, "log", noted)
    run = train(tmp_path / "run", "wandb", log_pictures=0)
    stopped_after(tmp_path / "run", 2)
    runs.resume(tmp_path / "run", DATA, epochs=4)
    assert [step for _, step, _ in logged] == [1, 2, 3, 4] and len({name for name, _, _ in logged}) == 1
    assert logged[2][2][f"member 1 {run.labels[1]}/val_bce"] == run.history[5]["val_bce"]
    assert len(list((tmp_path / "run" / "logs" / "wandb").rglob("*.wandb"))) == 2


@pytest.mark.slow
def test_resume_takes_up_the_writers_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(writers.WRITERS, "recorder", Recorder)
    train(tmp_path / "run", "recorder", "terminal", epochs=1, log_pictures=2)
    runs.resume(tmp_path / "run", DATA, epochs=2)
    first, second = Recorder.made
    assert (first.epochs, second.epochs) == (0, 1) and first.path == second.path
    assert {line["epoch"] for line in second.lines} == {2} and {epoch for epoch, _ in second.pictures} == {2}
    runs.resume(tmp_path / "run", DATA, epochs=3, log=())
    assert len(Recorder.made) == 2


def test_the_terminal_shows_a_line_for_each_member_and_epoch(tmp_path, capsys):
    run = train(tmp_path / "run", "terminal", epochs=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 1  member 1  noise_level 0.5  seed ")
    assert f"val_bce {run.history[1]['val_bce']}" in lines[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--log", "tensorbord"), "log 'tensorbord' is not known; did you mean tensorboard?"),
        (("--log", "terminal", "--log-pictures", "-1"), "log pictures every -1 epochs is not allowed"),
    ],
)
def test_unusable_logs_get_one_sentence_before_anything_is_written(tmp_path, capsys, words, sentence):
    refused(capsys, sentence, "train", "--dataset", "digits", "--out", tmp_path / "run", *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_a_missing_package_gets_one_sentence_before_anything_is_written(tmp_path, capsys, monkeypatch, name, package):
    monkeypatch.setattr(writers.importlib.util, "find_spec", lambda asked: None)
    sentence = f"the log {name} needs the package {package}, which is not installed: pip install 'jaxdae[{name}]'"
    refused(capsys, sentence, "train", "--dataset", "digits", "--out", tmp_path / "run", "--log", name)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_cannot_start_leaves_no_run(tmp_path):
    class Refusing(Recorder):
        def __init__(self, path, config, epochs):
            raise RuntimeError("no key")

    with pytest.raises(InputError, match="the log Refusing cannot be started: no key"):
        train(tmp_path / "run", Recorder, Refusing)
    assert not (tmp_path / "run").exists() and Recorder.made[0].closed == 1
    with pytest.raises(InputError, match="a log beside the history needs a run folder"):
        runs.train(MEMBER, DATA, log=["terminal"])


def test_a_run_whose_writer_is_gone_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setitem(writers.WRITERS, "recorder", Recorder)
    train(tmp_path / "run", "recorder", epochs=1)
    monkeypatch.delitem(writers.WRITERS, "recorder")
    with pytest.raises(
        InputError, match=r"writers.json: log 'recorder' is not known.*without this file the run continues"
    ):
        runs.resume(tmp_path / "run", DATA, epochs=2)
    (tmp_path / "run" / "logs" / "writers.json").unlink()
    assert runs.resume(tmp_path / "run", DATA, epochs=2).history[-1]["epoch"] == 2
    assert not (tmp_path / "run" / "logs" / "writers.json").exists()


def test_overwriting_a_run_drops_its_logs(tmp_path, monkeypatch):
    monkeypatch.setitem(writers.WRITERS, "recorder", Recorder)
    train(tmp_path / "run", "recorder", epochs=1)
    train(tmp_path / "run", epochs=1, overwrite=True)
    assert not (tmp_path / "run" / folder.LOGS).exists()
