"""Several processes train one run as one process with as many devices does, on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from command import refused

import jaxdae
from jaxdae import distributed
from jaxdae.errors import InputError
from jaxdae.runs import folder

pytestmark = pytest.mark.slow  # processes
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


def test_a_folder_that_is_not_shared_is_named(tmp_path):
    members = jaxdae.grid(jaxdae.Member(), {"seed": [0]})
    config = folder.Config(members, folder.Loop(), {"dataset": None, "sha256": "", "image": (8, 8, 1)})
    with pytest.raises(InputError, match="is not one folder for all processes"):
        folder.require_shared(tmp_path, config)
    folder.write_config(tmp_path, config)
    folder.require_shared(tmp_path, config)
