"""One process, or one job of several, at a time on a run folder."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from jaxdae import distributed
from jaxdae.errors import InputError
from jaxdae.runs import folder


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a folder, which is made if it is missing; the system lets go of it when the process dies.

    InputError, which names process and host, if another holds it. Windows and some network file systems have no locks.
    """
    with contextlib.ExitStack() as stack:
        distributed.by_first(lambda: stack.enter_context(_held(path)))
        yield


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    path.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield
        return
    import fcntl

    lock = path / folder.LOCK
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise InputError(f"{path} is in use by {holder}; wait for it, stop it, or choose another folder") from None
        except OSError:
            yield
            return
        if not lock.exists() or not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
            raise InputError(f"{path} was in use until now; try again")  # its holder has just removed the file
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # a read-only disk is said already; who comes next can take it over
                lock.unlink()
