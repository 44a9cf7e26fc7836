"""Which pages of a TIFF file follow each other in time, by the axes that the file names."""

import itertools
import math
from pathlib import Path
from typing import Any

import tifffile

from jaxdae.errors import InputError

TIME, CHANNEL = "T", "C"
NAMELESS = ("Q", "I")
"""Axes of a stack of which the file says no more than that it is one."""


def page_sequences(path: Path, pages: int, *, channels: bool = False) -> tuple[list[tuple[int, ...]], str]:
    """The sequence of each page, by numbers that are equal within one; and what was assumed, as a sentence.

    Pages of one sequence differ in time alone: of a file with channels or slices, each is its own. Where no axis is
    time, the first that is no channel is taken for it, which is said.

    Args:
        path: a TIFF file.
        pages: how many it has.
        channels: take even channels for time, where there is no other axis.

    Raises:
        InputError: its pages are channels of one picture.
    """
    with tifffile.TiffFile(path) as file:
        series = [_leading(series) for series in file.series]
        numbered = [_page_numbers(series, len(file.pages)) for series in file.series]
    sequences: list[tuple[int, ...]] = [()] * pages
    assumed = ""
    for number, ((axes, shape), members) in enumerate(zip(series, numbered, strict=True)):
        if not axes:
            continue
        time = _time(path, axes, channels)
        assumed = assumed or ("" if axes[time] == TIME else _assumption(path, axes, time))
        for page, place in zip(members, itertools.product(*map(range, shape)), strict=False):
            if 0 <= page < pages:
                sequences[page] = (number, *place[:time], *place[time + 1 :])
    return sequences, assumed


def _time(path: Path, axes: str, channels: bool) -> int:
    """Which axis is time, or is taken for it."""
    if TIME in axes:
        return axes.index(TIME)
    others = [place for place, axis in enumerate(axes) if axis != CHANNEL or channels]
    if not others:
        raise InputError(
            f"{path} holds the channels of one picture (its axes are {axes}YX), no frames in time; if they are frames, "
            "save them with the axes TYX, or give --allow-motion"
        )
    return others[0]


def _leading(series: Any) -> tuple[str, tuple[int, ...]]:
    """The axes of a series beside those of its pages, and their lengths."""
    keyframe = series.keyframe
    count = series.ndim - keyframe.ndim
    return series.axes[:count], series.shape[:count]


def _page_numbers(series: Any, pages: int) -> list[int]:
    """The numbers of the pages of a series in its own order; of a stack behind one page, those of its frames."""
    frames = math.prod(_leading(series)[1])
    if pages == 1 and frames > 1:
        return list(range(frames))
    return [-1 if page is None else int(page.index) for page in series.pages]


def _assumption(path: Path, axes: str, time: int) -> str:
    if len(axes) == 1 and axes in NAMELESS:
        return f"{path}: it names no axis of time; its pages are taken for frames in their order"
    return f"{path}: its axes {axes}YX name no time; {axes[time]} is taken for it"
