"""What the user's environment does to JAX and matplotlib.

It is settled before they are imported, and explained where they fail by it.
"""

import os
import re
import sys
from collections.abc import MutableMapping

DEBUGGING = (
    "JAX_NUMPY_DTYPE_PROMOTION",
    "JAX_NUMPY_RANK_PROMOTION",
    "JAX_TRANSFER_GUARD",
    "JAX_TRANSFER_GUARD_HOST_TO_DEVICE",
    "JAX_TRANSFER_GUARD_DEVICE_TO_DEVICE",
    "JAX_TRANSFER_GUARD_DEVICE_TO_HOST",
)
"""Aids for debugging one's own programs: no number depends on them; Flax and optax fail by them."""
PLATFORMS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME")


def settle(variables: MutableMapping[str, str]) -> None:
    """Takes out of the environment what is meant for other programs and makes this one fail."""
    for name in DEBUGGING:
        variables.pop(name, None)
    variables["MPLBACKEND"] = "agg"  # figures are written to files, whatever window the user likes


def explain(error: Exception) -> str:
    """A sentence if a setting in the environment is why JAX does not work; else empty."""
    return _refused_setting(error) or _missing_platform()


def _refused_setting(error: Exception) -> str:
    """Of a variable whose value JAX refused when it was imported."""
    match = re.search(r"JAX flag (jax_\w+)|environment '(JAX_\w+)'", str(error))
    if not isinstance(error, ValueError) or match is None:
        return ""
    name = (match[1] or match[2]).upper()
    value = os.environ.get(name, "")
    return f"{name}={value} is not a value that JAX knows; correct or unset this variable"


def _missing_platform() -> str:
    """Of devices that were asked for and are not there."""
    jax = sys.modules.get("jax")
    wanted = [f"{name}={os.environ[name]}" for name in PLATFORMS if os.environ.get(name)]
    if jax is None or not wanted:
        return ""
    try:
        jax.devices()
    except (RuntimeError, AssertionError):
        return (
            f"{' and '.join(wanted)}: JAX finds no such device here; unset it, set it to cpu, or "
            "install JAX for that device (an NVIDIA GPU: pip install 'jaxdae[cuda]')"
        )
    return ""
