"""Our own networks among the graphs of Keras, and in files that hold weights only."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdae.errors import InputError, require_name
from jaxdae.exchange.keras_files import KerasFile, read_array, unnamed_weights
from jaxdae.models import ConvAutoencoder, DnCNN, Graph
from jaxdae.models.graph import INPUT, Node, as_node

Found = tuple[Any, dict[str, Any], tuple[str, ...]]
"""A module, its parameters, and what to say."""
FAMILIES = ("autoencoder", "dncnn")


def as_family(graph: Graph, params: dict[str, Any], channels: int) -> Found | None:
    """The graph as one of our networks, with the same parameters under its names; None if it is none of them."""
    nodes = [as_node(fields) for fields in graph.layers]
    if graph.size or not all(_is_plain(node) for node in nodes if node.kind == "conv"):
        return None
    if len({node.weights for node in nodes if node.weights}) != sum(bool(node.weights) for node in nodes):
        return None
    residual = nodes[-1].kind == "add" and set(nodes[-1].inputs) == {INPUT, nodes[-2].name}
    nodes = nodes[:-1] if residual else nodes
    previous = [INPUT, *(node.name for node in nodes)]
    if any(node.inputs != (before,) for node, before in zip(nodes, previous, strict=False)):
        return None
    found = _convolutions(nodes)
    prediction = found and _prediction(found[0], residual)
    if not found or not prediction:
        return None
    convolutions, depth = found
    widths = [dict(node.settings)["features"] for node in convolutions[:-1]]
    module, names = _module(widths, depth, prediction, len(convolutions))
    if module is None:
        return None
    biases = {"bias" in params[node.weights] for node in convolutions}
    if len(biases) != 1:
        return None
    module = module.clone(bias=biases.pop())
    kind = "an autoencoder" if depth else "a DnCNN"
    own = {name: params[node.weights] for name, node in zip(names, convolutions, strict=True)}
    return module, own, (f"it is {kind} of jaxdae, which can be trained further",)


def _is_plain(node: Node) -> bool:
    s = dict(node.settings)
    return (s["size"], s["stride"], s["padding"], s["dilation"], s["groups"]) == ((3, 3), (1, 1), "same", (1, 1), 1)


def _prediction(convolutions: Sequence[Node], residual: bool) -> str | None:
    """What the last convolution predicts, if relu follows all the others."""
    *hidden, last = (dict(node.settings)["activation"] for node in convolutions)
    if set(hidden) != {("relu",)}:
        return None
    return {("sigmoid",): None if residual else "logits", ("linear",): "residual" if residual else "image"}.get(last)


def _convolutions(nodes: Sequence[Node]) -> tuple[list[Node], int] | None:
    """The convolutions of a chain, and how often it pools and then upsamples by 2 between them; None for others.

    An activation after a convolution counts as its own.
    """
    merged: list[Node] = []
    for node in nodes:
        own = dict(merged[-1].settings) if merged else {}
        if node.kind == "activation" and own.get("activation") == ("linear",):
            settings = own | {"activation": dict(node.settings)["activation"]}
            merged[-1] = merged[-1]._replace(settings=tuple(settings.items()))
        else:
            merged.append(node)
    kinds = [node.kind for node in merged]
    depth = kinds.count("max_pool")
    expected = ["conv", "max_pool"] * depth + ["conv", "upsample"] * depth + ["conv"] * (1 if depth else len(kinds))
    pools = [dict(node.settings) for node in merged if node.kind in ("max_pool", "upsample")]
    by_two = all(s["size"] == (2, 2) == s.get("stride", (2, 2)) and s.get("method") in (None, "nearest") for s in pools)
    if kinds != expected or not by_two:
        return None
    return [node for node in merged if node.kind == "conv"], depth


def _module(widths: list[int], depth: int, prediction: str, count: int) -> tuple[Any, list[str]]:
    names = [f"hidden_{i}" for i in range(count - 1)]
    if depth:
        own = widths[:depth]
        if widths[depth:] != own[::-1]:
            return None, []
        names = [f"{part}_{i}" for part in ("encoder", "decoder") for i in range(depth)]
        width: Any = own[0] if len(set(own)) == 1 else tuple(own)
        return ConvAutoencoder(width, depth, prediction=prediction), [*names, "output"]
    if len(set(widths)) != 1:
        return None, []
    return DnCNN(widths[0], count, prediction=prediction), [*names, "output"]


def family_of_weights(file: KerasFile, model: str | None) -> Found:
    """The network of a file that holds weights only; InputError if they do not fit the family that was named."""
    if model is None:
        raise InputError(f"it holds weights only; say the architecture with --models ({' or '.join(FAMILIES)})")
    require_name("model", model, FAMILIES)
    weights = unnamed_weights(file)
    layers: dict[str, list[Any]] = {}
    for layer, dataset in weights:
        layers.setdefault(layer, []).append(dataset)
    shapes: list[tuple[int, ...]] = [getattr(datasets[0], "shape", ()) for datasets in layers.values()]
    for name, shape, datasets in zip(layers, shapes, layers.values(), strict=True):
        if len(shape) != 4 or shape[:2] != (3, 3) or len(datasets) > 2:
            raise InputError(f"layer {name} is no 3x3 convolution ({len(datasets)} weights, the first of {shape})")
    widths, count = [shape[3] for shape in shapes[:-1]], len(shapes)
    inputs = [shape[2] for shape in shapes]
    depth = count // 2 if model == "autoencoder" else 0
    prediction = "logits" if model == "autoencoder" else "residual"
    fits = count > 1 and inputs[1:] == widths and inputs[0] == shapes[-1][3] and (count % 2 == 1 or not depth)
    module, names = _module(widths, depth, prediction, count) if fits else (None, [])
    if module is None:
        raise InputError(
            f"its {count} convolutions, of {inputs} to {[*widths, shapes[-1][3:]]} channels, are no {model}"
        )
    biases = {len(datasets) == 2 for datasets in layers.values()}
    if len(biases) != 1:
        raise InputError("some of its convolutions have a bias and others none")
    params = {
        own: {
            role: read_array(dataset, shape if role == "kernel" else shape[3:], f"the {role} of layer {name}")
            for role, dataset in zip(("kernel", "bias"), layers[name], strict=False)
        }
        for own, name, shape in zip(names, layers, shapes, strict=True)
    }
    last = "a sigmoid at the end" if model == "autoencoder" else "the noisy image added to the output"
    note = f"weights only: relu between the convolutions, in the file's order, and {last} are assumed"
    return module.clone(bias=biases.pop()), _numpy(params), (note,)


def _numpy(params: Any) -> Any:
    return {layer: {role: np.asarray(x) for role, x in arrays.items()} for layer, arrays in params.items()}
