"""Process-wide settings, made before JAX is imported: CPU cores as devices, the compilation cache."""

import contextlib
import os
import platform
import zlib
from pathlib import Path

import platformdirs

_CHECKED = ".checked"


def cores_as_devices() -> None:
    """Makes every CPU core a device of its own: small matrix products do not spread over threads, devices do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores))


def keep_compiled_programs() -> None:
    """Lets JAX keep what it compiles in a cache folder of the user's own, so that the next start is quick."""
    # One folder for each machine: a program for one processor may crash on another.
    folder = platformdirs.user_cache_path("jaxdae") / platform.node()
    chosen = os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    if chosen == str(folder):
        with contextlib.suppress(OSError):  # no reason not to start
            _remove_damaged(folder)


def _remove_damaged(folder: Path) -> None:
    """Removes programs that came into the cache since the last look and cannot be unpacked.

    JAX writes them in place, so that a killed process or a full disk leaves half of one. JAX would warn of it at every
    start, and never write it again.
    """
    checked = folder / _CHECKED
    since = checked.stat().st_mtime if checked.exists() else 0
    folder.mkdir(parents=True, exist_ok=True)
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
