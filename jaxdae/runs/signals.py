"""Ctrl-C and SIGTERM during a training: noted, and obeyed after the chunk; a second one ends the process at once."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped the training; its state is saved in `path`."""

    def __init__(self, signal_number: int, path: Path) -> None:
        """Remembers the signal and the run folder."""
        super().__init__(f"{signal.Signals(signal_number).name}: saved in {path}")
        self.signal_number, self.path = signal_number, path


@contextlib.contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Notes Ctrl-C and SIGTERM in a list instead of ending the process; a second one ends it at once."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: Any) -> None:
        caught.append(number)

    previous = {int(number): signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    arrived, arriving = socket.socketpair()
    arriving.setblocking(False)
    woken = signal.set_wakeup_fd(arriving.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_answer, args=(arrived, tuple(previous)), daemon=True).start()
    try:
        yield caught
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in previous.items():
            signal.signal(number, handler)
        arriving.close()


def _answer(arrived: socket.socket, numbers: tuple[int, ...]) -> None:
    """Says that a signal has arrived, and ends the process at the second one.

    In a thread, since Python's own handlers wait until JAX returns from a chunk or a compilation.
    """
    seen = 0
    with arrived:
        while byte := arrived.recv(1):
            seen += byte[0] in numbers
            if seen == 1:
                os.write(2, b"\nstopping after this chunk; once more to stop at once\n")
            if seen == 2:
                os._exit(128 + byte[0])  # what is on the disk is whole at any moment
