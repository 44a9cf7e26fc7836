"""Several processes train one run as one process with as many devices does, on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from command import refused
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae import distributed
from jaxdae.errors import InputError
from jaxdae.runs import folder

pytestmark = pytest.mark.slow  # processes
CONFIG = folder.Config((MEMBER,), folder.Loop(), DATA.describe())
TRAIN = ["train", "--dataset", "digits", "--widths", "4", "--depths", "1", "--batch-size", "512"]


def start(*words, devices=1):
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
    command = [sys.executable, "-c", "from jaxdae.cli import console; console()", *map(str, words)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start_two(*words, more=((), ())):
    job = ["--distributed", "--coordinator", free_address(), "--processes", 2, "--process-id"]
    return [start(*words, *own, *job, number) for number, own in enumerate(more)]


def ended(processes):
    return [(*process.communicate(timeout=200), process.returncode) for process in processes]


def result(path):
    log = [{k: v for k, v in line.items() if k != "images_per_second"} for line in folder.read_history(path)]
    return log, jax.tree.leaves(jaxdae.load_run(path).params)


def assert_same(path, other):
    (log, params), (expected, others) = result(path), result(other)
    assert log == expected
    for a, b in zip(params, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_processes_end_bit_identical_to_one_with_two_devices_also_when_stopped_and_resumed(tmp_path):
    alone = start(*TRAIN, "--epochs", 8, "--out", tmp_path / "alone", devices=2)
    assert ended([alone])[0][2] == 0
    processes = start_two(*TRAIN, "--epochs", 8, "--out", tmp_path / "two")
    while not (tmp_path / "two" / folder.METRICS).exists() or not folder.read_history(tmp_path / "two"):
        assert processes[0].poll() is None, processes[0].communicate()
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)  # one is told, both stop after the same chunk
    found = ended(processes)
    assert [code for *_, code in found] == [128 + signal.SIGTERM] * 2
    assert 0 < len(folder.read_history(tmp_path / "two")) < 8
    (out, _, code), (silent, _, other) = ended(start_two("resume", tmp_path / "two"))
    assert (code, other) == (0, 0) and "last epoch 8" in out and "last epoch" not in silent
    assert_same(tmp_path / "two", tmp_path / "alone")


def test_processes_with_unequal_options_or_a_used_folder_end_with_one_sentence(tmp_path):
    found = ended(start_two(*TRAIN, "--out", tmp_path / "a", more=((), ("--seeds", "1"))))
    assert [code for *_, code in found] == [2, 2] and not (tmp_path / "a").exists()
    assert "process 1 has members.0.seed 1, process 0 has 0" in found[1][1]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine").touch()
    found = ended(start_two(*TRAIN, "--out", tmp_path / "a"))
    assert all("exists and is not a run folder" in err and code == 2 for _, err, code in found)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--processes 2", "are for --distributed; add it"),
        ("--distributed --coordinator here:1", "go together; give all of them, or none"),
        ("--distributed --coordinator here:1 --processes 2 --process-id 2", "process id 2 is not one of 2 processes"),
        ("--distributed --coordinator here --processes 2 --process-id 1", "has no port; give HOST:PORT"),
    ],
)
def test_what_does_not_name_a_job_is_refused(capsys, options, sentence):
    refused(capsys, sentence, "train", *options.split())


def test_a_coordinator_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(distributed, "START_SECONDS", 0.1)
    with pytest.raises(InputError, match="the coordinator 127.0.0.1:9 did not answer for 0.1 seconds"):
        distributed.join("127.0.0.1:9", 2, 1)


ALONE = """
from jaxdae import cli, distributed
distributed.START_SECONDS = 1
cli.console()
"""


def test_a_process_whose_others_do_not_come_ends_with_a_sentence(tmp_path):
    words = ["--out", tmp_path / "a", "--distributed", "--coordinator", free_address(), "--processes", 2]
    command = [sys.executable, "-c", ALONE, *TRAIN, *map(str, words), "--process-id", "0"]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    [(_, said, code)] = ended([process])
    assert code == 2 and not (tmp_path / "a").exists()
    assert said.startswith("jaxdae: process 0 waited 1 seconds for the others: not all of 2 processes came")


def test_a_folder_that_is_not_shared_is_named_and_left_as_it_was(tmp_path, monkeypatch):
    run, new = tmp_path / "run", tmp_path / "new"
    folder.write_config(run, CONFIG)
    before = (run / folder.CONFIG).read_bytes()
    folder.require_shared(run)

    def write_elsewhere(path, text):
        """As if the first process wrote to a disk of its own: this one sees nothing new."""

    monkeypatch.setattr(folder, "write_text", write_elsewhere)
    starts = (
        lambda: folder.require_shared(run),
        lambda: jaxdae.train(MEMBER, DATA, out=run, overwrite=True, **LOOP),
        lambda: jaxdae.train(MEMBER, DATA, out=new, **LOOP),
    )
    for start_run in starts:
        with pytest.raises(InputError, match="is not one folder for all processes"):
            start_run()
    assert [path.name for path in run.iterdir()] == [folder.CONFIG]
    assert (run / folder.CONFIG).read_bytes() == before and not new.exists()


class Coordinator:
    """What processes have told so far, by what they were told to be."""

    def __init__(self, **told):
        self.told = {f"jaxdae/processes/{name[1:]}": str(number) for name, number in told.items()}

    def key_value_set(self, name, value):
        self.told[name] = value

    def blocking_key_value_get(self, name, timeout_in_ms):
        return self.told[name]


@pytest.mark.parametrize(
    ("process", "number", "others", "other"),
    [(0, 2, {"p1": 3}, "process 1 that there are 3"), (1, 3, {"p0": 2}, "process 0 that there are 2"),
     (1, 3, {"p0": 3, "p2": 2}, "process 2 that there are 2"), (0, 2, {"p1": 2}, None)],
)  # fmt: skip
def test_processes_that_were_told_different_numbers_are_refused(monkeypatch, process, number, others, other):
    state = SimpleNamespace(process_id=process, num_processes=number, client=Coordinator(**others))
    monkeypatch.setattr(distributed, "jax_distributed", SimpleNamespace(global_state=state))
    if other is None:
        distributed._require_one_number()
        return
    said = f"process {process} was told that there are {number} processes, {other}; give all of them"
    with pytest.raises(InputError, match=said):
        distributed._require_one_number()


def test_both_of_two_processes_that_differ_in_their_number_end_with_the_sentence(tmp_path):
    job = [*TRAIN, "--out", tmp_path / "a", "--distributed", "--coordinator", free_address()]
    found = ended([start(*job, "--processes", 2 + i, "--process-id", i) for i in range(2)])
    assert [code for *_, code in found] == [2, 2] and not (tmp_path / "a").exists()
    for i, (_, said, _) in enumerate(found):
        assert said.startswith(f"jaxdae: process {i} was told that there are {2 + i} processes, process {1 - i} that")
