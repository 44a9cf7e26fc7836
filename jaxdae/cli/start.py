"""The start of the process: its settings, made before JAX is imported."""

import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import absl.logging

from jaxdae import devices
from jaxdae.cli import environment, streams
from jaxdae.cli.xla_flags import require_known_flags


def prepare(arguments: Sequence[str]) -> list[str]:
    """Makes all process-wide settings; returns the command line without the options for them.

    InputError if a variable of the environment has a value that is not allowed.
    """
    _report_errors_once()
    show_warnings()
    environment.settle(os.environ)
    streams.escape_unprintable()
    require_known_flags(os.environ.get("XLA_FLAGS", ""))
    devices.cores_as_devices()
    if arguments[:1] == ["--no-cache"]:
        return list(arguments[1:])
    if problem := devices.keep_compiled_programs():
        print(f"jaxdae: {problem}", file=sys.stderr)
    return list(arguments)


def _report_errors_once() -> None:
    """Leaves it to us to report what fails in Orbax's threads: the first error is raised here."""
    sys.unraisablehook = _unraisable
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    absl.logging.set_verbosity(absl.logging.FATAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def show_warnings() -> None:
    """Prints the library's warnings as lines of their own, without the prefix that absl gives them."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    log = logging.getLogger("jaxdae")
    log.addHandler(handler)
    log.propagate = False


def _unraisable(error: Any) -> None:
    """Is quiet about Orbax's event loops.

    Its threads outlive one, or it was never made for want of descriptors.
    """
    if not re.search("Event loop is closed|_ssock", str(error.exc_value)):
        sys.__unraisablehook__(error)
