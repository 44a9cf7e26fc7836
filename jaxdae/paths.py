"""What a path leads to: files that have no end are not read, and links are not written through."""

import os
import stat
from pathlib import Path

from jaxdae.errors import InputError

SPECIAL_KINDS = {
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
"""Names of what is neither a file nor a folder: reading may wait forever, or never end."""
NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags of `os.open` that refuse a link, and do not wait for the other end of a pipe."""


def special_kind(path: Path) -> str:
    """What a path is if it is neither file nor folder nor missing; else empty. Links are followed."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # who opens it says why it cannot be
        return ""
    return SPECIAL_KINDS.get(stat.S_IFMT(mode), "")


def require_regular_file(path: Path) -> None:
    """InputError if a path is a named pipe, a socket or a device; it may be missing."""
    if kind := special_kind(path):
        raise InputError(f"{path} is a {kind}, not a file; give a file with its content")


def require_no_link(path: Path, what: str) -> None:
    """InputError if a path, which the message calls `what`, is a link to somewhere else."""
    if path.is_symlink():
        target = os.readlink(path)
        raise InputError(
            f"{path} is a link to {target}, and a run changes nothing outside its folder; move the "
            f"{what} there in place of the link, or link the whole run folder"
        )


def exists_at_all(path: Path) -> bool:
    """Whether a path is taken, be it by a link that leads nowhere."""
    return os.path.lexists(path)
