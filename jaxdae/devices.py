"""Process-wide settings, made before JAX is imported: CPU cores as devices, the compilation cache."""

import contextlib
import os
import platform
import re
import tempfile
import warnings
import zlib
from pathlib import Path

import platformdirs

from jaxdae.errors import InputError

DEVICES, PROGRAMS = "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR"
"""JAX's variables for the number of CPU devices and for the folder of compiled programs."""
NOT_KEPT = "compiled programs are not kept for the next start"
_CHECKED = ".checked"


def cores_as_devices() -> None:
    """Makes every CPU core a device: small matrix products do not spread over threads, devices do.

    A number that the user has chosen stays, by JAX's variable or by XLA's flag. InputError if it is
    not allowed.
    """
    chosen = os.environ.setdefault(DEVICES, _devices_of_xla() or str(_cores()))
    if not chosen.isdecimal() or int(chosen) < 1:
        way_out = "give an integer of at least 1, or unset this variable"
        raise InputError(f"{DEVICES}={chosen} is not allowed: {way_out}")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices_of_xla() -> str:
    """The number of CPU devices in XLA's flags, which ours would overrule; empty: none."""
    flags = os.environ.get("XLA_FLAGS", "")
    numbers = re.findall(r"--xla_force_host_platform_device_count=(\S*)", flags)
    return numbers[-1] if numbers else ""


def keep_compiled_programs() -> str:
    """Lets JAX keep compiled programs in a folder of the user's own, so that the next start is quick.

    Returns a sentence if that folder cannot be written, which is no reason not to start; else "".
    """
    # One folder for each machine: a program for one processor may crash on another.
    try:
        own = platformdirs.user_cache_path("jaxdae") / platform.node()
    except RuntimeError:  # the user has no home folder
        own = None
    chosen = os.environ.setdefault(PROGRAMS, str(own or ""))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    if not chosen:
        return "" if own else f"{NOT_KEPT}: there is no home folder; set HOME or {PROGRAMS}"
    if "://" in chosen:  # a bucket
        return ""
    try:
        _require_writable(Path(chosen))
    except OSError as error:
        _read_only(chosen)
        way_out = f"set {PROGRAMS} to another folder, or call `jaxdae --no-cache`"
        return f"{NOT_KEPT}: {chosen} cannot be written ({error.strerror}); {way_out}"
    if own and chosen == str(own):
        with contextlib.suppress(OSError):
            _remove_damaged(own)
    return ""


def _require_writable(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def _read_only(folder: str) -> None:
    """Takes programs out of a folder if it can be read, without JAX's warnings about writing."""
    failed = "Error (reading|writing) persistent compilation cache"
    warnings.filterwarnings("ignore", failed, UserWarning)
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):
        del os.environ[PROGRAMS]


def _remove_damaged(folder: Path) -> None:
    """Removes programs that came into the cache since the last look and cannot be unpacked.

    JAX writes them in place, so that a killed process or a full disk leaves half of one. JAX would warn of it at every
    start, and never write it again.
    """
    checked = folder / _CHECKED
    since = checked.stat().st_mtime if checked.exists() else 0
    checked.touch()
    for program in folder.glob("*-cache"):
        if program.stat().st_mtime >= since and not _is_whole(program.read_bytes()):
            program.unlink(missing_ok=True)


def _is_whole(packed: bytes) -> bool:
    if packed[:4] == b"(\xb5/\xfd":  # Zstandard, with which JAX packs where that is installed
        return True
    try:
        zlib.decompress(packed)
        return True
    except zlib.error:
        return False
