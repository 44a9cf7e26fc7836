"""The configuration of a model of Keras as nodes of a graph; nested models become one list."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from jaxdae.errors import InputError
from jaxdae.exchange.keras_files import Layer
from jaxdae.exchange.keras_layers import LAYERS, settings_of
from jaxdae.models import Graph
from jaxdae.models.graph import INPUT, Node

MODELS = ("Sequential", "Functional", "Model")


def layer_of(fields: Any, where: str) -> Layer:
    """A layer of its configuration; InputError for one that is not known, with its place."""
    if not isinstance(fields, Mapping) or not isinstance(fields.get("class_name"), str):
        raise InputError(f"{where} has no class_name")
    class_name, config = fields["class_name"], fields.get("config")
    if class_name in MODELS:
        return _model(class_name, config, fields, where)
    if not isinstance(config, Mapping):
        raise InputError(f"{where} ({class_name}) has no configuration")
    name = str(config.get("name", fields.get("name", class_name)))
    called = f"{where}, {name} ({class_name}),"
    if class_name in ("Lambda", "TFOpLambda", "SlicingOpLambda"):
        raise InputError(f"{called} is code, which is not executed; replace it by layers of Keras")
    module = fields.get("module")
    own = fields.get("registered_name") in (None, class_name) and (module is None or str(module).startswith("keras"))
    if class_name not in LAYERS or not own:
        what = "cannot be taken" if own else "is a custom object, which is not executed"
        raise InputError(f"{called} {what}; known: {', '.join(LAYERS)}")
    known = LAYERS[class_name]
    try:
        settings_of(known, config)
        roles = known.weights(config)
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{called} {error if isinstance(error, InputError) else repr(error)}") from None
    trainable = [role for role in roles if not role.startswith("moving_")] if config.get("trainable", True) else []
    return Layer(class_name, name, dict(config), roles, len(trainable), nodes=tuple(fields.get("inbound_nodes") or ()))


def _model(class_name: str, config: Any, fields: Mapping[str, Any], where: str) -> Layer:
    entries = config if isinstance(config, list) else config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(
            f"{where} ({class_name}) has no layers; a subclassed model cannot be taken, save a functional one"
        )
    own = {} if isinstance(config, list) else dict(config)
    name = str(own.get("name", fields.get("name", class_name)))
    inside = "" if where == "model" else f" of {name}"
    layers = tuple(layer_of(entry, f"layer {i}{inside}") for i, entry in enumerate(entries, 1))
    if not own.get("trainable", True):
        layers = tuple(map(_frozen, layers))
    if len({layer.name for layer in layers}) != len(layers):
        raise InputError(f"{where} ({class_name}) has two layers of one name")
    return Layer(class_name, name, own, layers=layers, nodes=tuple(fields.get("inbound_nodes") or ()))


def _frozen(layer: Layer) -> Layer:
    return dataclasses.replace(layer, trained=0, layers=layer.layers and tuple(map(_frozen, layer.layers)))


def input_shape(model: Layer) -> tuple[int | None, ...]:
    """The shape of the images that a model was saved for, without the batch."""
    for layer in model.layers or ():
        if layer.layers is not None and layer is (model.layers or ())[0] and model.class_name == "Sequential":
            return input_shape(layer)
        for name in ("batch_shape", "batch_input_shape"):
            if shape := layer.config.get(name):
                return tuple(shape[1:])
    if shape := model.config.get("build_input_shape"):
        return tuple(shape[1:])
    raise InputError("it does not say the shape of its images (it was saved before it was built)")


class Builder:
    """Collects the nodes of nested models as one list."""

    def __init__(self) -> None:
        """Without any node."""
        self.nodes: list[Node] = []
        self.weights: dict[str, tuple[tuple[str, ...], Layer]] = {}
        """The path and the layer of each set of parameters."""
        self._own: dict[tuple[str, ...], str] = {}

    def model(self, model: Layer, path: tuple[str, ...], inputs: list[str]) -> str:
        """Adds the nodes of a model in use for some inputs; the name of its output."""
        if model.class_name == "Sequential":
            if len(inputs) != 1:
                raise InputError(f"{model.name} (Sequential) has {len(inputs)} inputs")
            for layer in model.layers or ():
                inputs = [self.add(layer, (*path, layer.name), inputs)]
            return inputs[0]
        return _Functional(self, model, path, inputs).output()

    def add(self, layer: Layer, path: tuple[str, ...], inputs: list[str]) -> str:
        """Adds the nodes of one use of a layer for some inputs; the name of its output."""
        if layer.layers is not None:
            return self.model(layer, path, inputs)
        known = LAYERS[layer.class_name]
        merges = known.kind in ("concatenate", "add", "subtract", "multiply", "average", "maximum")
        if (len(inputs) < 2) if merges else (len(inputs) != 1):
            raise InputError(f"layer {'/'.join(path)} ({layer.class_name}) has {len(inputs)} inputs")
        if not known.kind:
            return inputs[0]
        if path not in self._own:
            self._own[path] = self._free(".".join(path), self._own.values())
            if layer.weights:
                self.weights[self._own[path]] = path, layer
        name = self._free(self._own[path], [INPUT, *(node.name for node in self.nodes)])
        weights = self._own[path] if layer.weights else ""
        self.nodes.append(Node(name, known.kind, tuple(inputs), settings_of(known, layer.config), weights))
        return name

    @staticmethod
    def _free(name: str, taken: Any) -> str:
        """A name that neither another has nor the module itself."""
        name = re.sub(r"[^\w.-]", "_", name)
        while name in taken or hasattr(Graph, name):
            name += "_"
        return name


class _Functional:
    """One use of a functional model: its layers are used as its output asks for them."""

    def __init__(self, builder: Builder, model: Layer, path: tuple[str, ...], inputs: list[str]) -> None:
        self._builder, self._model, self._path = builder, model, path
        self._layers = {layer.name: layer for layer in model.layers or ()}
        names = [name for name, _, _ in _tensors(model.config.get("input_layers"))]
        if len(names) != len(inputs):
            raise InputError(f"{model.name} ({model.class_name}) has {len(names)} inputs and is given {len(inputs)}")
        self._made: dict[tuple[str, int], str | None] = {
            (name, 0): given for name, given in zip(names, inputs, strict=True)
        }
        used = [ref for layer in self._layers.values() for node in layer.nodes for ref in _tensors(node)]
        used += _tensors(model.config.get("output_layers"))
        self._first = {name: min(i for n, i, _ in used if n == name) for name, _, _ in used}

    def output(self) -> str:
        """The name of the output."""
        outputs = _tensors(self._model.config.get("output_layers"))
        if len(outputs) != 1:
            raise InputError(f"{self._model.name} ({self._model.class_name}) has {len(outputs)} outputs; one is taken")
        return self._tensor(*outputs[0])

    def _tensor(self, name: str, index: int, which: int) -> str:
        layer = self._layers.get(name)
        if layer is None or which != 0:
            raise InputError(f"output {which} of layer {name} of {self._model.name} is not there")
        if layer.layers is not None:  # a model's first node is the one inside it, which Keras counts or not
            index -= self._first[name]
        key = (name, index)
        if key in self._made:
            if (found := self._made[key]) is None:
                raise InputError(f"layer {name} of {self._model.name} is its own input")
            return found
        if not 0 <= index < len(layer.nodes):
            raise InputError(f"layer {name} ({layer.class_name}) of {self._model.name} has no use {index}")
        self._made[key] = None
        _require_tensors_only(layer)
        inputs = [self._tensor(*ref) for ref in _tensors(layer.nodes[index])]
        self._made[key] = made = self._builder.add(layer, (*self._path, name), inputs)
        return made


def _require_tensors_only(layer: Layer) -> None:
    """InputError where a number stands among the inputs, as of `x + 1`."""
    for node in layer.nodes:
        args = node.get("args", ()) if isinstance(node, Mapping) else ()
        if any(isinstance(x, (int, float)) for x in args):
            raise InputError(f"layer {layer.name} ({layer.class_name}) computes with a number; only layers are taken")


def _tensors(fields: Any) -> list[tuple[str, int, int]]:
    """The tensors that a part of a configuration names, (layer, node, output), in the forms of Keras 2 and 3."""
    if isinstance(fields, Mapping):
        if fields.get("class_name") == "__keras_tensor__":
            name, node, which = fields["config"]["keras_history"]
            return [(str(name), int(node), int(which))]
        if "args" in fields:
            return [ref for value in (fields["args"], fields.get("kwargs")) for ref in _tensors(value)]
        return [ref for value in fields.values() for ref in _tensors(value)]
    if isinstance(fields, (list, tuple)):
        if len(fields) >= 3 and isinstance(fields[0], str) and all(isinstance(x, int) for x in fields[1:3]):
            return [(fields[0], fields[1], fields[2])]
        return [ref for value in fields for ref in _tensors(value)]
    return []
