"""Known wrong values of compilers, in programs that jaxdae does not use: a warning about the versions, no more."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdae import rng


class Canary(NamedTuple):
    """A program that some compiler gets wrong."""

    program: str
    report: str
    wrong: int
    """How many of its values are wrong here."""


def canaries() -> Iterator[Canary]:
    """Runs them."""
    rows, matrix = (np.random.default_rng(0).standard_normal(shape, np.float32) for shape in ((33_000, 3), (3, 3)))
    with rng.pinned():
        found = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.asarray(matrix) @ row) ** 2)))(rows)
    expected = ((rows.astype(np.float64) @ matrix.T.astype(np.float64)) ** 2).sum(1)
    wrong = int((np.abs(np.asarray(found) - expected) > 1e-2 * expected.max()).sum())
    yield Canary("jit(vmap(sum((M @ row)**2))) of 33,000 rows", "jax-ml/jax#39103", wrong)
