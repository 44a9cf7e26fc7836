"""ONNX operations for the layers of an imported network, `jaxdae.models.graph`: one function for each kind.

Values of rank 4 are NCHW, all others as jaxdae has them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxdae.exchange.onnx_operations import Graph, Name
from jaxdae.models.graph import INPUT, as_node, transposed_crop

TO_NCHW, TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_END = np.iinfo(np.int64).max
_Layer = Mapping[str, Any]


def imported(graph: Graph, module: Any, params: Any, noisy: Name, level: Name | None) -> Name:
    """The output of an imported network, as `onnx.NETWORKS` wants it."""
    values = {INPUT: noisy if module.size else graph.pad_to_multiple(noisy, module.multiple)}
    images = {INPUT}
    for node in map(as_node, module.layers):
        settings, own = dict(node.settings), params.get(node.weights, {})
        is_image = node.inputs[0] in images
        value = KINDS[node.kind](graph, settings, own, [values[name] for name in node.inputs], is_image)
        values[node.name] = _activate(graph, value, *settings.get("activation", ("linear",)))
        if len(settings["shape"]) == 3 if node.kind == "reshape" else is_image:
            images.add(node.name)
    output = values[as_node(module.layers[-1]).name]
    return output if module.size else graph.crop(output, noisy)


def _activate(graph: Graph, x: Name, name: str, *numbers: float) -> Name:
    if name in _NUMBERLESS:
        return graph.add(_NUMBERLESS[name], x)
    if name == "linear":
        return x
    if name == "relu":
        return _relu(graph, x, *numbers) if numbers else graph.relu(x)
    if name == "relu6":
        return graph.add("Clip", x, graph.constant(0.0), graph.constant(6.0))
    if name in _SLOPES:
        operation, slope = _SLOPES[name]
        return graph.add(operation, x, alpha=float(numbers[0] if numbers else slope))
    if name == "gelu":
        half = graph.add("Erf", graph.add("Mul", x, graph.constant(0.5**0.5)))
        x = graph.add("Mul", x, graph.constant(0.5))
        return graph.add("Mul", x, graph.add("Add", half, graph.constant(1.0)))
    gate = {
        "silu": lambda: graph.add("Sigmoid", x),
        "mish": lambda: graph.add("Tanh", graph.add("Softplus", x)),
    }[name]()
    return graph.add("Mul", x, gate)


_NUMBERLESS = {"selu": "Selu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign"}
_SLOPES = {"leaky_relu": ("LeakyRelu", 0.2), "elu": ("Elu", 1.0)}


def _relu(graph: Graph, x: Name, highest: float | None = None, slope: float = 0.0, threshold: float = 0.0) -> Name:
    low = graph.constant(float(threshold))
    above = x if highest is None else graph.add("Min", x, graph.constant(float(highest)))
    below = graph.add("Mul", graph.add("Sub", x, low), graph.constant(float(slope)))
    return graph.add("Where", graph.add("GreaterOrEqual", x, low), above, below)


def _window(s: _Layer) -> dict[str, Any]:
    padding = {"auto_pad": "SAME_UPPER"} if s["padding"] == "same" else {}
    return {"kernel_shape": list(s["size"]), "strides": list(s["stride"]), **padding}


def _conv(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], _: bool) -> Name:
    dilation, how = s.get("dilation", (1, 1)), _window(s)
    if max(dilation) > 1 and how.pop("auto_pad", None):  # which ONNX Runtime does not have for these; their stride is 1
        total = [(size - 1) * apart for size, apart in zip(s["size"], dilation, strict=True)]
        how["pads"] = [*(x // 2 for x in total), *(x - x // 2 for x in total)]
    how |= {"dilations": list(dilation), "group": s.get("groups", 1)}
    return graph.add("Conv", *inputs, *_parameters(graph, p, (3, 2, 0, 1)), **how)


def _conv_transpose(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], _: bool) -> Name:
    before = [transposed_crop(s, axis) for axis in (0, 1)]
    beyond = [size - stride for size, stride in zip(s["size"], s["stride"], strict=True)]
    same = s["padding"] == "same"
    after = [max(more, 0) - crop if same else 0 for more, crop in zip(beyond, before, strict=True)]
    return graph.add(
        "ConvTranspose", *inputs, *_parameters(graph, p, (3, 2, 0, 1)), kernel_shape=list(s["size"]),
        strides=list(s["stride"]), pads=[*before, *after], output_padding=[max(-more, 0) for more in beyond],
    )  # fmt: skip


def _parameters(graph: Graph, p: _Layer, order: tuple[int, ...]) -> list[Name]:
    kernel = graph.constant(np.transpose(np.asarray(p["kernel"]), order))
    return [kernel, graph.constant(p["bias"])] if "bias" in p else [kernel]


def _upsample(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], _: bool) -> Name:
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if s["method"] == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.add("Resize", *inputs, "", graph.constant([1.0, 1.0, *map(float, s["size"])]), **how)


def _pad(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], _: bool) -> Name:
    (top, bottom), (left, right) = s["pads"]
    return graph.add("Pad", *inputs, graph.constant([0, 0, top, left, 0, 0, bottom, right]))


def _crop(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], _: bool) -> Name:
    (top, bottom), (left, right) = s["pads"]
    ends = [-last if last else _END for last in (bottom, right)]
    return graph.add("Slice", *inputs, *map(graph.constant, ([top, left], ends, [2, 3])))


def _affine(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], is_image: bool) -> Name:
    shape = (-1, 1, 1) if is_image else (-1,)
    scale, offset = (graph.constant(np.reshape(np.asarray(p[name]), shape)) for name in ("scale", "offset"))
    return graph.add("Add", graph.add("Mul", *inputs, scale), offset)


def _prelu(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], is_image: bool) -> Name:
    alpha = np.asarray(p["alpha"])
    return graph.add("PRelu", *inputs, graph.constant(alpha.transpose(2, 0, 1) if is_image else alpha))


def _dense(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], is_image: bool) -> Name:
    [x] = inputs
    kernel, *bias = _parameters(graph, p, (0, 1))
    x = graph.add("MatMul", graph.add("Transpose", x, perm=TO_NHWC) if is_image else x, kernel)
    y = graph.add("Add", x, *bias) if bias else x
    return graph.add("Transpose", y, perm=TO_NCHW) if is_image else y


def _reshape(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], is_image: bool) -> Name:
    [x] = inputs
    x = graph.add("Transpose", x, perm=TO_NHWC) if is_image else x
    y = graph.add("Reshape", x, graph.constant([0, *s["shape"]]))
    return graph.add("Transpose", y, perm=TO_NCHW) if len(s["shape"]) == 3 else y


def _plain(operation: str, **attributes: Any) -> Callable[..., Name]:
    return lambda graph, s, p, inputs, is_image: graph.add(operation, *inputs, **attributes)


def _pool(operation: str) -> Callable[..., Name]:
    return lambda graph, s, p, inputs, is_image: graph.add(operation, *inputs, **_window(s))


def _multiply(graph: Graph, s: _Layer, p: _Layer, inputs: Sequence[Name], is_image: bool) -> Name:
    product, *rest = inputs
    for factor in rest:
        product = graph.add("Mul", product, factor)
    return product


KINDS: dict[str, Callable[..., Name]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "max_pool": _pool("MaxPool"),
    "mean_pool": _pool("AveragePool"),
    "upsample": _upsample,
    "pad": _pad,
    "crop": _crop,
    "affine": _affine,
    "prelu": _prelu,
    "activation": lambda graph, s, p, inputs, is_image: inputs[0],
    "concatenate": lambda graph, s, p, inputs, is_image: graph.add("Concat", *inputs, axis=1 if is_image else -1),
    "add": _plain("Sum"),
    "subtract": _plain("Sub"),
    "multiply": _multiply,
    "average": _plain("Mean"),
    "maximum": _plain("Max"),
    "dense": _dense,
    "reshape": _reshape,
}
"""(graph, settings, parameters, inputs, whether the first input is images) -> output, before the activation."""
