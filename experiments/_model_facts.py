"""Statements on the page of models: which networks are above classical denoisers, and what more epochs would do."""

from pathlib import Path
from typing import Any

import _report as report
import _tables as tables
import pandas as pd
from _tables import pick

PLAIN, MIDDLE = "with biases", "0.5"


def networks_above(rows: pd.DataFrame) -> dict[str, str]:
    """How many networks of each family are above every classical denoiser, as text, by test level."""
    counts = _counts_above(rows)
    networks = pick(rows, kind="denoiser")
    sizes = networks.groupby(["model", "test_level"])["mean"].size().groupby("model").max()
    return {
        f"{level:g}": ", ".join(f"{family} {of[family]} of {sizes[family]}" for family in counts)
        for level, of in counts.iterrows()
    }


def families_behind(rows: pd.DataFrame) -> dict[str, list[str]]:
    """The test levels at which no network of a family is above every classical denoiser, by family."""
    counts = _counts_above(rows)
    levels = {name: [f"{level:g}" for level in counts.index[counts[name] == 0]] for name in counts}
    return {name: behind for name, behind in levels.items() if behind}


def _counts_above(rows: pd.DataFrame) -> pd.DataFrame:
    """How many networks are above every classical denoiser, test levels down and families across."""
    bound = pick(rows, kind="baseline").groupby("test_level")["mean"].max()
    networks = pick(rows, kind="denoiser")
    networks = networks[networks["test_level"].isin(bound.index)]
    above = networks["mean"] > networks["test_level"].map(bound)
    keys = [networks["test_level"], networks["model"]]
    return above.groupby(keys, sort=False).sum().unstack("model").sort_index()


def beside_longer(out: Path, table: pd.DataFrame) -> dict[str, Any]:
    """U-Nets minus the autoencoder at level 0.5: that of the table, and that of noise_levels, which had more epochs.

    Args:
        out: the results folder of models; that of noise_levels is looked for beside it.
        table: of models.

    Returns:
        `epochs` and `psnr` of the other autoencoder, and `gains`, (above ours, above the other) in dB by U-Net. On the
        first test images, on which both were measured with the same noise. Empty where there is no such comparison.
    """
    home = out.parent / "noise_levels"
    if not (home / tables.TABLE).exists():
        return {}
    theirs, ours = _at_middle(tables.read_table(home, "noise_levels")), _at_middle(table)
    longer = pick(theirs, kind="specialist", model=MIDDLE)["mean"]
    if longer.empty or _noisy(theirs) != _noisy(ours):
        return {}
    own = pick(ours, kind="denoiser", variant=PLAIN, trained_at=MIDDLE).set_index("model")["mean"]
    gains = {name: (own[name] - own["autoencoder"], own[name] - longer.iloc[0]) for name in ("unet", "large unet")}
    return {"epochs": report.read_about(home)["epochs"], "psnr": longer.iloc[0], "gains": gains}


def _at_middle(table: pd.DataFrame) -> pd.DataFrame:
    """PSNR at level 0.5 on the first test images, means over seeds."""
    rows = pick(table, metric="psnr", seed=None)
    return pick(tables.of_fewest_images(rows), test_level=float(MIDDLE))


def _noisy(rows: pd.DataFrame) -> list[list[float]]:
    """The number of noisy images and their PSNR, by which the same ones are known."""
    return pick(rows, kind="identity")[["images", "mean"]].to_numpy().tolist()
