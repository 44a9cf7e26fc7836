"""A network that was made elsewhere: a graph of known layers, interpreted by one linen module.

The layers compute what Keras's of the same names do, in inference: 'same' padding with a stride is asymmetric,
bilinear upsampling is half-pixel, transposed convolutions crop, batch normalization is an affine layer.
"""

import functools
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array

from jaxdae.components import structure
from jaxdae.models import kernels
from jaxdae.models.layers import pad_to_multiple
from jaxdae.types import Images, PerImage, Scalar

INPUT = "input"
"""The name of the images among the inputs of a node."""
Settings = Mapping[str, Any]
Shape = tuple[int, ...]


class Node(NamedTuple):
    """One layer of a graph, in use once; nodes that share a layer share `weights`."""

    name: str
    kind: str
    """A name in `KINDS`."""
    inputs: tuple[str, ...]
    """Names of earlier nodes, or `INPUT`."""
    settings: tuple[tuple[str, Any], ...] = ()
    weights: str = ""
    """The name of its parameters; empty: it has none."""


class Seen(NamedTuple):
    """Along one axis, output pixel i depends on the pixels from `stride i + low` to `stride i + high` of the input."""

    stride: Fraction = Fraction(1)
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)

    def then(self, other: "Seen") -> "Seen":
        """What the next layer sees through this one."""
        return Seen(
            self.stride * other.stride, self.low + self.stride * other.low, self.high + self.stride * other.high
        )


class Kind(NamedTuple):
    """What a kind of layer computes."""

    apply: Callable[..., Array]
    """(settings, parameters, *inputs) -> output."""
    shapes: Callable[[Settings, Shape], dict[str, Shape]] = lambda settings, shape: {}
    """The shapes of its parameters, by the shape of its input."""
    seen: Callable[[Settings, int], Seen | None] = lambda settings, axis: Seen()
    """What it sees along an axis, of sides that its stride divides; None: the whole picture."""


class Graph(nn.Module):
    """An imported network. With a `size` it takes that one only; else any, padded by its mirror image.

    The outputs of all layers that are images are sown in "intermediates", a dict "layers".
    """

    layers: tuple = structure((), "the nodes, each after its inputs; the last is the output")
    size: tuple | None = structure(None, "the only height and width that it takes", unset="any")

    prediction = "image"

    @property
    def multiple(self) -> int:
        """The sides that it computes on are multiples of this; a tile starts at one."""
        return 1 if self.size else geometry(self.layers)[0]

    @property
    def reach(self) -> int | None:
        """How far away, in pixels, an input pixel can change an output pixel; None: whole pictures only."""
        return None if self.size else geometry(self.layers)[1]

    @property
    def example_size(self) -> tuple[int, int]:
        """A height and width that it takes, for its initialization."""
        side = 8 * self.multiple
        return tuple(self.size) if self.size else (side, side)

    @nn.compact
    def __call__(self, images: Images, level: PerImage | Scalar | None = None) -> Array:
        """The denoised images, as the last layer has them."""
        padded = images if self.size else pad_to_multiple(images, self.multiple)
        values: dict[str, Array] = {INPUT: jnp.asarray(padded)}
        parameters: dict[str, Any] = {"": {}}
        for node in map(as_node, self.layers):
            kind, settings = KINDS[node.kind], dict(node.settings)
            inputs = [values[name] for name in node.inputs]
            if node.weights not in parameters:
                shapes = kind.shapes(settings, inputs[0].shape)
                parameters[node.weights] = jax.tree.map(jnp.asarray, self.param(node.weights, _zeros, shapes))
            activation = settings.get("activation", ("linear",))
            values[node.name] = activate(kind.apply(settings, parameters[node.weights], *inputs), *activation)
        last = as_node(self.layers[-1]).name
        self.sow("intermediates", "layers", {n: x for n, x in values.items() if x.ndim == 4 and n not in (INPUT, last)})
        output = values[last]
        return output if self.size else output[:, : images.shape[1], : images.shape[2]]


def as_node(fields: Any) -> Node:
    """A node of its fields, which JSON returns as a tuple."""
    return Node(*fields)


