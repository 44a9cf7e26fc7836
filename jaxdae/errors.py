"""Input that cannot be used, with hints for it, and files that cannot be written."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used. The message is one sentence: the value, what is allowed, the way out."""


class CannotWrite(Exception):
    """A run cannot be written: the disk is full or read-only, or no file can be opened. The message is one sentence."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that ends an error message: the known names most like `name`, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, cutoff=0.65)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def require_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raises InputError unless `name` is one of `known`."""
    known = list(known)
    if name not in known:
        raise InputError(f"{what} {name!r} is not known; {nearest(str(name), known)}")
