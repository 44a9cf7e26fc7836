"""How do the time and memory of training scale with the members, the image size and the number of devices?

    python experiments/scaling.py
    python experiments/scaling.py --dataset digits --rounds 2 --steps 3    # a quick try

Every setting runs in a process of its own, and they take turns, round after round; the ratios are medians over the
rounds of two times measured one after the other. Writes results/scaling/.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import _figures as figures
import _report as report
import _shell as shell
import _tables as tables
import pandas as pd
from _contestants import Job, start, take_turns
from benchmark import spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIDE = 28


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the benchmark."""

    rounds: int = 7
    """Rounds in which every setting has one turn."""
    steps: int = 10
    """Training steps of a turn."""
    out: Path = Path("results/scaling")
    """Results folder: table, figure and README."""


class Curve(NamedTuple):
    """One question: how time and memory depend on one number."""

    xlabel: str
    jobs: dict[int, Job]
    """By that number."""
    unit: str
    """Of the time."""
    share: Callable[[int], float]
    """By what the milliseconds of a step are divided, for each number."""


def curves(options: Options) -> dict[str, Curve]:
    """The questions, by title."""
    job = Job(steps=options.steps, images=0, dataset=options.dataset, manual_dir=options.manual_dir)
    short = dataclasses.replace(job, steps=max(1, options.steps // 3))
    cores = len(os.sched_getaffinity(0))

    def vary(base: Job, field: str, values: Sequence[int], scale: int = 1) -> dict[int, Job]:
        fields = dataclasses.asdict(base)
        return {scale * value: Job(**(fields | {field: value})) for value in values}

    return {
        "members": Curve(
            "members",
            vary(short, "members", (1, 2, 4, 8, 16)),
            "ms per member and step",
            lambda members: members,
        ),
        **{
            f"4 members by {way}": Curve(
                "members that step together",
                vary(dataclasses.replace(short, members=4, population=way), "members_at_once", (1, 2, 4)),
                "ms per member and step",
                lambda at_once: 4,
            )
            for way in ("vmap", "products")
        },
        "images (batch 16)": Curve(
            "side in pixels",
            vary(dataclasses.replace(job, batch=16), "enlarge", (1, 2, 4, 8), SIDE),
            "us per 1,000 pixels",
            lambda side: 16 * side**2 / 1e6,
        ),
        "devices": Curve(
            "CPU cores as devices",
            vary(job, "devices", range(1, cores + 1)),
            "ms per step",
            lambda devices: 1,
        ),
    }


def experiment(options: Options) -> None:
    """Measures every setting of every curve, and writes the times."""
    options.load()  # fails here rather than in every process
    rows = []
    for title, curve in curves(options).items():
        contestants, missing = start(list(curve.jobs.values()), ("train",))
        assert not missing, missing
        take_turns(contestants, ("train",), options.rounds)
        for value, contestant in zip(curve.jobs, contestants, strict=True):
            unit = 1e3 / contestant.job.steps / curve.share(value)
            rows += [
                {"curve": title, "value": value, "round": number, "time": unit * seconds, "peak": contestant.peak}
                for number, seconds in enumerate(contestant.times["train"], 1)
            ]
    tables.write_table(options.out, pd.DataFrame(rows))
    report.write_about(
        options.out, report.provenance(f"{options.rounds} rounds", "0 (noise and weights)"), rounds=options.rounds
    )


def publish(options: Options) -> None:
    """Draws the figure and writes the README, from the files in the results folder."""
    table = pd.read_csv(options.out / tables.TABLE)
    figure = Figure(figsize=(13, 6), layout="constrained")
    panels = figure.subplots(2, len(curves(options)))
    sections = {}
    for (title, curve), above, below in zip(curves(options).items(), *panels, strict=True):
        rows = table[table["curve"] == title]
        times = rows.pivot(index="round", columns="value", values="time")
        peaks = rows.groupby("value")["peak"].max() / 1e9
        draw(above, below, title, curve, times, peaks)
        columns = {
            curve.unit: times.median().map("{:.1f}".format),
            f"compared with {times.columns[0]}": spread(times.div(times.iloc[:, 0], axis=0)),
            "peak (GB)": peaks.map("{:.2f}".format),
        }
        sections[title] = pd.DataFrame(columns).rename_axis(curve.xlabel)
    figures.save_figures(options.out, {"scaling": figure}, dpi=90)
    report.write_readme(options.out, "scaling", sections=sections)


def draw(above: Axes, below: Axes, title: str, curve: Curve, times: pd.DataFrame, peaks: pd.Series) -> None:
    """The time of a curve above its memory."""
    middle, values = times.median(), list(times.columns)
    reach = [middle - times.min(), times.max() - middle]
    above.errorbar(values, middle, yerr=reach, marker="o", capsize=2, color=figures.BLUE)
    above.set(title=title, ylabel=curve.unit, ylim=(0, 1.05 * times.to_numpy().max()))
    below.plot(values, peaks, marker="o", color=figures.ORANGE)
    below.set(xlabel=curve.xlabel, ylabel="peak memory (GB)", ylim=(0, 1.1 * peaks.max()))
    for axes in (above, below):
        axes.set_xscale("log", base=2)
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
