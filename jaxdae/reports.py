"""What the command says and draws of a run: tables, figures, where its checkpoint is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.figure import Figure

from jaxdae import checkpoints, comparisons, evaluation, figures, run_folder
from jaxdae.config import RunConfig, check_level, level_range, require_name
from jaxdae.data import ImageData
from jaxdae.runs import Checkpoint, Run


def default_levels(config: RunConfig) -> list[float]:
    """The levels at which a run's specialists were trained, or the middle of a generalist's range."""
    ranges = [level_range(level) for level in config.noise_levels]
    return sorted({low for low, high in ranges if low == high}) or sorted({(low + high) / 2 for low, high in ranges})


def evaluation_rows(
    run: Run, data: ImageData, levels: Sequence[float], checkpoint: Checkpoint, model: int | None = None
) -> list[dict[str, Any]]:
    """The evaluation of all models of a run, or of one, on the test images; by default at the levels of training."""
    numbers = range(len(run.config.members)) if model is None else [run.member(model)]
    run = run if model is None else run.only(model)
    levels = levels or default_levels(run.config)
    params = run.stacked_params(checkpoint)
    scores, identity = evaluation.evaluate_population(params, data.test, np.array(levels), config=run.config)
    rows = evaluation.summarize(run.config, levels, scores, identity)
    return [row if row["model"] == "identity" else row | {"model": numbers[row["model"]]} for row in rows]


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints table rows in columns."""
    header = list(rows[0])

    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)

    lines = [header, *([cell(row[name]) for name in header] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def newest_checkpoint(run: Run) -> Path:
    """The folder of a run's newest checkpoint."""
    assert run.path
    with checkpoints.open_manager(run.path / run_folder.CHECKPOINTS) as manager:
        return run.path / run_folder.CHECKPOINTS / str(manager.latest_step())


def write_figures(
    run: Run,
    data: ImageData,
    *,
    model: int | None = None,
    checkpoint: Checkpoint = "last",
    layer: str = "encoder_0",
    noise_level: float | None = None,
) -> list[Path]:
    """Draws the figures of a run into its folder."""
    number = run.member(model)
    params = run.member_params(number, checkpoint)
    level = default_levels(run.only(number).config)[0] if noise_level is None else noise_level
    check_level(level, run.config.corruption)
    clean = data.test[:10].astype(np.float32) / 255
    noisy = evaluation.noisy_examples(data.test[:10], level, config=run.config)
    denoised, layers = evaluation.denoise_and_layers(params, noisy, model=run.model)
    noisy, denoised, layers = jax.device_get((noisy, denoised, layers))
    require_name("layer", layer, layers)
    drawn: dict[str, Figure] = {
        "loss": figures.loss_curves(run.history),
        "noisy": figures.noisy_digits(noisy),
        "denoised": figures.noisy_denoised_clean(noisy, denoised, clean),
        f"features_{layer}": figures.feature_maps(noisy[0], layers[layer][0], layer=layer),
    }
    assert run.path
    folder = run.path / run_folder.FIGURES
    folder.mkdir(exist_ok=True)
    return save_figures(folder, drawn)


def redraw_results(folder: Path) -> list[Path]:
    """Draws the figures of a results folder again, from its table.

    Raises:
        InputError: it holds no table.
    """
    return save_figures(folder, comparisons.draw_all(folder))


def save_figures(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Writes figures as PNG files, each of them whole or not at all."""
    for name, figure in figures.items():
        temporary = folder / f".{name}.png"
        figure.savefig(temporary, dpi=100)
        temporary.replace(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in figures]
