"""A model of Keras as a denoiser: its configuration as a graph, or as one of our networks where it is one."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdae.errors import InputError
from jaxdae.exchange.keras_family import as_family, family_of_weights
from jaxdae.exchange.keras_files import KerasFile, Layer, leaves, open_keras, read_array, stored_weights
from jaxdae.exchange.keras_layers import LAYERS, settings_of
from jaxdae.exchange.saved import Card
from jaxdae.models import Graph
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.models.graph import INPUT, Node, geometry
from jaxdae.noise import Noise, check_noise, format_level

Size = tuple[int, int]
MODELS = ("Sequential", "Functional", "Model")


@dataclasses.dataclass(frozen=True)
class Imported:
    """A denoiser that was read from a file of Keras."""

    denoiser: Denoiser
    card: Card
    notes: tuple[str, ...]
    """What was assumed, and what a user should know, in sentences."""


def read_keras(path: Path | str, *, noise: Noise | None = None, model: str | None = None) -> Imported:
    """A file of Keras 2 or 3 as a denoiser of images on [0, 1]. Nothing in the file is executed.

    Args:
        path: a legacy HDF5 file, a `.keras` archive, or an HDF5 file with the weights only.
        noise: what the model was trained on, which no file says; by default Gaussian noise of level 0.5 is assumed,
            and said.
        model: the architecture of a file with the weights only: autoencoder or dncnn.

    Returns:
        The denoiser, its card, and what to say of it. It is one of our networks (which can be trained further) where
        the model is one, else a `Graph`.

    Raises:
        InputError: the file is none of Keras, is damaged, or holds what cannot be taken: the layer is named.
    """
    path = Path(path)
    with open_keras(path) as file:
        try:
            if file.config is None:
                module, params, notes = family_of_weights(file, model)
                channels, size, trained_on = params_channels(params), None, None
            else:
                if model is not None:
                    raise InputError("it holds its architecture; leave --models out")
                top = _layer(file.config, "model")
                graph, params, channels, trained_on = _read_model(file, top)
                size = graph.size
                module, params, notes = as_family(graph, params, channels) or (graph, params, ())
                notes = (*notes, *_doubts(file, top))
        except InputError as error:
            raise InputError(f"{path} cannot be imported: {error}") from None
        return _imported(file, Denoiser(module, params, _about(file, noise, channels, size, trained_on)), noise, notes)


def params_channels(params: Mapping[str, Any]) -> int:
    """The channels of the images of a network whose last layer is `output`."""
    return params["output"]["kernel"].shape[-1]


def _about(
    file: KerasFile,
    noise: Noise | None,
    channels: int,
    size: Size | None,
    trained_on: Size | None,
) -> About:
    known = check_noise(noise or Noise())
    words = f"{known.corruption} noise of level {format_level(known.level)}"
    by = f"Keras {file.version}" if file.version else "Keras"
    origin = f"imported from {file.path.name} ({by}); {words} {'as told' if noise else 'assumed: the file says none'}"
    return About(known, channels, size=size, trained_on=trained_on, origin=origin)


def _imported(file: KerasFile, denoiser: Denoiser, noise: Noise | None, notes: Sequence[str]) -> Imported:
    said, about = list(notes), denoiser.about
    if about.size:
        said.append(f"it takes images of {about.size[0]}x{about.size[1]} pixels only, since its layers fix the size")
    elif about.trained_on:
        height, width = about.trained_on
        said.append(f"it was saved for {height}x{width} pixels and takes any size")
    if noise is None:
        said.append(
            "no file of Keras says on which noise a model was trained: gaussian of level 0.5 is assumed where a level "
            "is needed (--corruption and --noise-level tell another); images are taken to be on [0, 1]"
        )
    limits = "" if noise else "the noise that it was trained on is not known; gaussian of level 0.5 is an assumption"
    return Imported(denoiser, Card(title=f"{file.path.stem}, imported from Keras", limits=limits), tuple(said))


def _doubts(file: KerasFile, model: Layer) -> Iterator[str]:
    """Where the numbers of Keras may differ, in sentences."""
    configs = [layer.config for _, layer in leaves(model, ())]
    types = {str(config.get("dtype")) for config in configs}
    if any("float16" in name for name in types):
        yield "Keras computes layers of it in half precision, jaxdae all in float32: outputs differ by that rounding"
    old = re.match(r"(2\.[0-2]\.|1\.)", file.version)
    if old and any(config.get("interpolation") == "bilinear" for config in configs):
        yield f"bilinear upsampling of Keras {file.version} may have had other pixel centres; half-pixel ones are taken"


def _read_model(file: KerasFile, top: Layer) -> tuple[Graph, dict[str, Any], int, tuple[int, int] | None]:
    """The graph of a file with its architecture, the parameters, the channels, and the size it was saved for."""
    if top.layers is None:
        raise InputError(f"its model is a {top.class_name}; only Sequential and functional models are taken")
    builder = _Builder()
    shape = _input_shape(top)
    output = builder.model(top, (), [INPUT])
    nodes, size, channels = _as_images(tuple(builder.nodes), output, shape)
    graph = _sized(nodes, size, channels)
    return graph, _read_params(file, top, builder, graph, channels), channels, size


def _layer(fields: Any, where: str) -> Layer:
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
    layers = tuple(_layer(entry, f"layer {i}{inside}") for i, entry in enumerate(entries, 1))
    if not own.get("trainable", True):
        layers = tuple(map(_frozen, layers))
    if len({layer.name for layer in layers}) != len(layers):
        raise InputError(f"{where} ({class_name}) has two layers of one name")
    return Layer(class_name, name, own, layers=layers, nodes=tuple(fields.get("inbound_nodes") or ()))


def _frozen(layer: Layer) -> Layer:
    return dataclasses.replace(layer, trained=0, layers=layer.layers and tuple(map(_frozen, layer.layers)))


def _input_shape(model: Layer) -> tuple[int | None, ...]:
    """The shape of the images that a model was saved for, without the batch."""
    for layer in model.layers or ():
        if layer.layers is not None and layer is (model.layers or ())[0] and model.class_name == "Sequential":
            return _input_shape(layer)
        for name in ("batch_shape", "batch_input_shape"):
            if shape := layer.config.get(name):
                return tuple(shape[1:])
    if shape := model.config.get("build_input_shape"):
        return tuple(shape[1:])
    raise InputError("it does not say the shape of its images (it was saved before it was built)")


class _Builder:
    """Collects the nodes of nested models as one list."""

    def __init__(self) -> None:
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

    def __init__(self, builder: _Builder, model: Layer, path: tuple[str, ...], inputs: list[str]) -> None:
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


def _as_images(
    nodes: tuple[Node, ...], output: str, shape: tuple[int | None, ...]
) -> tuple[tuple[Node, ...], tuple[int, int] | None, int]:
    """The nodes of a model of images, its size and channels; vectors and pictures without channels are reshaped."""
    if not nodes or output != nodes[-1].name:
        raise InputError("its output is not its last layer")
    if len(shape) == 3:
        height, width, channels = shape
        if channels is None:
            raise InputError(f"it does not say the channels of its images ({shape})")
        return nodes, None if height is None or width is None else (height, width), channels
    if len(shape) not in (1, 2) or None in shape:
        raise InputError(f"it takes no images: its input is {shape}, not (height, width, channels)")
    size = tuple(x for x in shape if x is not None)
    if len(size) == 1:
        side = math.isqrt(size[0])
        if side * side != size[0]:
            raise InputError(f"it takes vectors of {size[0]} numbers, which are no square image")
    height, width = size if len(size) == 2 else (side, side)
    flat = Node("as_given", "reshape", (INPUT,), (("shape", size),))
    inner = [
        node._replace(inputs=tuple(flat.name if name == INPUT else name for name in node.inputs)) for node in nodes
    ]
    last = Node("as_image", "reshape", (output,), (("shape", (height, width, 1)),))
    return (flat, *inner, last), (height, width), 1


def _sized(nodes: tuple[Node, ...], size: tuple[int, int] | None, channels: int) -> Graph:
    """The graph, for any size if it keeps the size of all images, else for the one that it was saved for."""
    if size is not None and (made := _output_shape(Graph(nodes, size), size, channels)) != (*size, channels):
        raise InputError(f"it is no denoiser: it makes {_by(made)} of {_by((*size, channels))}")
    multiple, reach = geometry(nodes)
    if reach is not None and (size is None or not any(side % multiple for side in size)):
        sides = [(multiple * (8 + k), multiple * (11 + 2 * k)) for k in range(3)]
        if all(_output_shape(Graph(nodes, side), side, channels) == (*side, channels) for side in sides):
            return Graph(nodes)
    if size is None:
        raise InputError("it says no size of its images, and it does not keep all sizes")
    return Graph(nodes, size)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _output_shape(graph: Graph, size: tuple[int, int], channels: int) -> tuple[int, ...]:
    images = jax.ShapeDtypeStruct((1, *size, channels), jnp.float32)
    try:
        made, _ = jax.eval_shape(lambda x: graph.init_with_output(jax.random.key(0), x), images)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"its layers do not fit each other ({str(error).split(chr(10))[0][:200]})") from None
    return made.shape[1:]


def _read_params(file: KerasFile, top: Layer, builder: _Builder, graph: Graph, channels: int) -> dict[str, Any]:
    images = jax.ShapeDtypeStruct((1, *graph.example_size, channels), jnp.float32)
    wanted = jax.eval_shape(lambda x: graph.init(jax.random.key(0), x), images).get("params", {})
    stored = stored_weights(file, top.layers or ())
    params = {}
    for name, (path, layer) in builder.weights.items():
        shapes = {role: leaf.shape for role, leaf in wanted[name].items()}
        arrays = {
            role: read_array(
                dataset, shapes[role if role in shapes else "scale"], f"the {role} of layer {'/'.join(path)}"
            )
            for role, dataset in zip(layer.weights, stored[path], strict=True)
        }
        params[name] = _affine(arrays, layer) if layer.class_name == "BatchNormalization" else arrays
    return params


def _affine(arrays: Mapping[str, np.ndarray], layer: Layer) -> dict[str, np.ndarray]:
    """Batch normalization in use: a scale and an offset for each channel."""
    doubles = {role: x.astype(np.float64) for role, x in arrays.items()}
    variance = doubles["moving_variance"] + float(layer.config.get("epsilon", 1e-3))
    if (variance <= 0).any():
        raise InputError(f"the moving_variance of layer {layer.name} is not above 0")
    scale = doubles.get("gamma", 1.0) / np.sqrt(variance)
    offset = doubles.get("beta", 0.0) - doubles["moving_mean"] * scale
    return {"scale": np.asarray(scale, np.float32), "offset": np.asarray(offset, np.float32)}
