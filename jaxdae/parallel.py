"""How work is spread: batches over the devices of this process, images and members over one device.

The devices form one mesh with one axis, `data`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

AXIS = "data"


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh of the first local devices; by default of all."""
    count = devices or jax.local_device_count()
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.local_devices()[:count])


def replicate(tree: Any, mesh: Mesh | None = None) -> Any:
    """Puts a copy of every array on every device of a mesh (by default all), once, so that no call has to."""
    return jax.device_put(tree, NamedSharding(mesh or data_mesh(), P()))


def images_at_once() -> int:
    """How many images a device takes through a network together.

    The intermediate arrays of a few stay in a CPU's cache; an accelerator is idle with fewer than hundreds.
    """
    return 8 if jax.default_backend() == "cpu" else 512


def in_batches(function: Callable[..., Any], shared: Any, *stacked: Array | np.ndarray, at_once: int = 0) -> Any:
    """Applies `function(shared, *batch)` to any number of images: divided over all devices, a few at a time on each."""
    images, mesh = stacked[0].shape[0], data_mesh()
    size = min(at_once or images_at_once(), -(-images // mesh.size))
    missing = -images % (size * mesh.size)
    padded = [jnp.pad(x, ((0, missing), *((0, 0),) * (x.ndim - 1))) for x in stacked]

    def on_device(shared: Any, *share: Array) -> Any:
        batches = tuple(x.reshape(-1, size, *x.shape[1:]) for x in share)
        out = jax.lax.map(lambda batch: function(shared, *batch), batches)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

    specs = (P(), *(P(AXIS) for _ in stacked))
    divided = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)
    return jax.tree.map(lambda x: x[:images], divided(shared, *padded))


def map_members(function: Callable[..., Any], *stacked: Any, at_once: int = 0) -> Any:
    """Applies a function of one member to stacked ones, a few at once by vmap.

    By default in turn on a CPU, where vmap costs more (results/scaling/README.md); all at once on an accelerator.
    """
    together = at_once or (1 if jax.default_backend() == "cpu" else jax.tree.leaves(stacked)[0].shape[0])
    # None for one: to trace the vmap of a single member takes a second.
    return jax.lax.map(lambda one: function(*one), stacked, batch_size=together if together > 1 else None)
