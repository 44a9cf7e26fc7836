"""Checks of the arguments of public functions: each raises InputError with one sentence that names the argument.

They are called once at the door of a function, never inside compiled code. `None` is for the caller to allow.
"""

import numbers
import os
from typing import Any

import numpy as np

from jaxdae.components import plain
from jaxdae.errors import InputError, shown

MAX_SEED = 2**32 - 1


def require_flag(name: str, value: Any) -> None:
    """Raises InputError unless a value is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} is {shown(value)}; give True or False")


def require_integer(name: str, value: Any, least: int | None = None) -> None:
    """Raises InputError unless a value is an integer (not a truth value) of at least `least`."""
    if not is_integer(value) or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least}"
        raise InputError(f"{name} {shown(value)} is not allowed: give an integer{bound}")


def is_integer(value: Any) -> bool:
    """Whether a value is an integer, NumPy's too, and not a truth value."""
    value = plain(value)
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a real number, NumPy's too, and not a truth value."""
    value = plain(value)
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def require_seed(seed: Any, name: str = "seed") -> None:
    """Raises InputError unless a value is an integer of 32 bits."""
    if not is_integer(seed) or not 0 <= seed <= MAX_SEED:
        raise InputError(f"{name} {shown(seed)} is not an integer from 0 to {MAX_SEED}")


def require_path(name: str, value: Any, hint: str = "") -> None:
    """Raises InputError unless a value is a path; the hint ends the sentence."""
    is_path = isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str))
    if not is_path:
        raise InputError(f"{name} is {shown(value)}; give a path as text or pathlib.Path{hint}")
    if not os.fspath(value):
        raise InputError(f"{name} is an empty path; give the path of a folder or file{hint}")


def require_sequence(name: str, value: Any) -> None:
    """Raises InputError unless a value is a list, a tuple, a range or an array of one axis."""
    if isinstance(value, (list, tuple, range)) and not hasattr(value, "_fields"):
        return
    if getattr(value, "ndim", None) == 1:
        return
    single = isinstance(value, str) or is_number(value)
    way_out = f"write [{plain(value)!r}] for a single one" if single else "give a list"
    raise InputError(f"{name} {shown(value)} is not a sequence of values: {way_out}")


def require_instance(name: str, value: Any, kind: type, way_out: str) -> None:
    """Raises InputError unless a value is an instance of a class; `way_out` says how to get one."""
    if isinstance(value, type) and issubclass(value, kind):
        raise InputError(f"{name} is the class {value.__name__}; give an instance, {value.__name__}()")
    if not isinstance(value, kind):
        raise InputError(f"{name} is {shown(value)}, not a {kind.__name__}; {way_out}")


def require_fraction(name: str, value: Any) -> None:
    """Raises InputError unless a value lies between 0 and 1, both excluded."""
    if not is_number(value) or not 0 < value < 1:
        text = f"{value:g}" if is_number(value) else shown(value)
        raise InputError(f"{name} {text} is not allowed: give a fraction between 0 and 1")


def require_callable(name: str, value: Any) -> None:
    """Raises InputError unless a value can be called."""
    if not callable(value):
        raise InputError(f"{name} is {shown(value)}; give a function")


def require_names(name: str, value: Any) -> None:
    """Raises InputError unless a value is a list of names."""
    if isinstance(value, str):
        raise InputError(f"{name} {value!r} is not a list of names: write [{value!r}] for a single one")
    if not isinstance(value, (list, tuple, set, frozenset, dict)):
        raise InputError(f"{name} is {shown(value)}; give a list of names")
