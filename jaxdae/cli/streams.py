"""The standard streams: those that the caller closed, and those whose reader or disk fails."""

import contextlib
import os
import sys
from typing import TextIO


def open_closed() -> None:
    """Opens the null device in place of standard streams that are closed.

    Otherwise the next file that is opened takes their number, and everything printed ends up in it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))


def escape_unprintable() -> None:
    """Escapes characters that the terminal's encoding lacks: a file may have any name."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def flush() -> str:
    """Writes out what was printed; a sentence if standard output cannot be written.

    A reader that has seen enough (`| head`) is no failure. What cannot be written is dropped, so
    that Python does not try once more at its end.
    """
    sentence = ""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                sentence = f"standard output cannot be written: {error.strerror or error}"
            _discard(stream)
    return sentence


def _discard(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError):
        os.dup2(null, stream.fileno())
    os.close(null)
