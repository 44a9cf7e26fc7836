"""Checks of the arguments of `train` and `resume`, before anything is read or written."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import jax
import numpy as np

from jaxdae.arguments import require_flag, require_path
from jaxdae.errors import InputError, shown
from jaxdae.training import Member


def require_train_arguments(members: Any, data: Any, *, out: Any, overwrite: Any, progress: Any, initial: Any) -> None:
    """Raises InputError unless these arguments of `train` can be what they should be; others are checked later."""
    if _is_data(members) and not _is_data(data):
        raise InputError(f"members is {shown(members)} and data is {shown(data)}; did you swap members and data?")
    require_data(data)
    if out is not None:
        require_path("out", out)
    require_flag("overwrite", overwrite)
    require_flag("progress", progress)
    if initial is not None:
        require_params(initial)


def require_data(data: Any) -> None:
    """Raises InputError unless a value is a dataset, such as `load` and `read_own` give."""
    if _is_data(data):
        return
    way_out = "give what load or read_own returns, or ImageData(train, test)"
    if isinstance(data, str):
        way_out = f"give load({data!r}), or read_own({data!r}) for pictures of your own"
    elif isinstance(data, PurePath):
        way_out = f"give read_own({str(data)!r})"
    elif isinstance(data, Member):
        way_out = f"members come first; {way_out}"
    raise InputError(f"data is {shown(data)}, not a dataset; {way_out}")


def require_params(initial: Any) -> None:
    """Raises InputError unless a value is a tree of numbers, as the parameters of a network are."""
    if hasattr(initial, "params"):
        raise InputError(f"initial is {shown(initial)}, not the parameters to start from; give its .params")
    leaves = jax.tree.leaves(initial)
    is_numeric = all(np.issubdtype(np.asarray(leaf).dtype, np.number) for leaf in leaves)
    if not isinstance(initial, Mapping) or not leaves or not is_numeric:
        raise InputError(f"initial is {shown(initial)}, not the parameters to start from; give a denoiser's .params")


def _is_data(value: Any) -> bool:
    return not isinstance(value, type) and all(hasattr(value, name) for name in ("describe", "sources", "image"))
