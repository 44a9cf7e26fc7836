"""Figures of the experiments, drawn from their tidy tables and the few images beside them, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxdae.tables import Row, experiment_of, pick, read_table

STRIP = "strip.npz"
"""The images of a strip, by the names of the arguments of `strip` or `corruption_strip`."""
UNITS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "bce": "BCE (nats per pixel)", "mse": "MSE"}
LOWER_IS_BETTER = ("bce", "mse")
BEST_BASELINES = {"gaussian, with curve": "--", "linear_mmse, with curve": "-."}


def draw_all(folder: Path) -> dict[str, Figure]:
    """The figures of a results folder, by name.

    Raises:
        InputError: it holds no table.
    """
    rows = read_table(folder)
    experiment = experiment_of(rows)
    figures = {name: draw(rows) for name, draw in FIGURES[experiment].items()}
    if experiment in STRIPS and (folder / STRIP).exists():
        with np.load(folder / STRIP) as arrays:
            figures["strip"] = STRIPS[experiment](**arrays)
    return figures


def level_matrix(rows: Sequence[Row], *, metric: str = "psnr") -> Figure:
    """Training level x test level as a heat map; the best of every test level is bold."""
    rows = _of_most_images(pick(rows, metric=metric, seed=None))
    models = [*_models(rows, "specialist"), *_models(rows, "generalist")]
    levels = sorted({row["test_level"] for row in rows})
    means = np.array([[_mean(rows, model, level) for level in levels] for model in models])
    figure = _heat_map(means, models, [f"{level:g}" for level in levels], metric)
    figure.axes[0].set(xlabel="noise level of the test images", ylabel="noise level of training")
    return figure


def corruption_matrix(rows: Sequence[Row], *, metric: str = "psnr") -> Figure:
    """Training corruption x test corruption as a heat map; the best of every test corruption is bold."""
    rows = _of_most_images(pick(rows, kind="denoiser", metric=metric, seed=None))
    names = list(dict.fromkeys(row["model"] for row in rows))
    means = [[pick(rows, model=model, test_corruption=test)[0]["mean"] for test in names] for model in names]
    spelled = [name.replace("_and_", " & ") for name in names]
    figure = _heat_map(np.array(means), spelled, spelled, metric)
    figure.axes[0].set(xlabel="corruption of the test images", ylabel="corruption of training")
    return figure


def _heat_map(means: np.ndarray, models: Sequence[str], tests: Sequence[str], metric: str) -> Figure:
    widest = max(len(name) for name in tests)
    width = max(1.0, 0.1 * widest) * len(tests) + 2.2
    figure = Figure(figsize=(width, 0.62 * len(models) + 1.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(means, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(tests)), tests)
    axes.set_yticks(range(len(models)), models)
    middle = (means.min() + means.max()) / 2
    best = means.argmin(0) if metric in LOWER_IS_BETTER else means.argmax(0)
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
    best_of = min if metric in LOWER_IS_BETTER else max
    best = [best_of(_mean(rows, model, level) for model in specialists) for level in levels]
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


def learning_curves(rows: Sequence[Row], *, metric: str = "bce") -> Figure:
    """Loss against epochs, a panel for each number of training images: fixed and fresh noise, training and test."""
    rows = pick(rows, kind="curve", metric=metric, seed=None)
    sizes = sorted({row["train_images"] for row in rows})
    figure = Figure(figsize=(3.4 * len(sizes) + 1, 4.2), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        for model, color in (("fixed", "#d55e00"), ("fresh", "#0072b2")):
            for part, style in (("test", "-"), ("train", ":")):
                lines = pick(rows, model=model, train_images=size, images_of=part)
                epochs, means = ([line[name] for line in lines] for name in ("epoch", "mean"))
                errors = np.array([line["se_seeds"] or 0 for line in lines])
                axes.plot(epochs, means, style, color=color, label=f"{model} noise, {part}")
                axes.fill_between(epochs, means - errors, means + errors, color=color, alpha=0.2, linewidth=0)
        axes.set(xlabel="epoch", title=f"{size:,} training images")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.grid(alpha=0.3)
    late = [row["mean"] for row in rows if 3 * row["epoch"] > _last_epoch(rows, row["train_images"])]
    margin = 0.05 * (max(late) - min(late))
    panels[0].set(ylabel=UNITS[metric], ylim=(min(late) - margin, max(late) + margin))
    panels[-1].legend(fontsize="small")
    return figure


def _last_epoch(rows: Sequence[Row], size: int) -> int:
    return max(row["epoch"] for row in pick(rows, train_images=size))


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
    return _strip(rows, [f"level {level:g}" for level in levels])


def corruption_strip(
    *, noisy: np.ndarray, own: np.ndarray, first: np.ndarray, clean: np.ndarray, corruptions: np.ndarray
) -> Figure:
    """The same digits in all corruptions: noisy, denoised by the model of it, by that of the first, clean."""
    rows = {
        "noisy": noisy,
        "trained on it": own,
        f"trained on\n{corruptions[0]}": first,
        "clean": np.stack([clean] * len(corruptions)),
    }
    return _strip(rows, [str(name).replace("_and_", " & ") for name in corruptions])


def _strip(rows: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """Rows of (title, digit, height, width) images, 0..255."""
    digits = next(iter(rows.values())).shape[1]
    columns = digits * len(titles)
    figure = Figure(figsize=(1.1 * columns + 0.4, 5.0), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, images.reshape(-1, *images.shape[2:]), strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    for axes, title in zip(grid[0, ::digits], titles, strict=True):
        axes.set_title(title, loc="left")
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


FIGURES: dict[str, dict[str, Callable[[Sequence[Row]], Figure]]] = {
    "noise_levels": {"matrix": level_matrix, "curves": level_curves},
    "corruptions": {"matrix": corruption_matrix},
    "fixed_or_fresh": {"curves": learning_curves},
}
STRIPS: dict[str, Callable[..., Figure]] = {"noise_levels": strip, "corruptions": corruption_strip}
