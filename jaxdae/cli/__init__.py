"""The `jaxdae` command: a thin shell over the library. Each verb is a module, imported when it is called."""

import contextlib
import errno
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from jaxdae import __version__
from jaxdae.cli import streams
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
        return _run(argv)
    except Exception as error:
        from jaxdae.cli import environment

        if sentence := environment.explain(error):
            return _fail(sentence)
        raise


def _run(argv: Sequence[str]) -> int:
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(WELCOME)
            return 0
        if argv[0] == "--version":
            print(f"jaxdae {__version__}")
            return 0
        require_name("verb", argv[0], VERBS)
        with _interrupt_ends():
            verb = importlib.import_module(f"jaxdae.cli.{argv[0].replace('-', '_')}")
        return verb.run(argv[1:])
    except SystemExit as stop:  # argparse has printed a help
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader of our output has seen enough
        return 0
    except CannotWrite as error:
        return _fail(error, status=1)
    except InputError as error:
        return _fail(error)
    except OSError as error:
        if unwritable := streams.flush():
            return _fail(unwritable, status=1)
        reason = error.strerror or error
        if error.filename and error.strerror:
            reason = f"{error.filename} cannot be used: {error.strerror}"
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


@contextlib.contextmanager
def _interrupt_ends() -> Iterator[None]:
    """Lets Ctrl-C end the process at once during imports, which would end in a traceback."""
    previous = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if previous is not signal.default_int_handler or not in_main_thread:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _fail(error: Any, status: int = 2) -> int:
    print(f"jaxdae: {printable(error)}", file=sys.stderr)
    return status


def _interrupted(stop: KeyboardInterrupt) -> int:
    signals = sys.modules.get("jaxdae.runs.signals")
    if signals is None or not isinstance(stop, signals.Interrupted):
        return 130
    print(f"\nstopped; continue with: jaxdae resume {printable(stop.path)}", file=sys.stderr)
    return 128 + stop.signal_number


def console() -> None:
    """The entry point of the `jaxdae` script: the one place that makes process-wide settings."""
    with _interrupt_ends():
        streams.open_closed()  # before anything opens a file
        from jaxdae.cli import start

        try:
            arguments = start.prepare(sys.argv[1:])
        except InputError as error:
            raise SystemExit(_fail(error)) from None
    status = main(arguments)
    if (unwritable := streams.flush()) and status == 0:
        status = _fail(unwritable, status=1)
    if status == 1 and any(
        thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()
    ):
        # After a save that failed, threads of Orbax may wait ten minutes for each other.
        os._exit(status)
    raise SystemExit(status)
