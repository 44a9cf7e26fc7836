"""A denoiser as a `.keras` archive that Keras 3 loads, written without Keras: its layout is documented by Keras."""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from jaxdae.errors import InputError
from jaxdae.exchange.keras_files import snake_case
from jaxdae.models import ConvAutoencoder, DnCNN, UNet
from jaxdae.models.denoiser import Denoiser

VERSION = "3.0.0"
"""The oldest version of Keras that the layers below need."""


class _Model:
    """A functional model in the making: configurations and weights of its layers."""

    def __init__(self, channels: int) -> None:
        self.layers: list[dict[str, Any]] = []
        self.weights: list[tuple[str, list[np.ndarray]]] = []
        self._channels = {"noisy": channels}
        self.output = self.add("InputLayer", "noisy", [], batch_shape=[None, None, None, channels], dtype="float32")

    def add(self, class_name: str, name: str, inputs: Sequence[str], weights: Sequence[Any] = (), **config: Any) -> str:
        """Adds a layer and returns its name."""
        tensors = [_tensor(given, self._channels[given]) for given in inputs]
        own = [self._channels[given] for given in inputs]
        if inputs:
            self._channels[name] = config.get("filters") or sum(own if class_name == "Concatenate" else own[:1])
        args = [tensors] if class_name in ("Add", "Concatenate") else tensors
        nodes: list[Any] = [{"args": args, "kwargs": {}}] if inputs else []
        self.layers.append({
            "module": "keras.layers", "class_name": class_name, "config": {"name": name} | config,
            "registered_name": None, "name": name, "inbound_nodes": nodes,
        })  # fmt: skip
        self.weights.append((class_name, [np.asarray(x, np.float32) for x in weights]))
        self.output = name
        return name

    def conv(self, params: Any, name: str, given: str, activation: str = "relu", stride: int = 1) -> str:
        """Adds a convolution with the parameters of one of ours."""
        own = params[name]
        kernel = own["kernel"]
        return self.add(
            "Conv2D", name, [given], [kernel, *([own["bias"]] if "bias" in own else [])], filters=kernel.shape[3],
            kernel_size=list(kernel.shape[:2]), strides=[stride, stride], padding="same", activation=activation,
            use_bias="bias" in own,
        )  # fmt: skip

    def conv_transpose(self, params: Any, name: str, given: str) -> str:
        """Adds a transposed convolution, whose kernel Keras has turned and with its channels exchanged."""
        own = params[name]
        kernel = np.asarray(own["kernel"])[::-1, ::-1].swapaxes(2, 3)
        return self.add(
            "Conv2DTranspose", name, [given], [kernel, *([own["bias"]] if "bias" in own else [])],
            filters=kernel.shape[2], kernel_size=list(kernel.shape[:2]), strides=[2, 2], padding="same",
            use_bias="bias" in own,
        )  # fmt: skip

    def last(self, params: Any, given: str, prediction: str) -> str:
        """Adds the output layer, which makes an image."""
        output = self.conv(params, "output", given, "sigmoid" if prediction == "logits" else "linear")
        return self.add("Add", "denoised", ["noisy", output]) if prediction == "residual" else output


def _tensor(name: str, channels: int) -> dict[str, Any]:
    shape = [None, None, None, channels]
    config = {"shape": shape, "dtype": "float32", "keras_history": [name, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def write_keras(denoiser: Denoiser, path: Path) -> str | None:
    """Writes a `.keras` archive of `denoised = f(noisy)`, float32 of (batch, height, width, channel) on [0, 1].

    Returns:
        What its user must know: the sides that it takes.

    Raises:
        InputError: the network takes a level, is computed in another type, or is none of the autoencoder, DnCNN and the
            strided U-Net.
    """
    module = denoiser.module
    build = {ConvAutoencoder: _autoencoder, DnCNN: _dncnn, UNet: _unet}.get(type(module))
    if build is None:
        raise InputError(f"keras takes the autoencoder, DnCNN and the strided U-Net, not {type(module).__name__}")
    if module.level_input:
        raise InputError("a network that takes the noise level cannot be exported to keras; take onnx or stablehlo")
    if module.compute_dtype != "float32":
        raise InputError(f"a network computed in {module.compute_dtype} cannot be exported to keras; take stablehlo")
    if isinstance(module, UNet) and module.down != "strided":
        raise InputError(
            f"Keras has no layer for the downsampling {module.down!r} of this U-Net; take onnx, or train one with "
            "--down strided"
        )
    model = _Model(denoiser.about.channels)
    build(model, module, denoiser.params)
    _write(model, path)
    if module.multiple == 1:
        return None
    return (
        f"the .keras model takes sides that are multiples of {module.multiple}; it does not pad others as jaxdae does"
    )


def _autoencoder(model: _Model, module: Any, params: Any) -> None:
    hidden = model.output
    for i in range(module.depth):
        hidden = model.conv(params, f"encoder_{i}", hidden)
        hidden = model.add("MaxPooling2D", f"pool_{i}", [hidden], pool_size=[2, 2], strides=[2, 2], padding="same")
    for i in range(module.depth):
        hidden = model.conv(params, f"decoder_{i}", hidden)
        hidden = model.add("UpSampling2D", f"larger_{i}", [hidden], size=[2, 2], interpolation="nearest")
    model.last(params, hidden, module.prediction)


def _dncnn(model: _Model, module: Any, params: Any) -> None:
    hidden = model.output
    for i in range(module.depth - 1):
        hidden = model.conv(params, f"hidden_{i}", hidden)
    model.last(params, hidden, module.prediction)


def _unet(model: _Model, module: Any, params: Any) -> None:
    def convolve(hidden: str, name: str) -> str:
        for i in range(module.repeat):
            hidden = model.conv(params, f"{name}_{i}", hidden)
        return hidden

    hidden, skips = model.output, []
    for i in range(module.depth):
        skips.append(convolve(hidden, f"encoder_{i}"))
        hidden = model.conv(params, f"down_{i}", skips[-1], "linear", stride=2)
    hidden = convolve(hidden, "middle")
    for i in reversed(range(module.depth)):
        larger = model.conv_transpose(params, f"up_{i}", hidden)
        hidden = convolve(model.add("Concatenate", f"skip_{i}", [larger, skips[i]], axis=-1), f"decoder_{i}")
    model.last(params, hidden, module.prediction)


def _write(model: _Model, path: Path) -> None:
    config = {
        "module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional",
        "config": {"name": "jaxdae", "trainable": True, "layers": model.layers, "input_layers": ["noisy", 0, 0],
                   "output_layers": [model.output, 0, 0]},
    }  # fmt: skip
    weights, counts = io.BytesIO(), dict[str, int]()
    with h5py.File(weights, "w") as file:
        for class_name, arrays in model.weights:
            name = snake_case(class_name)
            count = counts[name] = counts.get(name, -1) + 1
            group = file.create_group(f"layers/{name}_{count}/vars" if count else f"layers/{name}/vars")
            for i, array in enumerate(arrays):
                group.create_dataset(str(i), data=array)
        file.create_group("vars")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": VERSION}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights.getvalue())
