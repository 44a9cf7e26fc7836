"""The comparisons with other implementations compile as users' programs do."""

import jax
import pytest


@pytest.fixture(scope="module")
def optimized():
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
