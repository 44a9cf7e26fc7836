"""Figures of an experiment that compares noise levels, drawn from its tidy table and nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from jaxdae.tables import Row, pick, read_table

STRIP = "strip.npz"
"""The images of the strip: noisy, specialist and generalist (level, image, height, width), clean, and the levels."""
UNITS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "bce": "BCE (nats per pixel)", "mse": "MSE"}
BEST_BASELINES = {"gaussian, with curve": "--", "linear_mmse, with curve": "-."}


def draw_all(folder: Path) -> dict[str, Figure]:
    """The figures of a results folder, by name.

    Raises:
        InputError: it holds no table.
    """
    rows = read_table(folder)
    figures = {"matrix": level_matrix(rows), "curves": level_curves(rows)}
    if (folder / STRIP).exists():
        with np.load(folder / STRIP) as arrays:
            figures["strip"] = strip(**arrays)
    return figures


def level_matrix(rows: Sequence[Row], *, metric: str = "psnr") -> Figure:
    """Training level x test level as a heat map; the best of every test level is framed."""
    rows = _of_most_images(pick(rows, metric=metric, seed=None))
    models = [*_models(rows, "specialist"), *_models(rows, "generalist")]
    levels = sorted({row["test_level"] for row in rows})
    means = np.array([[_mean(rows, model, level) for level in levels] for model in models])
    figure = Figure(figsize=(1.0 * len(levels) + 2.2, 0.62 * len(models) + 1.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(means, cmap="viridis", aspect="auto")
    axes.set(xlabel="noise level of the test images", ylabel="noise level of training")
    axes.set_xticks(range(len(levels)), [f"{level:g}" for level in levels])
    axes.set_yticks(range(len(models)), models)
    middle = (means.min() + means.max()) / 2
    best = means.argmin(0) if metric in ("bce", "mse") else means.argmax(0)
    digits = ".2f" if metric == "psnr" else ".4g"
    for (i, j), value in np.ndenumerate(means):
        style: dict[str, Any] = {
            "color": "black" if value > middle else "white",
            "weight": "bold" if best[j] == i else "normal",
        }
        axes.text(j, i, format(value, digits), ha="center", va="center", **style)
    figure.colorbar(image, label=UNITS[metric])
    axes.set_title("the best of each column is bold", fontsize="medium")
    return figure


def level_curves(rows: Sequence[Row], *, metric: str = "psnr") -> Figure:
    """The metric against the test level, a line for each training level; below, the distance to the best specialist."""
    rows = _of_fewest_images(pick(rows, metric=metric, seed=None))
    specialists, generalists = _models(rows, "specialist"), _models(rows, "generalist")
    levels = sorted({row["test_level"] for row in rows})
    best = [max(_mean(rows, model, level) for model in specialists) for level in levels]
    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    colors = dict(zip(specialists, colormaps["viridis"](np.linspace(0, 0.9, len(specialists))), strict=True))
    styles = {model: {"color": color, "marker": "o"} for model, color in colors.items()}
    styles |= {model: {"color": "#d55e00", "marker": "s", "linewidth": 2} for model in generalists}
    styles |= {name: {"color": "0.35", "linestyle": style} for name, style in BEST_BASELINES.items()}
    styles |= {"identity": {"color": "0.35", "linestyle": ":"}}
    names = {model: f"trained at {model}" for model in (*specialists, *generalists)} | {"identity": "noisy input"}
    for model, style in styles.items():
        lines = [pick(rows, model=model, test_level=level) for level in levels]
        if not all(lines):
            continue
        means = np.array([line[0]["mean"] for line in lines])
        errors = [line[0]["se_seeds"] or line[0]["se_images"] for line in lines]
        above.errorbar(levels, means, yerr=errors, capsize=2, markersize=4, label=names.get(model, model), **style)
        if model != "identity":
            below.plot(levels, means - best, markersize=4, **style)
    above.set(ylabel=UNITS[metric])
    below.set(xlabel="noise level of the test images", ylabel=f"{UNITS[metric]}\nless the best specialist's")
    below.set_ylim(bottom=max(below.get_ylim()[0], -6) if metric == "psnr" else None)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def strip(
    *, noisy: np.ndarray, specialist: np.ndarray, generalist: np.ndarray, clean: np.ndarray, levels: np.ndarray
) -> Figure:
    """The same digits across levels: noisy, denoised by the specialist and by the generalist, clean (all 0..255)."""
    rows = {
        "noisy": noisy,
        "specialist": specialist,
        "generalist": generalist,
        "clean": np.stack([clean] * len(levels)),
    }
    digits = clean.shape[0]
    figure = Figure(figsize=(1.1 * digits * len(levels) + 0.4, 5.0), layout="constrained")
    grid = figure.subplots(len(rows), digits * len(levels), squeeze=False)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, images.reshape(-1, *clean.shape[1:]), strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    for axes, level in zip(grid[0, ::digits], levels, strict=True):
        axes.set_title(f"level {level:g}", loc="left")
    return figure


def _models(rows: Sequence[Row], kind: str) -> list[str]:
    """In the order of their levels."""
    return sorted({row["model"] for row in rows if row["kind"] == kind}, key=lambda model: float(model.split(":")[-1]))


def _mean(rows: Sequence[Row], model: str, level: float) -> float:
    return pick(rows, model=model, test_level=level)[0]["mean"]


def _of_most_images(rows: Sequence[Row]) -> list[Row]:
    return pick(rows, images=max(row["images"] for row in rows))


def _of_fewest_images(rows: Sequence[Row]) -> list[Row]:
    """Those over as many images as the baselines have seen."""
    return pick(rows, images=min(row["images"] for row in rows))
