"""One tidy table for each experiment: a row for every model, test and metric, from which its figures are drawn.

| column          |                                                                                               |
|-----------------|-----------------------------------------------------------------------------------------------|
| kind            | what stands in the row (below)                                                                 |
| model           | the level (0.5, 0:1), corruption or draw that it was trained with, a baseline's name, or `a - b` |
| train_images    | how many images it was trained on                                                             |
| seed            | of its training; empty for the mean over `seeds` seeds, and for what has none                  |
| epoch           | passes over the training images                                                               |
| images_of       | train or test                                                                                 |
| test_corruption | the corruption of the test images                                                             |
| test_level      | its level                                                                                     |
| metric          | bce (nats per pixel), mse, psnr (dB) or ssim; means of per-image values                        |
| images          | that were measured, the first of the dataset                                                  |
| seeds           | how many trainings the mean is over                                                           |
| mean            | over images and seeds                                                                         |
| se_images       | its standard error over images (of their means over the seeds); empty in curves               |
| se_seeds        | its standard error over seeds; empty where there is one                                       |

Each experiment has those of the columns that it needs (`COLUMNS`). Its kinds are, besides `identity` (the noisy images)
and `difference` (of two models that saw the same noise, paired):

- noise_levels: baseline, specialist, generalist
- corruptions: baseline, denoiser
- fixed_or_fresh: baseline, curve (as logged in training), final (after the last epoch)
"""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxdae.config import InputError, Level, RunConfig, level_range

Row = dict[str, Any]
STATISTICS = ("metric", "images", "seeds", "mean", "se_images", "se_seeds")
COLUMNS: dict[str, tuple[str, ...]] = {
    "noise_levels": ("kind", "model", "seed", "test_level", *STATISTICS),
    "corruptions": ("kind", "model", "seed", "test_corruption", "test_level", *STATISTICS),
    "fixed_or_fresh": ("kind", "model", "train_images", "seed", "epoch", "images_of", *STATISTICS),
}
TABLE, LINES = "table.csv", "table.jsonl"


def rows_of_population(
    config: RunConfig,
    test_levels: Sequence[float],
    scores: Mapping[str, Float[np.ndarray, "level model image"]],
    images: Sequence[int],
) -> list[Row]:
    """The rows of every model, of every training level over its seeds, and of the generalists' paired differences.

    Args:
        config: names the models.
        test_levels: the first axis of the scores.
        scores: as `evaluation.evaluate_population` gives them.
        images: how many of the first images to take the statistics over; the rows are made for each number.

    Returns:
        The rows. A difference is that of a generalist and the specialist of the test level, model by model of the same
        seed and image by image.
    """
    seeds = len(config.seeds)
    rows = []
    for metric, values in scores.items():
        by_level = np.reshape(values, (len(test_levels), len(config.noise_levels), seeds, -1)).astype(np.float64)
        for count in images:
            for i, test_level in enumerate(test_levels):
                named = dict(zip(config.noise_levels, by_level[i, :, :, :count], strict=True))
                for level, value in named.items():
                    shared = {"kind": _kind(level), "model": str(level), "test_level": test_level, "metric": metric}
                    rows += rows_of_seeds(shared, value, config.seeds)
                    if _kind(level) == "generalist" and test_level in named:
                        names = {"kind": "difference", "model": f"{level} - {test_level}"}
                        rows.append(statistics_row(shared | names, value - named[test_level]))
    return rows


def rows_of_images(shared: Row, scores: Mapping[str, Float[np.ndarray, "image"]], images: Sequence[int]) -> list[Row]:
    """The rows of a denoiser that has no training seed, for each number of first images."""
    return [
        statistics_row(shared | {"metric": metric}, np.asarray(values, np.float64)[None, :count])
        for metric, values in scores.items()
        for count in images
    ]


def _kind(level: Level) -> str:
    low, high = level_range(level)
    return "specialist" if low == high else "generalist"


def rows_of_seeds(shared: Row, values: Float[np.ndarray, "seed image"], seeds: Sequence[int]) -> list[Row]:
    """A row for every seed, and one for their mean."""
    return [statistics_row(shared, values[[i]], seed) for i, seed in enumerate(seeds)] + [
        statistics_row(shared, values)
    ]


def statistics_row(shared: Row, values: Float[np.ndarray, "seed image"], seed: int | None = None) -> Row:
    """A row: what it is of (`shared`, the seed), and the statistics of its values to six digits."""
    seeds, images = values.shape

    def error(samples: np.ndarray) -> float | None:
        return float(samples.std(ddof=1) / math.sqrt(len(samples))) if len(samples) > 1 else None

    numbers = {"mean": float(values.mean()), "se_images": error(values.mean(0)), "se_seeds": error(values.mean(1))}
    rounded = {name: None if x is None or not math.isfinite(x) else float(f"{x:.6g}") for name, x in numbers.items()}
    return shared | {"seed": seed, "images": images, "seeds": seeds} | rounded


def write_table(folder: Path, experiment: str, rows: Sequence[Row]) -> None:
    """Writes the table of an experiment as CSV and as JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    ordered = [{column: row[column] for column in COLUMNS[experiment]} for row in rows]
    with (folder / TABLE).open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS[experiment])
        writer.writeheader()
        writer.writerows(ordered)
    (folder / LINES).write_text("".join(json.dumps(row) + "\n" for row in ordered))


def read_table(folder: Path) -> list[Row]:
    """Reads the table of a results folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder / LINES
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} holds no table ({LINES}); a script in experiments/ makes one") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); make it anew") from None
    if not any(
        rows and all(isinstance(row, dict) and tuple(row) == known for row in rows) for known in COLUMNS.values()
    ):
        raise InputError(f"{path} has not the columns of any experiment ({', '.join(COLUMNS)}); make it anew")
    return rows


def experiment_of(rows: Sequence[Row]) -> str:
    """The experiment whose table has these columns."""
    return next(name for name, columns in COLUMNS.items() if tuple(rows[0]) == columns)


def pick(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """The rows whose columns have these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]
