"""The devices of this process as one mesh with one axis, `data`, over which batches are divided."""

from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh of the first local devices; by default of all."""
    count = devices or jax.local_device_count()
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.local_devices()[:count])


def replicate(tree: Any, mesh: Mesh | None = None) -> Any:
    """Puts a copy of every array on every device of a mesh (by default all), once, so that no call has to."""
    return jax.device_put(tree, NamedSharding(mesh or data_mesh(), PartitionSpec()))


def images_at_once() -> int:
    """How many images a device takes through the network together.

    The intermediate arrays of a few stay in a CPU's cache; an accelerator is idle with less than hundreds.
    """
    return 8 if jax.default_backend() == "cpu" else 512
