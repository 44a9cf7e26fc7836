"""The figures of the experiments: tidy tables and strips of images to matplotlib figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from _tables import of_fewest_images, of_most_images, pick
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxdae.runs.files import atomic

UNITS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "bce": "BCE (nats per pixel)", "mse": "MSE"}
LOWER_IS_BETTER = ("bce", "mse")
ORANGE, BLUE = "#d55e00", "#0072b2"
BEST_BASELINES = {"gaussian, calibrated": "--", "linear_mmse, calibrated": "-."}


def save_figures(folder: Path, figures: Mapping[str, Figure], *, dpi: int = 100) -> None:
    """Writes figures as PNG files by name."""
    for name, figure in figures.items():
        with atomic(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=dpi)


def level_matrix(table: pd.DataFrame, *, metric: str = "psnr") -> Figure:
    """Training level x test level as a heat map; the best of every test level is bold."""
    rows = of_most_images(pick(table, metric=metric, seed=None))
    models = [*models_of(rows, "specialist"), *models_of(rows, "generalist")]
    means = rows[rows["model"].isin(models)].pivot(index="model", columns="test_level", values="mean").loc[models]
    figure = _heat_map(means.rename(columns="{:g}".format), metric)
    figure.axes[0].set(xlabel="noise level of the test images", ylabel="noise level of training")
    return figure


def corruption_matrix(table: pd.DataFrame, *, metric: str = "psnr") -> Figure:
    """Training corruption x test corruption as a heat map; the best of every test corruption is bold."""
    rows = of_most_images(pick(table, kind="denoiser", metric=metric, seed=None))
    names = list(rows["model"].unique())
    means = rows.pivot(index="model", columns="test_corruption", values="mean").loc[names, names]
    figure = _heat_map(means.rename(index=spelled, columns=spelled), metric)
    figure.axes[0].set(xlabel="corruption of the test images", ylabel="corruption of training")
    return figure


def _heat_map(means: pd.DataFrame, metric: str) -> Figure:
    width = max(1.0, 0.1 * max(map(len, means.columns))) * len(means.columns) + 2.2
    figure = Figure(figsize=(width, 0.62 * len(means) + 1.6), layout="constrained")
    axes = figure.subplots()
    digits = ".2f" if metric == "psnr" else ".4g"
    sns.heatmap(means, annot=True, fmt=digits, cmap="viridis", ax=axes, cbar_kws={"label": UNITS[metric]})
    values = means.to_numpy()
    best = values.argmin(0) if metric in LOWER_IS_BETTER else values.argmax(0)
    for (row, column), text in zip(np.ndindex(values.shape), axes.texts, strict=True):
        text.set_fontweight("bold" if best[column] == row else "normal")
    axes.tick_params(axis="y", rotation=0)
    axes.set_title("the best of each column is bold", fontsize="medium")
    return figure


def level_curves(table: pd.DataFrame, *, metric: str = "psnr") -> Figure:
    """The metric against the test level, a line for each training level; below, the distance to the best specialist."""
    rows = of_fewest_images(pick(table, metric=metric, seed=None))
    specialists, generalists = (models_of(rows, kind) for kind in ("specialist", "generalist"))
    best = rows[rows["kind"] == "specialist"].groupby("test_level")["mean"]
    best = best.min() if metric in LOWER_IS_BETTER else best.max()
    labels = {"identity": "noisy input"} | {name: f"trained at {name}" for name in (*specialists, *generalists)}
    figure = Figure(figsize=(8, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for model, style in _line_styles(specialists, generalists).items():
        line = pick(rows, model=model).set_index("test_level").sort_index()
        if line.empty:
            continue
        label = labels.get(model, model)
        errors = line["se_seeds"].fillna(line["se_images"])
        above.errorbar(line.index, line["mean"], yerr=errors, capsize=2, markersize=4, label=label, **style)
        if model != "identity":
            below.plot(line.index, line["mean"] - best, markersize=4, **style)
    above.set(ylabel=UNITS[metric])
    below.set(xlabel="noise level of the test images", ylabel=f"{UNITS[metric]}\nminus the best specialist's")
    below.set_ylim(bottom=max(below.get_ylim()[0], -6) if metric == "psnr" else None)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def _line_styles(specialists: Sequence[str], generalists: Sequence[str]) -> dict[str, dict[str, Any]]:
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(specialists)))
    return {
        **{model: {"color": color, "marker": "o"} for model, color in zip(specialists, colors, strict=True)},
        **{model: {"color": ORANGE, "marker": "s", "linewidth": 2} for model in generalists},
        **{name: {"color": "0.35", "linestyle": style} for name, style in BEST_BASELINES.items()},
        "identity": {"color": "0.35", "linestyle": ":"},
    }


def models_of(table: pd.DataFrame, kind: str) -> list[str]:
    """The models of a kind, in the order of their levels."""
    return sorted(pick(table, kind=kind)["model"].unique(), key=lambda model: float(model.split(":")[-1]))


def learning_curves(table: pd.DataFrame, *, metric: str = "bce") -> Figure:
    """Loss against epochs, a panel for each number of training images: fixed and fresh noise, training and test."""
    rows = pick(table, kind="curve", metric=metric)
    seeds, sizes = rows[rows["seed"].notna()], sorted(rows["train_images"].unique())
    figure = Figure(figsize=(3.4 * len(sizes) + 1, 4.2), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        _learning_panel(axes, pick(seeds, train_images=size), legend=size == sizes[-1])
        axes.set(xlabel="epoch", ylabel=UNITS[metric], title=f"{size:,} training images")
    means = rows[rows["seed"].isna()]
    late = means[3 * means["epoch"] > means.groupby("train_images")["epoch"].transform("max")]["mean"]
    margin = 0.05 * (late.max() - late.min())
    panels[0].set_ylim(late.min() - margin, late.max() + margin)
    return figure


def _learning_panel(axes: Axes, rows: pd.DataFrame, *, legend: bool) -> None:
    """The mean over the seeds and its standard error, as seaborn computes them."""
    lines = rows.assign(line=rows["model"] + " noise, " + rows["images_of"], epoch=rows["epoch"].astype(int))
    colors = {"fixed": ORANGE, "fresh": BLUE}
    palette = {f"{model} noise, {part}": color for model, color in colors.items() for part in ("test", "train")}
    dashes = {name: (1, 1) if name.endswith("train") else "" for name in palette}
    order = list(palette)
    sns.lineplot(
        lines, x="epoch", y="mean", hue="line", hue_order=order, palette=palette, style="line", style_order=order,
        dashes=dashes, errorbar="se", err_kws={"linewidth": 0}, ax=axes, legend=legend,
    )  # fmt: skip
    if legend:
        axes.legend(fontsize="small")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.grid(alpha=0.3)


def blind_curves(table: pd.DataFrame, family: str, blind: str, variants: Sequence[str]) -> Figure:
    """Blind networks against the test level beside a family's specialists; below, their distance to these."""
    rows = of_fewest_images(pick(table, metric="psnr", seed=None))
    own = pick(rows, kind="denoiser", model=family, variant=variants[0])
    own = own[own["trained_at"] == own["test_level"].map("{:g}".format)].set_index("test_level")["mean"].sort_index()
    networks = pick(rows, kind="denoiser", trained_at=blind)
    colors = dict(zip(networks["model"].unique(), ("0.1", ORANGE, BLUE), strict=True))
    lines = {
        f"{model}, {variant}": (
            pick(networks, model=model, variant=variant),
            {"color": color, "linestyle": style, "marker": "o"},
        )
        for model, color in colors.items()
        for variant, style in zip(variants, ("-", "--"), strict=True)
    }
    lines |= {
        name: (pick(rows, kind="baseline", model=name), {"color": "0.55", "linestyle": style})
        for name, style in BEST_BASELINES.items()
    }
    figure = Figure(figsize=(8.5, 7), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for label, (line, style) in lines.items():
        means = line.set_index("test_level")["mean"].sort_index()
        above.plot(means.index, means, markersize=4, label=label, **style)
        gaps = (means - own).dropna()
        below.plot(gaps.index, gaps, markersize=4, **style)
    above.plot(own.index, own, "D", color=ORANGE, fillstyle="none", label=f"{family}, specialist of the level")
    above.set(ylabel=UNITS["psnr"], title=f"blind networks (trained on {blind})")
    below.set(
        xlabel="noise level of the test images",
        ylabel=f"{UNITS['psnr']}\nminus the {family} specialist's",
        ylim=(-6.5, 0.3),
    )
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure


def gap_curves(rows: pd.DataFrame, variants: Sequence[str]) -> Figure:
    """The differences of blind networks to the specialist of each test level, a line for each variant."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for variant in variants:
        line = pick(rows, variant=variant).sort_values("test_level")
        errors = line["se_seeds"].fillna(line["se_images"])
        axes.errorbar(line["test_level"], line["mean"], yerr=errors, marker="o", ms=4, capsize=2, label=variant)
    axes.axhline(0, color="0.5", lw=1)
    axes.set(xlabel="noise level", ylabel="PSNR of the blind U-Net\nminus the specialist's (dB)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return figure


def quality_over_time(rows: pd.DataFrame, costs: pd.DataFrame, variants: Sequence[str]) -> Figure:
    """PSNR at one level against the time of the training, the network and its parameters beside each point."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    joined = rows.merge(costs, on=["model", "variant", "trained_at"])
    for variant, color, marker, side in zip(variants, (BLUE, ORANGE), "o^", ("bottom", "top"), strict=True):
        for row in pick(joined, variant=variant).to_dict("records"):
            minutes = row["seconds_per_epoch"] * row["epochs"] / 60
            axes.semilogx(minutes, row["mean"], marker, color=color)
            label = f" {row['model']}, {row['parameters']:,}" + ("" if variant == variants[0] else f", {variant}")
            axes.annotate(label, (minutes, row["mean"]), fontsize="small", va=side)
    axes.set(xlabel="minutes of training steps", ylabel=f"PSNR at level {rows['test_level'].iloc[0]:g} (dB)")
    axes.margins(x=0.35, y=0.12)
    axes.grid(alpha=0.3, which="both")
    return figure


def strip(rows: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """The same digits in several settings: rows of (title, digit, height, width) images, 0..255."""
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


def crops(rows: Mapping[str, np.ndarray], titles: Sequence[str]) -> Figure:
    """Pictures side by side: rows of (picture, height, width) images, 0..255."""
    height, width = next(iter(rows.values())).shape[1:]
    figure = Figure(figsize=(2.6 * len(titles), 2.7 * len(rows) * height / width), layout="constrained")
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, images, strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            axes.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, loc="left", fontsize="medium")
    return figure


def spelled(corruption: str) -> str:
    """The name of a corruption, for an axis or a title."""
    return corruption.replace("_and_", " & ")
