"""Ctrl-C and SIGTERM during a training: noted, and obeyed after the chunk."""

import contextlib
import os
import signal
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
    """Notes Ctrl-C and SIGTERM in a list instead of ending the process; a second one acts as usual."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: Any) -> None:
        caught.append(number)
        os.write(2, b"\nstopping after this chunk; once more to stop at once\n")
        signal.signal(number, previous[number])

    previous = {int(number): signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
