"""One process, or one job of several, at a time on a run folder."""

import contextlib
import os
import re
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from jaxdae import distributed
from jaxdae.errors import InputError
from jaxdae.paths import NO_LINK
from jaxdae.runs import folder
from jaxdae.runs.files import make_folder

_HOLDER = re.compile(r"(process \d+ on .*\n?)?")
"""What a lock says."""
_MOST_READ = 1000


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a folder, which is made if it is missing; the system lets go of it when the process dies.

    A folder that was made, and is still empty after a failure, is removed again. InputError, which
    names process and host, if another holds it, and if its lock is a link, or holds what no run has
    written. Windows and some network file systems have no locks.
    """
    with contextlib.ExitStack() as stack:
        distributed.by_first(lambda: stack.enter_context(_held(path)))
        yield


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    with make_folder(path):
        if sys.platform == "win32":
            yield
            return
        with _open_lock(path / folder.LOCK) as file, _lock_of(file, path):
            yield


def _open_lock(lock: Path) -> TextIO:
    """Opens a lock, which is made if it is missing; InputError if it is not a file of its own."""
    advice = "remove it, since a run keeps its lock in a file of its own"
    if lock.is_symlink():
        raise InputError(f"{lock} is a link to {os.readlink(lock)}; {advice}")
    if lock.exists() and not lock.is_file():  # a socket cannot be opened
        raise InputError(f"{lock} is not a file; {advice}")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{lock} is not a file; {advice}")
    return open(descriptor, "r+", errors="replace")


@contextlib.contextmanager
def _lock_of(file: TextIO, path: Path) -> Iterator[None]:
    """Locks an open file, names this process in it, and removes it in the end."""
    import fcntl

    lock = path / folder.LOCK
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = file.read(_MOST_READ).strip() or "another process"
        raise InputError(f"{path} is in use by {holder}; wait for it, stop it, or choose another folder") from None
    except OSError:
        yield
        return
    if not os.path.lexists(lock) or not os.path.samestat(os.fstat(file.fileno()), os.lstat(lock)):
        raise InputError(f"{path} was in use until now; try again")  # its holder has just removed the file
    _name_holder(file, lock)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a read-only disk is said already; who comes next can take it over
            lock.unlink()


def _name_holder(file: TextIO, lock: Path) -> None:
    """Writes this process into its lock; InputError if that holds something else."""
    if not _HOLDER.fullmatch(file.read(_MOST_READ)):
        raise InputError(f"{lock} holds what no run has written; move it away: a run locks that file")
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
