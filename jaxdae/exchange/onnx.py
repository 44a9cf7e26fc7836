"""ONNX, by a small writer over the layers of `jaxdae.models.layers`: one function for each network, as its own.

Inside, images are NCHW, as ONNX wants them; the model's input and output keep jaxdae's NHWC. Another network is a
function over the operations of `Graph` and an entry in `NETWORKS`.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxdae import components
from jaxdae.errors import InputError
from jaxdae.exchange.onnx_graph import imported
from jaxdae.exchange.onnx_operations import Graph, Name
from jaxdae.models import ConvAutoencoder, DnCNN, UNet
from jaxdae.models.denoiser import Denoiser
from jaxdae.models.graph import Graph as ImportedGraph

OPSET, IR_VERSION = 17, 8
"""Of 2022: ONNX Runtime 1.12 and newer read them."""


def write_onnx(denoiser: Denoiser, path: Path) -> str | None:
    """Writes the model `denoised = f(noisy)`, or `f(noisy, level)`: arrays as `write_stablehlo` has them.

    Returns a sentence if the file computes in another type than the denoiser. InputError for an unknown network.
    """
    import onnx
    from onnx import TensorProto, helper

    write = NETWORKS.get(type(denoiser.module))
    if write is None:
        known = ", ".join(network.__name__ for network in NETWORKS)
        raise InputError(f"there is no ONNX writer for {type(denoiser.module).__name__} (for {known}); take stablehlo")
    graph, about = Graph(), denoiser.about
    level = graph.add("Reshape", "level", graph.constant([-1, 1, 1, 1])) if denoiser.takes_level else None
    noisy = graph.add("Transpose", "noisy", perm=[0, 3, 1, 2])
    output = write(graph, denoiser.module, denoiser.params, noisy, level)
    image = graph.add("Sigmoid", output) if denoiser.module.prediction == "logits" else output
    graph.add("Transpose", image, perm=[0, 2, 3, 1], output="denoised")

    shape = ["batch", *(about.size or ("height", "width")), about.channels]
    arrays = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("noisy", "denoised")]
    levels = [helper.make_tensor_value_info("level", TensorProto.FLOAT, ["batch"])] if denoiser.takes_level else []
    body = helper.make_graph(graph.nodes, "denoiser", [arrays[0], *levels], [arrays[1]], graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION, producer_name="jaxdae")
    noise = json.dumps(components.to_dict(about.noise))
    helper.set_model_props(
        model, {"noise": noise, "value_range": json.dumps(about.value_range), "origin": about.origin}
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    kind = getattr(denoiser.module, "compute_dtype", "float32")
    return (
        None if kind == "float32" else f"the ONNX file computes in float32, jaxdae in {kind}: they differ by rounding"
    )


def _autoencoder(graph: Graph, module: Any, params: Any, noisy: Name, level: Name | None) -> Name:
    hidden = graph.append_level(graph.pad_to_multiple(noisy, module.multiple), level)
    for i in range(module.depth):
        hidden = graph.relu(graph.max_pool(graph.conv(hidden, params[f"encoder_{i}"])))
    for i in range(module.depth):
        hidden = graph.relu(graph.conv(graph.upsample(hidden) if i else hidden, params[f"decoder_{i}"]))
    output = graph.crop(graph.conv(graph.upsample(hidden), params["output"]), noisy)
    return graph.add("Add", noisy, output) if module.prediction == "residual" else output


def _unet(graph: Graph, module: Any, params: Any, noisy: Name, level: Name | None) -> Name:
    def convolve(hidden: Name, name: str) -> Name:
        for i in range(module.repeat):
            hidden = graph.relu(graph.conv(hidden, params[f"{name}_{i}"]))
        return hidden

    padded = graph.pad_to_multiple(noisy, module.multiple)
    hidden, skips = graph.append_level(padded, level), []
    for i in range(module.depth):
        skips.append(convolve(hidden, f"encoder_{i}"))
        down = dict(params[f"down_{i}"])
        if module.down == "unshuffled":  # a 1x1 convolution of 2x2 blocks, (row, column, channel): a 2x2 one
            kernel = np.asarray(down["kernel"])
            down["kernel"] = kernel.reshape(2, 2, -1, kernel.shape[3])
        hidden = graph.conv(skips[-1], down, stride=2)
    hidden = convolve(hidden, "middle")
    for i in reversed(range(module.depth)):
        hidden = convolve(graph.concat(graph.conv_transpose(hidden, params[f"up_{i}"]), skips[i]), f"decoder_{i}")
    output = graph.conv(hidden, params["output"])
    return graph.crop(graph.add("Add", padded, output) if module.prediction == "residual" else output, noisy)


def _dncnn(graph: Graph, module: Any, params: Any, noisy: Name, level: Name | None) -> Name:
    hidden = graph.append_level(noisy, level)
    for i in range(module.depth - 1):
        hidden = graph.relu(graph.conv(hidden, params[f"hidden_{i}"]))
    output = graph.conv(hidden, params["output"])
    return graph.add("Add", noisy, output) if module.prediction == "residual" else output


NETWORKS: dict[type, Callable[[Graph, Any, Any, Name, Name | None], Name]] = {
    ConvAutoencoder: _autoencoder,
    UNet: _unet,
    DnCNN: _dncnn,
    ImportedGraph: imported,
}
"""The name of the output (NCHW, before the sigmoid of logits) for a graph, a module, its parameters, the noisy images
and their level, (batch, 1, 1, 1)."""
