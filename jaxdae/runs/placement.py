"""The images of a run on all devices, or an error that names them."""

import sys

import jax

from jaxdae import distributed, parallel
from jaxdae.data import Data, Source
from jaxdae.memory import available_memory, gigabytes, memory_named, too_large_for_memory

Sources = tuple[Source, Source]
"""To train and to validate on."""


def place(sources: Sources, data: Data) -> Sources:
    """Puts all images on every device, before a run is begun that cannot be trained.

    The CPU devices of a process share one copy (`parallel.replicate`).

    Raises:
        InputError: the memory is too small for them; it names the data.
    """
    name = data.name or "this training"
    _require_memory(name, sources)
    with memory_named(name):
        return jax.block_until_ready(parallel.replicate(sources, parallel.data_mesh()))


def _require_memory(name: str, sources: Sources) -> None:
    """Raises InputError unless a copy fits; of the memory of accelerators nothing is known."""
    if jax.default_backend() != "cpu":
        return
    free = available_memory()
    free = sys.maxsize if free is None else free
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(sources))
    if distributed.any_of(needed > free):
        reason = f"a copy would take {gigabytes(needed)} of the {gigabytes(free)} that are free"
        raise too_large_for_memory(name, f" ({reason})")
