"""Input that cannot be used, with hints for it, files that cannot be written, printable lines."""

import difflib
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

_SIMPLE = (str, bytes, bool, int, float, complex, type(None), PurePath)
_MAX_LENGTH = 80


class InputError(ValueError):
    """Input that cannot be used. The message is one sentence: the value, what is allowed, the way out."""


class CannotWrite(Exception):
    """A run cannot be written: the disk is full or read-only, or no file can be opened. The message is one sentence."""


def printable(text: object) -> str:
    """A line with line breaks and codes for a terminal escaped, which names in it may have."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that ends an error message: the known names most like `name`, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, cutoff=0.65)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def require_name(what: str, name: Any, known: Iterable[str]) -> None:
    """Raises InputError unless `name` is one of `known`."""
    known = list(known)
    if not isinstance(name, str):
        raise InputError(f"{what} {shown(name)} is not a name; {nearest('', known)}")
    if name not in known:
        raise InputError(f"{what} {name!r} is not known; {nearest(name, known)}")


def shown(value: Any) -> str:
    """A value of any type in an error message: short, and on one line."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        text = repr(value) if len(value) <= 4 and all(isinstance(x, _SIMPLE) for x in value) else ""
        return text if text and len(text) <= _MAX_LENGTH else f"a {type(value).__name__} of {len(value)} values"
    if isinstance(value, _SIMPLE) or getattr(value, "shape", None) == ():
        text = repr(value)
        return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of type {value.dtype} and shape {tuple(value.shape)}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'AEIOaeio' else 'a'} {kind}"
