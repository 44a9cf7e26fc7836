"""The tidy table of an experiment, table.csv: a row for every model, test and metric. Its figures are drawn from it.

| column          |                                                                                             |
|-----------------|---------------------------------------------------------------------------------------------|
| kind            | what the row describes (below)                                                              |
| model           | training level (0.5, 0:1), corruption, draw or family; the name of a baseline; or `a - b`   |
| variant         | what distinguishes networks of a family: biases, level input, objective                     |
| trained_at      | training level                                                                              |
| train_images    | number of training images                                                                   |
| seed            | training seed; empty for the mean over `seeds` seeds, and where training has no seed        |
| epoch           | passes over the training images                                                             |
| images_of       | train or test                                                                               |
| test_corruption | corruption of the test images                                                               |
| test_level      | its level                                                                                   |
| metric          | bce (nats per pixel), mse, psnr (dB) or ssim; means of per-image values                     |
| images          | number of images measured, the first of the dataset                                         |
| seeds           | number of trainings in the mean                                                             |
| mean            | mean over images and seeds                                                                  |
| se_images       | its standard error over images (of their means over the seeds); empty in curves             |
| se_seeds        | its standard error over seeds; empty for one seed                                           |

Each experiment has the columns that it needs (`COLUMNS`). Besides `identity` (the noisy images; where they are clipped,
their bce is made by the bound of `metrics.bce`) and `difference` (of two models on the same noisy images, paired by
seed and image), the kinds are:

- noise_levels: baseline, specialist (trained at one level), generalist (blind: trained on a range of levels)
- corruptions: baseline, denoiser
- models: baseline, denoiser; a difference is that to the specialist of the level, or to supervised training
- fixed_or_fresh: baseline, curve (logged during training), final (after the last epoch)
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxdae import InputError

Row = dict[str, Any]
Scores = Mapping[str, np.ndarray]
"""Metrics of a model for each (seed, image)."""

TABLE = "table.csv"
STATISTICS = ("metric", "images", "seeds", "mean", "se_images", "se_seeds")
COLUMNS: dict[str, tuple[str, ...]] = {
    "noise_levels": ("kind", "model", "seed", "test_level", *STATISTICS),
    "corruptions": ("kind", "model", "seed", "test_corruption", "test_level", *STATISTICS),
    "models": ("kind", "model", "variant", "trained_at", "seed", "test_level", *STATISTICS),
    "fixed_or_fresh": ("kind", "model", "train_images", "seed", "epoch", "images_of", *STATISTICS),
}
TYPES = {
    **dict.fromkeys(("kind", "model", "variant", "trained_at", "images_of", "test_corruption", "metric"), "str"),
    **dict.fromkeys(("train_images", "seed", "epoch", "images", "seeds"), "Int64"),
    **dict.fromkeys(("test_level", "mean", "se_images", "se_seeds"), "float64"),
}
"""Int64 has missing values."""


def summarize(keys: Row, scores: Scores, counts: Sequence[int], seeds: Sequence[int] = ()) -> list[Row]:
    """The rows of one model, with statistics to six digits.

    Args:
        keys: the columns that name the model and the test.
        scores: the metrics, (seed, image).
        counts: numbers of first images to take the statistics over.
        seeds: the training seeds. Each has a row of its own, beside the mean over all.
    """
    rows = []
    for metric, values in scores.items():
        for count in counts:
            named, first = keys | {"metric": metric}, np.asarray(values, np.float64)[:, :count]
            rows += [named | {"seed": seed} | _statistics(first[[i]]) for i, seed in enumerate(seeds)]
            rows.append(named | _statistics(first))
    return rows


def by_model(scores: Mapping[str, np.ndarray], test: int, members: Mapping[str, Sequence[int]]) -> dict[str, Scores]:
    """The metrics of every model in one test.

    Args:
        scores: as `evaluation.measure` returns them, (test, member, image).
        test: the position of the test.
        members: the indices of each model's members, one for each seed.
    """
    return {name: {metric: scores[metric][test, of] for metric in scores} for name, of in members.items()}


def difference(ours: Scores, theirs: Scores) -> Scores:
    """The paired differences of two models' metrics."""
    return {metric: ours[metric].astype(np.float64) - theirs[metric] for metric in ours}


def one_seed(scores: Mapping[str, np.ndarray]) -> Scores:
    """The metrics of a denoiser without training seed, (image,), as those of one seed."""
    return {metric: np.asarray(values)[None] for metric, values in scores.items()}


def _statistics(values: np.ndarray) -> Row:
    def error(samples: np.ndarray) -> float:
        return samples.std(ddof=1) / math.sqrt(len(samples)) if len(samples) > 1 else math.nan

    numbers = {"mean": values.mean(), "se_images": error(values.mean(0)), "se_seeds": error(values.mean(1))}
    rounded = {name: float(f"{x:.6g}") if math.isfinite(x) else None for name, x in numbers.items()}
    return {"seeds": values.shape[0], "images": values.shape[1]} | rounded


def make_table(experiment: str, rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as the table of an experiment."""
    columns = COLUMNS[experiment]
    return pd.DataFrame(list(rows), columns=list(columns)).astype({column: TYPES[column] for column in columns})


def write_table(folder: Path, table: pd.DataFrame) -> None:
    """Writes a table into a results folder."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / TABLE, index=False)


def read_table(folder: Path, experiment: str) -> pd.DataFrame:
    """Reads the table of an experiment from its results folder.

    Raises:
        InputError: there is none, it belongs to another experiment, or it is damaged.
    """
    path = folder / TABLE
    try:
        table = pd.read_csv(path, dtype=TYPES)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} holds no {TABLE}; run the experiment without --redraw") from None
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); run the experiment again") from None
    if tuple(table.columns) != COLUMNS[experiment]:
        raise InputError(f"{path} does not have the columns of {experiment} ({', '.join(COLUMNS[experiment])})")
    return table


def pick(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows whose columns have these values; None is the empty value."""
    for column, value in wanted.items():
        table = table[table[column].isna() if value is None else table[column] == value]
    return table


def of_most_images(table: pd.DataFrame) -> pd.DataFrame:
    """The rows over the largest number of images."""
    return table[table["images"] == table["images"].max()]


def of_fewest_images(table: pd.DataFrame) -> pd.DataFrame:
    """The rows over as many images as the baselines were measured on."""
    return table[table["images"] == table["images"].min()]


def mean_and_error(table: pd.DataFrame, spec: str) -> pd.Series:
    """Each row's mean ± its standard error over seeds, or over images for one seed, as text."""
    errors = table["se_seeds"].fillna(table["se_images"])
    return table["mean"].map(f"{{:{spec}}}".format) + " ± " + errors.map(f"{{:{spec.lstrip('+')}}}".format)


def as_text(columns: Mapping[str, pd.Series] | pd.DataFrame, spec: str) -> pd.DataFrame:
    """Columns of numbers as text; missing ones stay missing."""
    return pd.DataFrame(columns).map(f"{{:{spec}}}".format, na_action="ignore")
