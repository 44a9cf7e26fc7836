"""The networks, losses, metrics and optimizers once more, in plain NumPy and float64: slow, and independent of JAX.

A `Node` is an array that knows how its gradient goes back to what it was made of.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Pull = Callable[[np.ndarray], np.ndarray]
Params = Mapping[str, Mapping[str, Any]]


class Node(NamedTuple):
    """An array, and the nodes that it was made of, each with the pull-back of its gradient."""

    value: np.ndarray
    sources: tuple[tuple["Node", Pull], ...] = ()


def leaf(array: Any) -> Node:
    """A node of an array."""
    return Node(np.asarray(array, np.float64))


def gradients(output: Node, leaves: Sequence[Node]) -> list[np.ndarray]:
    """The gradients of the sum of a node's values for some of the leaves that it was made of."""
    order: dict[int, Node] = {}

    def visit(node: Node) -> None:
        if id(node) not in order:
            for source, _ in node.sources:
                visit(source)
            order[id(node)] = node

    visit(output)
    found: dict[int, Any] = {id(output): np.ones_like(output.value)}
    for key, node in reversed(order.items()):
        for source, pull in node.sources:
            found[id(source)] = found.get(id(source), 0) + pull(found[key])
    return [found[id(node)] for node in leaves]


def conv(images: Node, layer: Mapping[str, Node]) -> Node:
    """A convolution with stride 1 and padding SAME."""
    kernel = layer["kernel"].value
    windows = _windows(images.value, kernel.shape[0])
    turned = kernel[::-1, ::-1]

    def pull_images(g: np.ndarray) -> np.ndarray:
        return np.tensordot(_windows(g, kernel.shape[0]), turned, ([4, 5, 3], [0, 1, 3]))

    def pull_kernel(g: np.ndarray) -> np.ndarray:
        return np.tensordot(windows, g, ([0, 1, 2], [0, 1, 2])).transpose(1, 2, 0, 3)

    made = Node(
        np.tensordot(windows, kernel, ([4, 5, 3], [0, 1, 2])), ((images, pull_images), (layer["kernel"], pull_kernel))
    )
    return _biased(made, layer)


def _windows(images: np.ndarray, size: int) -> np.ndarray:
    margin = size // 2
    padded = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    return sliding_window_view(padded, (size, size), axis=(1, 2))


def _biased(made: Node, layer: Mapping[str, Node]) -> Node:
    if "bias" not in layer:
        return made
    return Node(made.value + layer["bias"].value, ((made, lambda g: g), (layer["bias"], lambda g: g.sum((0, 1, 2)))))


def conv_transpose(images: Node, layer: Mapping[str, Node]) -> Node:
    """A transposed convolution with a 2x2 kernel and stride 2."""
    taps = layer["kernel"].value[::-1, ::-1]  # [a, b, c, o]
    n, h, w, _ = images.value.shape

    def phases(g: np.ndarray) -> np.ndarray:  # [n, h, w, a, b, o]
        return g.reshape(n, h, 2, w, 2, -1).transpose(0, 1, 3, 2, 4, 5)

    def pull_kernel(g: np.ndarray) -> np.ndarray:
        return np.tensordot(phases(g), images.value, ([0, 1, 2], [0, 1, 2])).transpose(0, 1, 3, 2)[::-1, ::-1]

    value = np.tensordot(images.value, taps, ([3], [2])).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, -1)
    pull_images: Pull = lambda g: np.tensordot(phases(g), taps, ([3, 4, 5], [0, 1, 3]))  # noqa: E731
    return _biased(Node(value, ((images, pull_images), (layer["kernel"], pull_kernel))), layer)


def relu(x: Node) -> Node:
    """The positive part."""
    return Node(np.maximum(x.value, 0), ((x, lambda g: g * (x.value > 0)),))


def max_pool(x: Node) -> Node:
    """The maximum of every 2x2 block; the first of equal ones gets the gradient."""
    blocks = unshuffled(x.value)
    first = blocks.argmax(-1)[..., None]
    spread: Pull = lambda g: shuffled(np.where(np.arange(4) == first, g[..., None], 0))  # noqa: E731
    return Node(np.take_along_axis(blocks, first, -1)[..., 0], ((x, spread),))


