"""Settings that all tests share. They are made before JAX is imported, and processes that tests start inherit them."""

import os
import tempfile

import hypothesis
import jaxtyping
import pytest

PROGRAMS = tempfile.TemporaryDirectory(prefix="jaxdae-tests-")

os.environ |= {
    "JAX_NUM_CPU_DEVICES": "2",  # so that everything is tested on a mesh that divides the batch
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # nearly all of the time goes into compiling
    "JAX_COMPILATION_CACHE_DIR": PROGRAMS.name,  # compiled once for all processes
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}

hypothesis.settings.register_profile("jaxdae", deadline=None, derandomize=True, max_examples=15)
hypothesis.settings.load_profile("jaxdae")


@pytest.fixture
def unchecked_types():
    """Calls the functions as a user's process does, where no annotation is checked."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
