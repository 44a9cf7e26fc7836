"""How work is spread: a training's batches over the devices of all processes, other work over those of one.

The devices form one mesh with one axis, `data`.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

AXIS = "data"
_PRODUCTS = "members by products"
"""The axis of members whose convolutions are to be batched products."""
SHARED_ALIGNMENT = 64
"""Bytes on whose multiples an array must start for JAX's CPU devices to share it."""
PIXELS_IN_CACHE = 2**13
"""Pixels of some images whose intermediate arrays a core's cache holds, about."""


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh of the first devices of all processes; by default of all."""
    return _mesh(jax.devices()[:devices])


def local_mesh() -> Mesh:
    """A mesh of all devices of this process."""
    return _mesh(jax.local_devices())


def _mesh(devices: list[jax.Device]) -> Mesh:
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicate(tree: Any, mesh: Mesh | None = None) -> Any:
    """Puts every array on every device of a mesh, by default the local one, so that no call has to.

    CPU devices share the memory of a NumPy array, which they only read; others have a copy each.
    """
    mesh = mesh or local_mesh()
    if mesh.devices.flat[0].platform == "cpu":
        tree = jax.tree.map(_shareable, tree)
    return jax.device_put(tree, NamedSharding(mesh, P()))


def _shareable(leaf: Any) -> Any:
    """A NumPy array laid out as JAX wants it; else JAX makes a copy for each CPU device."""
    if not isinstance(leaf, np.ndarray):
        return leaf
    leaf = np.ascontiguousarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype)).reshape(leaf.shape)
    if leaf.ctypes.data % SHARED_ALIGNMENT == 0:
        return leaf
    buffer = np.empty(leaf.nbytes + SHARED_ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % SHARED_ALIGNMENT
    aligned = buffer[start : start + leaf.nbytes].view(leaf.dtype).reshape(leaf.shape)
    aligned[...] = leaf
    return aligned


def divide(tree: Any, mesh: Mesh) -> Any:
    """Puts on every device its share of every array, along the first axis, that of the members."""
    return jax.device_put(tree, NamedSharding(mesh, P(AXIS)))


def to_host(tree: Any) -> Any:
    """NumPy arrays of the whole of every array, though other processes' devices may hold parts of it."""
    return jax.device_get(replicate(tree, data_mesh()))


def images_at_once(pixels: int = 28 * 28) -> int:
    """How many images of so many pixels a device takes through a network together.

    The intermediate arrays of a few stay in a CPU's cache; an accelerator is idle with fewer than hundreds.
    """
    if jax.default_backend() != "cpu":
        return 512
    return next((images for images in (8, 4, 2) if images * pixels <= PIXELS_IN_CACHE), 1)


def in_batches(
    function: Callable[..., Any],
    shared: Any,
    *stacked: Array | np.ndarray,
    at_once: int = 0,
    mesh: Mesh | None = None,
    divided: bool = True,
) -> Any:
    """Applies `function(shared, *batch)` to any number of images: divided over all devices, a few at a time on each.

    The devices are those of a mesh, by default the local one; unless divided, the one that this is already traced for.
    """
    images, mesh = stacked[0].shape[0], mesh or local_mesh()
    if images == 1:  # one device has all cores; the others would compute on nothing
        return function(shared, *stacked)
    devices = mesh.size if divided else 1
    size = min(at_once or images_at_once(), -(-images // devices))
    missing = -images % (size * devices)
    padded = [jnp.pad(x, ((0, missing), *((0, 0),) * (x.ndim - 1))) for x in stacked]

    def on_device(shared: Any, *share: Array) -> Any:
        batches = tuple(x.reshape(-1, size, *x.shape[1:]) for x in share)
        out = jax.lax.map(lambda batch: function(shared, *batch), batches)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

    specs = (P(), *(P(AXIS) for _ in stacked))
    on_devices = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P(AXIS), check_vma=False)
    out = (on_devices if divided else on_device)(shared, *padded)
    return jax.tree.map(lambda x: x[:images], out)


class Population(NamedTuple):
    """How the members of a group go through one program. All ways give the same numbers, up to rounding."""

    way: Literal["map", "vmap", "products"]
    """In turn; or together by vmap, which makes one grouped convolution of theirs; or by vmap with convolutions as
    matrix products, of which vmap makes batched ones."""
    at_once: int = 0
    """How many of them together (a divisor of their number on a device); 0: all."""
    divided: bool = False
    """Whether each device takes its own members, with their whole batches, not its share of every batch."""


IN_TURN = Population("map")


def map_members(function: Callable[..., Any], *stacked: Any, population: Population) -> Any:
    """Applies a function of one member to stacked ones."""
    members = jax.tree.leaves(stacked)[0].shape[0]
    together = 1 if population.way == "map" else population.at_once or members
    if together == 1:  # to trace the vmap of a single member takes a second
        return jax.lax.map(lambda one: function(*one), stacked)
    batched = jax.vmap(function, axis_name=_PRODUCTS if population.way == "products" else None)
    groups = jax.tree.map(lambda x: x.reshape(-1, together, *x.shape[1:]), stacked)
    out = jax.lax.map(lambda group: batched(*group), groups)
    return jax.tree.map(lambda x: x.reshape(members, *x.shape[2:]), out)


def by_products() -> bool:
    """Whether what is being traced stands for members that step together with their convolutions as products."""
    try:
        jax.lax.axis_size(_PRODUCTS)
    except NameError:
        return False
    return True
