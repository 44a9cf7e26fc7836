"""The `jaxdae` command: a thin shell over the library. Each verb is a module, imported when it is called."""

import errno
import importlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import absl.logging

from jaxdae import __version__
from jaxdae.devices import cores_as_devices, keep_compiled_programs
from jaxdae.errors import CannotWrite, InputError, printable, require_name
from jaxdae.memory import is_out_of_memory

WELCOME = """\
jaxdae trains denoisers and compares them across noise levels, models and objectives.

  jaxdae train                        train a denoiser on a small set of digits, about a minute
  jaxdae train --preset classic --out runs/classic
                                      the classic experiment (downloads MNIST)
  jaxdae train --preset fast --out runs/fast
                                      the same quality in three epochs
  jaxdae resume runs/classic          continue a run that was stopped
  jaxdae evaluate runs/classic        BCE, MSE, PSNR and SSIM of its members
  jaxdae plot runs/classic            draw its figures
  jaxdae denoise scan.png --out clean/
                                      denoise pictures with the packaged denoiser that fits them
  jaxdae models                       the packaged denoisers: data, licence, numbers, limits
  jaxdae export runs/classic --to onnx --out model.onnx
                                      the denoiser for other programs: ONNX, StableHLO, safetensors, Keras
  jaxdae import autoencoder.h5 --out runs/mine
                                      a denoiser made by Keras (.keras, .h5)
  jaxdae noisy-set --dataset mnist --out noisy.npz
                                      the noisy test images as a file, for other programs
  jaxdae check                        compare what this machine computes with NumPy

`jaxdae VERB --help` explains the options of a verb. Compiled programs are kept for the next start in the user's cache
folder; `jaxdae --no-cache VERB` does without."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.EIO)
"""What is no fault of the command line."""

VERBS = ("train", "resume", "evaluate", "plot", "denoise", "models", "export", "import", "noisy-set", "check")


def main(argv: Sequence[str]) -> int:
    """Runs a command line (without the program's name) and returns its exit status."""
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(WELCOME)
            return 0
        if argv[0] == "--version":
            print(f"jaxdae {__version__}")
            return 0
        require_name("verb", argv[0], VERBS)
        return importlib.import_module(f"jaxdae.cli.{argv[0].replace('-', '_')}").run(argv[1:])
    except SystemExit as stop:  # argparse has printed a help
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CannotWrite as error:
        return _fail(error, status=1)
    except InputError as error:
        return _fail(error)
    except OSError as error:
        reason = f"{error.filename} cannot be used: {error.strerror}" if error.filename and error.strerror else error
        return _fail(reason, status=1 if error.errno in _NO_ROOM else 2)
    except (RuntimeError, MemoryError) as error:
        if _is_of_a_lost_process(error):
            _fail(f"another process ended ({_reason(error)}); resume the run, in all processes, with `jaxdae resume`")
            os._exit(1)  # the usual end waits for the other process, then aborts
        if not is_out_of_memory(error):
            raise
        return _fail(f"the memory is too small for this ({_reason(error)}); try a smaller --batch-size or --width")
    except KeyboardInterrupt as stop:
        return _interrupted(stop)


def _is_of_a_lost_process(error: BaseException) -> bool:
    import jax

    return jax.distributed.is_initialized() and bool(re.search("(?i)gloo|nccl|heartbeat|coordination", str(error)))


def _reason(error: BaseException) -> str:
    return (str(error) or type(error).__name__).split("\n")[0][:150]


def _fail(error: Any, status: int = 2) -> int:
    print(f"jaxdae: {printable(error)}", file=sys.stderr)
    return status


def _interrupted(stop: KeyboardInterrupt) -> int:
    from jaxdae.runs.signals import Interrupted

    if not isinstance(stop, Interrupted):
        return 130
    print(f"\nstopped; continue with: jaxdae resume {printable(stop.path)}", file=sys.stderr)
    return 128 + stop.signal_number


def _unraisable(error: Any) -> None:
    """Is quiet about event loops of Orbax: its threads outlive one, or it was never made for want of descriptors."""
    if not re.search("Event loop is closed|_ssock", str(error.exc_value)):
        sys.__unraisablehook__(error)


def _report_errors_once() -> None:
    """Leaves it to us to report what fails in Orbax's threads and tasks: the first error is raised here."""
    sys.unraisablehook = _unraisable
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    absl.logging.set_verbosity(absl.logging.FATAL)
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)


def console() -> None:
    """The entry point of the `jaxdae` script: the one place that makes process-wide settings."""
    arguments = sys.argv[1:]
    _report_errors_once()
    cores_as_devices()
    for stream in (sys.stdout, sys.stderr):  # a file's name may have characters that the terminal has not
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if arguments[:1] == ["--no-cache"]:
        arguments = arguments[1:]
    else:
        keep_compiled_programs()
    status = main(arguments)
    if status == 1 and any(
        thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()
    ):
        # After a save that failed, threads of Orbax may wait ten minutes for each other.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise SystemExit(status)
