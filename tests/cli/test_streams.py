"""Standard streams that are closed, that nobody reads, or that lie on a full disk."""

import os
import subprocess
import sys

import pytest

from jaxdae.cli import streams

COMMAND = f"{sys.executable} -c 'from jaxdae import cli; cli.console()'"


def ended(words, closed):
    """A process of the command under a shell that redirects its streams."""
    command = f"{COMMAND} {words} {closed}"
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    shell = ["bash", "-c", command]
    return subprocess.run(shell, capture_output=True, text=True, timeout=120, env=buffered)


@pytest.mark.parametrize(("closed", "status"), [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_closed_streams_are_no_reason_to_fail(closed, status):
    done = ended("--help", closed)
    assert (done.returncode, done.stderr) == (status, "")
    assert ("train a denoiser" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_named():
    done = ended("--help", "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == "jaxdae: standard output cannot be written: No space left on device\n"


def test_a_reader_that_has_seen_enough_is_no_failure(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        stream.write("more than the reader wants")
        assert streams.flush() == ""
        assert streams.flush() == ""  # what could not be written is not tried again
