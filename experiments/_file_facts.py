"""Statements on the page of photographs: denoisers paired by picture, and what 8-bit files cost."""

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import _report as report
import pandas as pd
from _eight_bit import BLACK_SIDE, DENOISERS

from jaxdae.evaluation.clipping import MAX_SHARE

PICTURE = ["set", "picture", "level"]
SHARES = (0.0, 0.01, 0.05, 0.1, 0.2, 1.0)
"""Bounds of the shares of clipped values that are shown together."""


def gains(rows: pd.DataFrame, networks: Iterable[str]) -> dict[str, list[str]]:
    """What each network is above BM3D on BSD68, by level, with its standard error over pictures."""
    if "bm3d" not in set(rows["denoiser"]):
        return {}
    bsd68 = rows[rows["set"] == "bsd68"]
    found = {}
    for name in [name for name in networks if name in set(bsd68["denoiser"])]:
        gap = complete(bsd68, (name, "bm3d"))
        by_level = (gap[name] - gap["bm3d"]).groupby("level")
        found[name] = [with_error(values) for _, values in by_level]
    return found


def files(out: Path, unclipped: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    """The tables of the 8-bit files, beside those of unclipped noise on the same pictures."""
    psnr = complete(table, DENOISERS)
    before = complete(unclipped, DENOISERS)
    same = before.loc[before.index.intersection(psnr.index)]
    lost = losses(unclipped, table, "photos")
    pictures = psnr.reset_index().groupby("set")["picture"].nunique().to_dict()
    black = report.read_about(out / "files")["black"]
    return {
        "unclipped": compared(same, "photos", "bm3d"),
        "clipped": compared(psnr, "photos", "bm3d"),
        "losses": loss_table(lost),
        "by_share": loss_by_share(lost),
        "pictures": pictures,
        "bound": MAX_SHARE,
        "black_side": BLACK_SIDE,
        "black": pd.DataFrame(black).map("{:.3f}".format).add_suffix(" of 255").rename_axis("black, mean left"),
    }


def overlap(out: Path, found: pd.DataFrame) -> dict[str, Any]:
    """The most alike pair of a test picture and a training picture, beside what a part of a training picture has."""
    part = found["most_alike"].map(report.read_about(out / "overlap")["parts"])
    most = found.assign(part=part).loc[found["correlation"].idxmax()]
    return most.to_dict() | {"as_alike_as_a_part": int((found["correlation"] >= part).sum())}


def complete(rows: pd.DataFrame, denoisers: tuple[str, ...]) -> pd.DataFrame:
    """PSNR by set, picture and level, a column for each denoiser; of pictures that all of them were measured on."""
    wide = rows.pivot(index=PICTURE, columns="denoiser", values="psnr")
    return wide.reindex(columns=list(denoisers)).dropna()


def compared(psnr: pd.DataFrame, ours: str, theirs: str) -> pd.DataFrame:
    """The means of all denoisers, the difference of two of them and its worst picture, as text by set and level.

    The difference is paired by picture: its mean and the standard error over pictures.
    """
    lines = {}
    for (of, level), rows in psnr.groupby(["set", "level"]):
        gaps = rows[ours] - rows[theirs]
        worst = gaps.idxmin()
        named = {"pictures": f"{len(gaps)}"} | rows.mean().map("{:.2f}".format).to_dict()
        gap = {f"{ours} - {theirs}": with_error(gaps), "worst picture": f"{worst[1]}, {gaps[worst]:+.2f}"}
        lines[f"{of} {level}"] = named | gap
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("PSNR in dB")


def losses(unclipped: pd.DataFrame, files: pd.DataFrame, denoiser: str) -> pd.DataFrame:
    """What 8-bit files cost a denoiser, in dB of each picture (`loss`), and their share of values that are clipped."""
    before, after = (rows[rows["denoiser"] == denoiser].set_index(PICTURE) for rows in (unclipped, files))
    loss = (before["psnr"] - after["psnr"]).dropna()
    return pd.DataFrame({"loss": loss, "clipped": after["clipped"].loc[loss.index]})


def loss_table(found: pd.DataFrame) -> pd.DataFrame:
    """The mean loss and the picture with the largest one, by set and level."""
    lines = {}
    for (of, level), rows in found.groupby(["set", "level"]):
        loss = rows["loss"]
        worst = loss.idxmax()
        lines[f"{of} {level}"] = {
            "pictures": f"{len(loss)}",
            "mean loss": with_error(loss, sign=""),
            "largest": f"{worst[1]}, {loss[worst]:.2f}",
        }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("dB")


def loss_by_share(found: pd.DataFrame) -> pd.DataFrame:
    """The losses of pictures with about as many clipped values, at all levels."""
    lines: dict[str, dict[str, Any]] = {}
    for low, high in itertools.pairwise(SHARES):
        loss = found["loss"][(found["clipped"] > low) & (found["clipped"] <= high)]
        if len(loss):
            lines[f"{100 * low:g} to {100 * high:g} %"] = {
                "pictures and levels": f"{len(loss)}",
                "least": f"{loss.min():.2f}",
                "median": f"{loss.median():.2f}",
                "largest": f"{loss.max():.2f}",
            }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("values at 0 or 255")


def with_error(values: pd.Series, sign: str = "+") -> str:
    """The mean, and of several values its standard error, as text."""
    error = f" ± {values.sem():.2f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.2f}{error}"
