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

from jaxdae import rng
from jaxdae.errors import InputError
from jaxdae.exchange.keras_family import as_family, family_of_weights
from jaxdae.exchange.keras_files import KerasFile, Layer, leaves, open_keras, read_array, stored_weights
from jaxdae.exchange.keras_graph import Builder, input_shape, layer_of
from jaxdae.exchange.saved import Card
from jaxdae.models import Graph
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.models.graph import INPUT, Node, geometry
from jaxdae.noise import Noise, check_noise, format_level

Size = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Imported:
    """A denoiser that was read from a file of Keras."""

    denoiser: Denoiser
    card: Card
    notes: tuple[str, ...]
    """What was assumed, and what a user should know, in sentences."""


@rng.pinned()
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
                top = layer_of(file.config, "model")
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
    builder = Builder()
    shape = input_shape(top)
    output = builder.model(top, (), [INPUT])
    nodes, size, channels = _as_images(tuple(builder.nodes), output, shape)
    graph = _sized(nodes, size, channels)
    return graph, _read_params(file, top, builder, graph, channels), channels, size


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


def _read_params(file: KerasFile, top: Layer, builder: Builder, graph: Graph, channels: int) -> dict[str, Any]:
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
