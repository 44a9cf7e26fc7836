"""Draws that are named, not counted.

The key of a draw is derived from a seed, the purpose, the epoch and the example's index in the dataset, never from the
batch, the device or earlier draws. The generator is named too. The values are part of the product: a new purpose is
appended; renumbering one changes every published number.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import jax
from jaxtyping import Array, Int, UInt

from jaxdae.types import PRNGKey

PRNG = "threefry2x32"
"""The generator, whatever the default of the process."""

INITIALIZATION, ORDER, LEVEL, NOISE, TARGET, PATCH, AUGMENT = range(7)
"""The purposes of a draw. Of PATCH and AUGMENT the index is the picture, and the patch's number is folded in."""

ONCE, EVALUATION = 0, 2**32 - 1
"""In place of an epoch (epochs count from 1): a draw made once for the whole training, and one made for evaluation."""

Seed = UInt[Array, ""] | int
Name = Int[Array, ""] | UInt[Array, ""] | int


def draw_key(seed: Seed, purpose: int, epoch: Name = ONCE, index: Name = 0) -> PRNGKey:
    """The key of a draw, by its name."""
    key = jax.random.key(seed, impl=PRNG)
    for name in (purpose, epoch, index):
        key = jax.random.fold_in(key, name)
    return key


class Draws(NamedTuple):
    """The named draws of one example."""

    seed: Seed
    epoch: Name
    index: Name  # type: ignore[assignment]  # it hides tuple.index, which nobody needs here

    def key(self, purpose: int) -> PRNGKey:
        """The key of its draw for a purpose."""
        return draw_key(self.seed, purpose, self.epoch, self.index)


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Holds what would change draws and sums, or fail, if a user's environment set it.

    Every public function that draws or computes is entered through it. JAX_THREEFRY_PARTITIONABLE=0
    and JAX_ENABLE_X64=1 change the draws of a plain `jax.random` call. Strict promotion of types and
    ranks and transfer guards are for debugging one's own programs; ours, Flax and optax promote.
    """
    with (
        jax.threefry_partitionable(True),
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        jax.transfer_guard("allow"),
    ):
        yield