def unshuffled(x: np.ndarray) -> np.ndarray:
    """[n, 2h, 2w, c] as [n, h, w, c, 4]."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)


def shuffled(x: np.ndarray) -> np.ndarray:
    """The inverse of `unshuffled`."""
    n, h, w, c, _ = x.shape
    return x.reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * h, 2 * w, c)


def pixel_unshuffle(x: Node) -> Node:
    """The pixels of every 2x2 block as channels, in the order (row, column, channel)."""
    n, h, w, c = x.value.shape

    def pull(g: np.ndarray) -> np.ndarray:
        return shuffled(g.reshape(n, h // 2, w // 2, 4, c).swapaxes(3, 4))

    return Node(unshuffled(x.value).swapaxes(3, 4).reshape(n, h // 2, w // 2, 4 * c), ((x, pull),))


def upsample(x: Node) -> Node:
    """Nearest-neighbour upsampling to twice the size."""
    return Node(x.value.repeat(2, 1).repeat(2, 2), ((x, lambda g: unshuffled(g).sum(-1)),))


def concatenate(x: Node, y: Node) -> Node:
    """The channels of both."""
    c = x.value.shape[-1]
    return Node(np.concatenate([x.value, y.value], -1), ((x, lambda g: g[..., :c]), (y, lambda g: g[..., c:])))


def add(x: Node, y: Node) -> Node:
    """The sum."""
    return Node(x.value + y.value, ((x, lambda g: g), (y, lambda g: g)))


def autoencoder(params: Mapping[str, Any], images: Node) -> Node:
    """The logits of a ConvAutoencoder, for sides that are multiples of 2^depth."""
    hidden, depth = images, sum(name.startswith("encoder") for name in params)
    for i in range(depth):
        hidden = max_pool(relu(conv(hidden, params[f"encoder_{i}"])))
    for i in range(depth):
        hidden = relu(conv(upsample(hidden) if i else hidden, params[f"decoder_{i}"]))
    return conv(upsample(hidden), params["output"])


def unet(params: Mapping[str, Any], images: Node) -> Node:
    """The image of a UNet (residual, pixel-unshuffled, one convolution at each size)."""
    hidden, skips, depth = images, [], sum(name.startswith("down") for name in params)
    for i in range(depth):
        skips.append(relu(conv(hidden, params[f"encoder_{i}_0"])))
        hidden = conv(pixel_unshuffle(skips[-1]), params[f"down_{i}"])
    hidden = relu(conv(hidden, params["middle_0"]))
    for i in reversed(range(depth)):
        larger = conv_transpose(hidden, params[f"up_{i}"])
        hidden = relu(conv(concatenate(larger, skips[i]), params[f"decoder_{i}_0"]))
    return add(images, conv(hidden, params["output"]))


def dncnn(params: Mapping[str, Any], images: Node) -> Node:
    """The image of a DnCNN (residual)."""
    hidden = images
    for i in range(len(params) - 1):
        hidden = relu(conv(hidden, params[f"hidden_{i}"]))
    return add(images, conv(hidden, params["output"]))


def bce_from_logits(logits: Node, clean: np.ndarray) -> Node:
    """Binary cross-entropy of every image."""
    z, pixels = logits.value, clean[0].size
    value = (np.logaddexp(0, z) - z * clean).mean((1, 2, 3))
    return Node(value, ((logits, lambda g: g[:, None, None, None] * (1 / (1 + np.exp(-z)) - clean) / pixels),))


def squared_error(images: Node, clean: np.ndarray) -> Node:
    """Mean squared error of every image."""
    difference = images.value - clean
    scale = 2 / clean[0].size
    return Node((difference**2).mean((1, 2, 3)), ((images, lambda g: g[:, None, None, None] * difference * scale),))


def ssim(denoised: np.ndarray, clean: np.ndarray, window: int = 7) -> np.ndarray:
    """Structural similarity of every image (Wang et al. 2004), with unbiased moments over uniform windows."""
    x, y = (sliding_window_view(a[..., 0], (window, window), axis=(1, 2)) for a in (denoised, clean))
    mean_x, mean_y = x.mean((3, 4)), y.mean((3, 4))
    var_x, var_y = x.var((3, 4), ddof=1), y.var((3, 4), ddof=1)
    centred = (x - mean_x[..., None, None]) * (y - mean_y[..., None, None])
    covariance, c1, c2 = centred.sum((3, 4)) / (window**2 - 1), 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (above / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean((1, 2))


def scores(denoised: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of every image."""
    image = np.clip(denoised, 0, 1)
    mse = ((image - clean) ** 2).mean((1, 2, 3))
    p = np.clip(image, np.float32(1e-7), 1 - np.float32(1e-7))
    bce = -(clean * np.log(p) + (1 - clean) * np.log(1 - p)).mean((1, 2, 3))
    psnr = -10 * np.log10(np.maximum(mse, 1e-10))
    return {"bce": bce, "mse": mse, "psnr": psnr, "ssim": ssim(image, clean)}


def adadelta(gradient: np.ndarray, steps: int, rate: float = 1.0, rho: float = 0.95, eps: float = 1e-7) -> np.ndarray:
    """How far Adadelta has moved from 0 after steps along the gradient, twice it, .."""
    moved, squares, updates = (np.zeros_like(gradient) for _ in range(3))
    for g in (i * gradient for i in range(1, steps + 1)):
        squares = rho * squares + (1 - rho) * g**2
        update = np.sqrt((updates + eps) / (squares + eps)) * g
        updates = rho * updates + (1 - rho) * update**2
        moved = moved - rate * update
    return moved


def adam(gradient: np.ndarray, steps: int, rate: float = 1e-3, b1: float = 0.9, b2: float = 0.999) -> np.ndarray:
    """The same under Adam."""
    moved, mean, squares = (np.zeros_like(gradient) for _ in range(3))
    for i in range(1, steps + 1):
        g = i * gradient
        mean, squares = b1 * mean + (1 - b1) * g, b2 * squares + (1 - b2) * g**2
        moved = moved - rate * (mean / (1 - b1**i)) / (np.sqrt(squares / (1 - b2**i)) + 1e-8)
    return moved


def sgd(gradient: np.ndarray, steps: int, rate: float = 0.1, momentum: float = 0.9) -> np.ndarray:
    """The same under stochastic gradient descent with Nesterov's momentum."""
    moved, trace = np.zeros_like(gradient), np.zeros_like(gradient)
    for i in range(1, steps + 1):
        trace = i * gradient + momentum * trace
        moved = moved - rate * (i * gradient + momentum * trace)
    return moved