def _zeros(_: Array, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    return {name: jnp.zeros(shape) for name, shape in shapes.items()}


@functools.cache
def geometry(layers: tuple) -> tuple[int, int | None]:
    """The multiple that sides must have, and the reach of the output; None where it is the whole picture."""
    multiple, furthest = 1, 0
    for axis in (0, 1):
        seen: dict[str, Seen | None] = {INPUT: Seen()}
        for node in map(as_node, layers):
            before = [seen[name] for name in node.inputs]
            own = KINDS[node.kind].seen(dict(node.settings), axis)
            strides = {part.stride for part in before if part}
            if own is None or None in before or len(strides) != 1:
                return multiple, None
            parts = [part for part in before if part]
            widest = Seen(parts[0].stride, min(p.low for p in parts), max(p.high for p in parts))
            seen[node.name] = made = widest.then(own)
            multiple = math.lcm(multiple, made.stride.numerator)
        last = seen[as_node(layers[-1]).name]
        if last is None or last.stride != 1:
            return multiple, None
        furthest = max(furthest, math.ceil(-last.low), math.ceil(last.high))
    return multiple, furthest


def activate(values: Array, name: str, *numbers: float) -> Array:
    """An activation by Keras's name, with its numbers."""
    return ACTIVATIONS[name](values, *numbers)


def _relu(x: Array, highest: float | None = None, slope: float = 0.0, threshold: float = 0.0) -> Array:
    above = x if highest is None else jnp.minimum(x, highest)
    return jnp.where(x >= threshold, above, slope * (x - threshold))


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "linear": lambda x: x,
    "relu": lambda x, *numbers: _relu(x, *numbers) if numbers else jax.nn.relu(x),
    "relu6": jax.nn.relu6,
    "leaky_relu": lambda x, slope=0.2: jnp.where(x >= 0, x, slope * x),
    "elu": lambda x, alpha=1.0: jax.nn.elu(x, alpha),
    "selu": jax.nn.selu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


def _extent(s: Settings, axis: int) -> int:
    return (s["size"][axis] - 1) * s.get("dilation", (1, 1))[axis] + 1


def _window(s: Settings, axis: int) -> Seen:
    extent, stride = _extent(s, axis), s["stride"][axis]
    before = max(extent - stride, 0) // 2 if s["padding"] == "same" else 0
    return Seen(Fraction(stride), Fraction(-before), Fraction(extent - 1 - before))


def _pads(s: Settings, sides: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
    """The zeros around sides: as few as make ceil(side / stride) outputs, the odd one after."""
    pads = []
    for axis, side in enumerate(sides):
        extent, stride = _extent(s, axis), s["stride"][axis]
        total = max((-(-side // stride) - 1) * stride + extent - side, 0) if s["padding"] == "same" else 0
        pads.append((total // 2, total - total // 2))
    return pads[0], pads[1]


def _conv(s: Settings, p: Mapping[str, Array], x: Array) -> Array:
    rows, columns = s["stride"]
    pads, dilation, groups = _pads(s, x.shape[1:3]), s.get("dilation", (1, 1)), s.get("groups", 1)
    if rows == columns and rows <= 2 and tuple(dilation) == (1, 1) and groups == 1:
        y = kernels.conv(x, p["kernel"], pads, rows)
    else:
        y = lax.conv_general_dilated(
            x, p["kernel"], (rows, columns), pads, rhs_dilation=dilation, feature_group_count=groups,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
    return y + p["bias"] if "bias" in p else y


def _conv_shapes(s: Settings, shape: Shape) -> dict[str, Shape]:
    kernel = {"kernel": (*s["size"], shape[-1] // s.get("groups", 1), s["features"])}
    return kernel | ({"bias": (s["features"],)} if s["bias"] else {})


def transposed_crop(s: Settings, axis: int) -> int:
    """How many of the first rows (axis 0) or columns of a transposed convolution are cut off."""
    return max(s["size"][axis] - s["stride"][axis], 0) // 2 if s["padding"] == "same" else 0


def _conv_transpose(s: Settings, p: Mapping[str, Array], x: Array) -> Array:
    kernel = p["kernel"][::-1, ::-1].swapaxes(2, 3)  # stored (height, width, output, input)
    if tuple(s["stride"]) == (2, 2) and s["padding"] == "same" and s["size"][0] == s["size"][1]:
        y = kernels.conv_transpose(x, kernel)
    else:
        pads = []
        for axis, (side, size, stride) in enumerate(zip(x.shape[1:3], s["size"], s["stride"], strict=True)):
            length = side * stride + (max(size - stride, 0) if s["padding"] == "valid" else 0)
            before = size - 1 - transposed_crop(s, axis)
            pads.append((before, length + size - 2 - (side - 1) * stride - before))
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), pads, lhs_dilation=s["stride"], dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    return y + p["bias"] if "bias" in p else y


def _conv_transpose_shapes(s: Settings, shape: Shape) -> dict[str, Shape]:
    kernel = {"kernel": (*s["size"], s["features"], shape[-1])}
    return kernel | ({"bias": (s["features"],)} if s["bias"] else {})


def _conv_transpose_seen(s: Settings, axis: int) -> Seen:
    stride, crop = s["stride"][axis], transposed_crop(s, axis)
    return Seen(Fraction(1, stride), Fraction(crop - s["size"][axis] + 1, stride), Fraction(crop, stride))


def _max_pool(s: Settings, _: Any, x: Array) -> Array:
    if tuple(s["size"]) == tuple(s["stride"]) == (2, 2) and x.shape[1] % 2 == x.shape[2] % 2 == 0:
        return jnp.asarray(kernels.max_pool(x))
    return _reduced(s, x, -jnp.inf, lax.max)


def _mean_pool(s: Settings, _: Any, x: Array) -> Array:
    """The mean of the pixels under the window; padding does not count."""
    return _reduced(s, x, 0.0, lax.add) / _reduced(s, jnp.ones_like(x), 0.0, lax.add)


def _reduced(s: Settings, x: Array, start: float, by: Any) -> Array:
    pads = ((0, 0), *_pads(s, x.shape[1:3]), (0, 0))
    return lax.reduce_window(x, start, by, (1, *s["size"], 1), (1, *s["stride"], 1), pads)


def _upsample(s: Settings, _: Any, x: Array) -> Array:
    rows, columns = s["size"]
    if s["method"] == "nearest":
        return x.repeat(rows, axis=1).repeat(columns, axis=2)
    shape = (x.shape[0], x.shape[1] * rows, x.shape[2] * columns, x.shape[3])
    return jax.image.resize(x, shape, "bilinear", antialias=False)


def _upsample_seen(s: Settings, axis: int) -> Seen:
    factor = s["size"][axis]
    if s["method"] == "nearest":
        return Seen(Fraction(1, factor), Fraction(1 - factor, factor))
    centre = (Fraction(1, factor) - 1) / 2
    return Seen(Fraction(1, factor), centre - 1, centre + 1)


def _pad(s: Settings, _: Any, x: Array) -> Array:
    return jnp.pad(x, ((0, 0), *s["pads"], (0, 0)))


def _crop(s: Settings, _: Any, x: Array) -> Array:
    (top, bottom), (left, right) = s["pads"]
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right]


def _shifted(sign: int) -> Callable[[Settings, int], Seen]:
    return lambda s, axis: Seen(Fraction(1), Fraction(sign * s["pads"][axis][0]), Fraction(sign * s["pads"][axis][0]))


def _dense(s: Settings, p: Mapping[str, Array], x: Array) -> Array:
    y = x @ p["kernel"]
    return y + p["bias"] if "bias" in p else y


def _dense_shapes(s: Settings, shape: Shape) -> dict[str, Shape]:
    return {"kernel": (shape[-1], s["features"])} | ({"bias": (s["features"],)} if s["bias"] else {})


def _prelu_shapes(s: Settings, shape: Shape) -> dict[str, Shape]:
    return {"alpha": tuple(1 if axis in s["shared"] else side for axis, side in enumerate(shape) if axis)}


def _prelu_seen(s: Settings, axis: int) -> Seen | None:
    return Seen() if {1, 2} <= set(s["shared"]) else None


KINDS: dict[str, Kind] = {
    "conv": Kind(_conv, _conv_shapes, _window),
    "conv_transpose": Kind(_conv_transpose, _conv_transpose_shapes, _conv_transpose_seen),
    "max_pool": Kind(_max_pool, seen=_window),
    "mean_pool": Kind(_mean_pool, seen=_window),
    "upsample": Kind(_upsample, seen=_upsample_seen),
    "pad": Kind(_pad, seen=_shifted(-1)),
    "crop": Kind(_crop, seen=_shifted(1)),
    "affine": Kind(lambda s, p, x: x * p["scale"] + p["offset"], lambda s, shape: dict.fromkeys(("scale", "offset"),
                   shape[-1:])),
    "prelu": Kind(lambda s, p, x: jnp.maximum(x, 0) + p["alpha"] * jnp.minimum(x, 0), _prelu_shapes, _prelu_seen),
    "activation": Kind(lambda s, p, x: x),
    "concatenate": Kind(lambda s, p, *x: jnp.concatenate(x, axis=-1)),
    "add": Kind(lambda s, p, *x: functools.reduce(jnp.add, x)),
    "subtract": Kind(lambda s, p, x, y: x - y),
    "multiply": Kind(lambda s, p, *x: functools.reduce(jnp.multiply, x)),
    "average": Kind(lambda s, p, *x: functools.reduce(jnp.add, x) / len(x)),
    "maximum": Kind(lambda s, p, *x: functools.reduce(jnp.maximum, x)),
    "dense": Kind(_dense, _dense_shapes),
    "reshape": Kind(lambda s, p, x: x.reshape(x.shape[0], *s["shape"]), seen=lambda s, axis: None),
}  # fmt: skip
