"""The operations of ONNX that networks are written in."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Name = str
"""Of an array in the graph."""


class Graph:
    """An ONNX graph that grows by operations on named arrays; images are NCHW, layers' parameters jaxdae's own."""

    def __init__(self) -> None:
        """A graph without nodes."""
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operation: str, *inputs: Name, output: Name | None = None, **attributes: Any) -> Name:
        """Any ONNX operation of one output."""
        from onnx import helper

        output = output or f"{operation}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    def constant(self, values: Any) -> Name:
        """An array: integers as int64, all others as float32."""
        from onnx import numpy_helper

        array = np.asarray(values)
        array = np.array(array, np.int64 if array.dtype.kind == "i" else np.float32, order="C")
        self.constants.append(numpy_helper.from_array(array, f"constant_{len(self.constants)}"))
        return self.constants[-1].name

    def conv(self, images: Name, layer: Mapping[str, Any], stride: int = 1) -> Name:
        """A convolution with padding SAME, for sides that are multiples of the stride."""
        kernel = np.asarray(layer["kernel"])  # HWIO
        total = max(kernel.shape[0] - stride, 0)
        before, after = total // 2, total - total // 2
        return self._convolve("Conv", images, kernel.transpose(3, 2, 0, 1), layer.get("bias"), stride,
                              [before, before, after, after])  # fmt: skip

    def conv_transpose(self, images: Name, layer: Mapping[str, Any]) -> Name:
        """A transposed convolution of a 2x2 kernel, to twice the size: ONNX turns the kernel, jaxdae does not."""
        kernel = np.asarray(layer["kernel"])
        assert kernel.shape[:2] == (2, 2)
        turned = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
        return self._convolve("ConvTranspose", images, turned, layer.get("bias"), 2, [0, 0, 0, 0])

    def _convolve(self, kind: str, images: Name, kernel: Any, bias: Any, stride: int, pads: list[int]) -> Name:
        parameters = [self.constant(kernel), *([] if bias is None else [self.constant(bias)])]
        size = list(kernel.shape[2:])
        return self.add(kind, images, *parameters, kernel_shape=size, strides=[stride] * 2, pads=pads)

    def relu(self, images: Name) -> Name:
        """The positive part."""
        return self.add("Relu", images)

    def max_pool(self, images: Name) -> Name:
        """The maximum of every 2x2 block."""
        return self.add("MaxPool", images, kernel_shape=[2, 2], strides=[2, 2])

    def upsample(self, images: Name) -> Name:
        """Every pixel as a 2x2 block."""
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", images, "", self.constant([1.0, 1.0, 2.0, 2.0]), **how)

    def concat(self, *images: Name) -> Name:
        """The channels of all."""
        return self.add("Concat", *images, axis=1)

    def pad_to_multiple(self, images: Name, multiple: int) -> Name:
        """The mirror image beyond the last row and column, until both sides are multiples of `multiple`."""
        zero, one, two = (self.constant(number) for number in (0, 1, 2))
        for axis in (2, 3):
            side = self.add("Squeeze", self.add("Shape", images, start=axis, end=axis + 1))
            missing = self.add("Mod", self.add("Neg", side), self.constant(multiple))
            period = self.add("Max", self.add("Mul", two, self.add("Sub", side, one)), one)
            index = self.add("Mod", self.add("Range", zero, self.add("Add", side, missing), one), period)
            images = self.add("Gather", images, self.add("Min", index, self.add("Sub", period, index)), axis=axis)
        return images

    def crop(self, images: Name, like: Name) -> Name:
        """The upper left part, of the size of other images."""
        return self.add("Slice", images, self.constant([0, 0]), self._sides(like), self.constant([2, 3]))

    def append_level(self, images: Name, level: Name | None) -> Name:
        """The images with their noise level as one more, constant channel; without a level, as they are."""
        if level is None:
            return images
        size = self.add("Concat", self.constant([1, 1]), self._sides(images), axis=0)
        return self.concat(images, self.add("Expand", level, size))

    def _sides(self, images: Name) -> Name:
        return self.add("Shape", images, start=2)
