"""The first Ctrl-C or SIGTERM is noted, the second one acts as usual."""

import os
import signal
import threading

import pytest

from jaxdae.runs.signals import caught_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_handlers_come_back(number, capfd):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with caught_signals() as caught:
        os.kill(os.getpid(), number)
        assert caught == [number]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert "stopping after this chunk; once more to stop at once" in capfd.readouterr().err


@pytest.fixture
def usual_handler():
    """A process that was started in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_second_one_stops_at_once(usual_handler):
    with pytest.raises(KeyboardInterrupt), caught_signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_nothing_is_caught():
    caught = []

    def run():
        with caught_signals() as signals:
            caught.append((signals, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert caught == [([], signal.getsignal(signal.SIGTERM))]
