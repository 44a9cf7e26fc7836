"""Arrays to matplotlib figures. Nothing here reads or writes a disk; `figure.savefig(path)` does."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxdae.arguments import require_integer, require_sequence
from jaxdae.errors import InputError, shown

Images = Float[np.ndarray, "image height width channel"]

LOSS_LABELS = {
    "bce": "binary cross-entropy (nats per pixel)",
    "mse": "mean squared error",
    "log_mse": "log of the squared error (dB)",
}


def noisy_digits(noisy: Images, *, columns: int = 10) -> Figure:
    """The first figure of the classic experiment: noisy images in a row, 20 x 2 inches, grey, no axes."""
    _require_rows({"noisy": noisy}, columns)
    return _image_rows([noisy], [""], columns, row_height=2.0)


def noisy_denoised_clean(
    noisy: Images, denoised: Images, clean: Images | None = None, *, columns: int = 10, third: str = "clean"
) -> Figure:
    """Its second figure: noisy images over denoised ones, and the clean (or `third`) ones below if they are known."""
    named = {"noisy": noisy, "denoised": denoised} | ({} if clean is None else {"clean": clean})
    _require_rows(named, columns)
    rows = [noisy, denoised] if clean is None else [noisy, denoised, clean]
    return _image_rows(rows, ["noisy", "denoised", third], columns, row_height=2.0)


def loss_curves(
    history: Sequence[dict[str, Any]],
    labels: Sequence[str],
    *,
    reference: Sequence[dict[str, Any]] = (),
    reference_name: str = "reference",
) -> Figure:
    """Training (dotted) and validation (solid) loss over the epochs, one colour for each member.

    Losses of different kinds get a panel each. `reference`: lines with `epoch`, `train_bce` and `val_bce` (or another
    loss) of another run, drawn in grey.
    """
    _require_curves(history, labels)
    lines = [*history, *reference]
    losses = list(dict.fromkeys(name[6:] for line in lines for name in line if name.startswith("train_"))) or ["bce"]
    many = len(labels) > 2
    figure = Figure(figsize=((7 + 3 * many) * len(losses), 4.5), layout="constrained")
    colors = colormaps["viridis"](np.linspace(0, 0.85, len(labels)))
    for loss, axes in zip(losses, figure.subplots(1, len(losses), squeeze=False)[0], strict=True):
        if reference:
            _plot_curves(axes, loss, reference, "0.55", reference_name)
        for member, (label, color) in enumerate(zip(labels, colors, strict=True)):
            lines = [line for line in history if line["member"] == member and f"val_{loss}" in line]
            if lines:
                _plot_curves(axes, loss, lines, color, label)
        axes.set(xlabel="epoch", ylabel=LOSS_LABELS.get(loss, loss))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if history and not many:
            axes.legend(fontsize="small")
    if history and many:
        figure.legend(fontsize="small", loc="outside right upper")
    return figure


def _plot_curves(axes: Axes, loss: str, lines: Sequence[dict[str, Any]], color: Any, name: str) -> None:
    epochs = [line["epoch"] for line in lines]
    marker = "." if len(epochs) < 40 else None
    for part, style, label in (("val", "-", f"{name}, validation"), ("train", ":", f"{name}, training")):
        values = [line[f"{part}_{loss}"] for line in lines]
        drawn = [math.nan if value is None else value for value in values]
        axes.plot(epochs, drawn, style, color=color, label=label, marker=marker)


def feature_maps(
    noisy: Float[np.ndarray, "height width channel"],
    maps: Float[np.ndarray, "rows columns feature"],
    *,
    layer: str = "",
    columns: int = 8,
) -> Figure:
    """The output of one layer for one image: the image first, then every feature map on its own scale."""
    require_integer("columns", columns, 1)
    _require_shown("noisy", noisy, 3)
    _require_axes("maps", maps, 3)
    features = maps.shape[-1]
    rows = -(-features // columns)
    figure = Figure(figsize=(1.2 * (columns + rows), 1.2 * rows + 0.5), layout="constrained")
    figure.suptitle(f"{layer}: {features} maps of {maps.shape[0]}x{maps.shape[1]}")
    left, right = figure.subfigures(1, 2, width_ratios=[rows, columns], squeeze=False)[0]
    _show(left.subplots(), noisy)
    left.supxlabel("the noisy image", fontsize="medium")
    for i, axes in enumerate(right.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if i < features:
            axes.imshow(maps[..., i], cmap="viridis")
    return figure


def _require_rows(rows: Mapping[str, Any], columns: Any) -> None:
    """InputError unless rows are images of one number and size."""
    require_integer("columns", columns, 1)
    first = next(iter(rows.values()))
    for name, images in rows.items():
        _require_shown(name, images, 4)
        if images.shape != first.shape:
            raise InputError(f"{name} images of shape {images.shape} cannot stand below those of shape {first.shape}")


def _require_shown(name: str, images: Any, axes: int) -> None:
    _require_axes(name, images, axes)
    if images.shape[-1] not in (1, 3, 4):
        raise InputError(f"{name} images have {images.shape[-1]} channels; gray (1) and RGB (3) can be shown")


def _require_axes(name: str, images: Any, axes: int) -> None:
    if hasattr(images, "test"):
        raise InputError(f"{name} images are {shown(images)}; give its .test")
    order = "(image, height, width, channel)" if axes == 4 else "(height, width, channel)"
    if not hasattr(images, "shape"):
        raise InputError(f"{name} images are {shown(images)}; give an array, {order}")
    if len(images.shape) != axes or min(images.shape) == 0:
        raise InputError(f"{name} images of shape {tuple(images.shape)} cannot be shown; give {order}")


def _require_curves(history: Any, labels: Any) -> None:
    """InputError unless a history has lines of members that labels name."""
    if hasattr(history, "history"):
        raise InputError(f"history is {shown(history)}; give its .history")
    require_sequence("history", history)
    require_sequence("labels", labels)
    for line in history:
        if not isinstance(line, Mapping) or not {"epoch", "member"} <= line.keys():
            raise InputError(f"history has {shown(line)} for a line; give the .history of a run")
        if not 0 <= line["member"] < len(labels):
            raise InputError(f"labels name {len(labels)} members, but history has member {line['member']}")


def _image_rows(rows: Sequence[Images], names: Sequence[str], columns: int, row_height: float) -> Figure:
    columns = min(columns, len(rows[0]))
    figure = Figure(figsize=(2.0 * columns, row_height * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for images, name, line in zip(rows, names, grid, strict=False):
        for image, axes in zip(images, line, strict=False):
            _show(axes, image)
        if name:
            line[0].set_ylabel(name, fontsize=20)
    return figure


def _show(axes: Axes, image: np.ndarray) -> None:
    grey = image.shape[-1] == 1
    axes.imshow(image[..., 0] if grey else np.clip(image, 0, 1), cmap="gray" if grey else None, vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
