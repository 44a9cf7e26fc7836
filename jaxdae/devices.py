"""Process-wide settings, made before JAX is imported: CPU cores as devices, the compilation cache."""

import os
import platform

import platformdirs


def cores_as_devices() -> None:
    """Makes every CPU core a device of its own: small matrix products do not spread over threads, devices do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores))


def keep_compiled_programs() -> None:
    """Lets JAX keep what it compiles in a cache folder of the user's own, so that the next start is quick."""
    # One folder for each machine: a program for one processor may crash on another.
    folder = platformdirs.user_cache_path("jaxdae") / platform.node()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
