"""The first Ctrl-C or SIGTERM is noted, the second one ends the process at once."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxdae.runs.signals import caught_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_handlers_come_back(number, capfd):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with caught_signals() as caught:
        os.kill(os.getpid(), number)
        assert caught == [number]
        said = ""
        while "once more to stop at once" not in said:  # by another thread
            time.sleep(0.01)
            said += capfd.readouterr().err
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert said == "\nstopping after this chunk; once more to stop at once\n"


BUSY = """
import ctypes
from jaxdae.runs.signals import caught_signals

with caught_signals():
    print("busy", flush=True)
    while True:
        ctypes.CDLL(None).sleep(100)  # as JAX computes: no handler of Python's runs
"""


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)])
def test_the_second_one_ends_the_process_at_once_though_no_python_code_runs(numbers):
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "busy\n"
    process.send_signal(numbers[0])
    assert process.stderr.readline() + process.stderr.readline() == (
        "\nstopping after this chunk; once more to stop at once\n"
    )
    process.send_signal(numbers[1])
    process.communicate(timeout=5)
    assert process.returncode == 128 + numbers[1]


def test_in_another_thread_nothing_is_caught():
    caught = []

    def run():
        with caught_signals() as signals:
            caught.append((signals, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [([], signal.getsignal(signal.SIGTERM))]
