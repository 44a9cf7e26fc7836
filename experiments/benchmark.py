"""How fast are a training step and a prediction, compared with the libraries that people come from?

    pip install -e '.[benchmark]'
    python experiments/benchmark.py
    python experiments/benchmark.py --dataset digits --rounds 2 --images 1000    # a quick try

Every contestant runs in a process of its own, all on the same images, batch and cores, and they take turns, round after
round; the ratios are medians over the rounds of two times measured one after the other. A peer that is not installed is
left out and named. Writes results/benchmark/.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import _figures as figures
import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd
from _contestants import BATCH, CONTESTANTS, KERAS, Job, start, take_turns
from matplotlib.figure import Figure

KINDS = ("train", "predict")


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the benchmark."""

    rounds: int = 7
    """Rounds in which every contestant has one turn."""
    steps: int = 10
    """Training steps of a turn."""
    images: int = 10_000
    """Images of a prediction."""
    out: Path = Path("results/benchmark")
    """Results folder: table, figure and README."""


def experiment(options: Options) -> None:
    """Measures jaxdae and its peers, and writes the times."""
    options.load()  # fails here rather than in every contestant
    jobs = [Job(name, options.steps, options.images, options.dataset, options.manual_dir) for name in CONTESTANTS]
    contestants, missing = start(jobs, KINDS)
    take_turns(contestants, KINDS, options.rounds)
    rows = [
        {"contestant": contestant.job.name, "turn": kind, "round": number, "seconds": seconds, "peak": contestant.peak}
        for contestant in contestants
        for kind, first in contestant.first.items()
        for number, seconds in enumerate([first, *contestant.times[kind]])
    ]
    tables.write_table(options.out, pd.DataFrame(rows))
    report.write_about(
        options.out,
        report.provenance(f"{options.rounds} rounds", "0 (noise and weights)"),
        rounds=options.rounds,
        steps=options.steps,
        images=options.images,
        missing=missing,
        matrix_product_rate=matrix_product_rate(),
    )


def matrix_product_rate(side: int = 2048) -> float:
    """FLOP/s of float32 matrix products on all cores, the best of ten."""
    a = np.random.default_rng(0).standard_normal((side, side), np.float32)
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


def step_flops(height: int = 28, width: int = 28) -> float:
    """Floating point operations of a step, counted as plain convolutions: forward, and both gradients but the first."""
    pixels = height * width
    layers = [(pixels, 1, 32), (pixels / 4, 32, 32), (pixels / 16, 32, 32), (pixels / 4, 32, 32), (pixels, 32, 1)]
    forward = [2 * 9 * n * i * o for n, i, o in layers]
    return BATCH * (3 * sum(forward) - forward[0])


def publish(options: Options) -> None:
    """Draws the figure and writes the README, from the files in the results folder."""
    times, about = pd.read_csv(options.out / tables.TABLE), report.read_about(options.out)
    seconds = times[times["round"] > 0].pivot(index="round", columns=["turn", "contestant"], values="seconds")
    names = list(times["contestant"].unique())
    peer = KERAS if KERAS in names else "jaxdae"
    trained = list(seconds["train"])
    ratios = {
        "train": seconds["train"][[name for name in names if name in trained]].div(seconds["train"][peer], axis=0),
        "predict": seconds["predict"][names].div(seconds["predict"][peer], axis=0),
    }
    figures.save_figures(options.out, {"benchmark": bars(ratios, peer, about["images"])})
    step = seconds["train"].median() / about["steps"]
    first = times[times["round"] == 0].set_index(["turn", "contestant"])["seconds"]
    columns = {
        "ms per step": (1e3 * step).map("{:.0f}".format),
        "images/s": (BATCH / step).map("{:,.0f}".format),
        f"step / {peer}": spread(ratios["train"]),
        "jaxdae / step": spread(seconds["train"].rdiv(seconds["train"]["jaxdae"], axis=0)),
        "predict (s)": seconds["predict"][names].median().map("{:.2f}".format),
        f"predict / {peer}": spread(ratios["predict"]),
        "jaxdae / predict": spread(seconds["predict"].rdiv(seconds["predict"]["jaxdae"], axis=0)),
        "compile (s)": (first["train"] - about["steps"] * step).clip(lower=0).map("{:.1f}".format),
        "peak (GB)": (times.groupby("contestant")["peak"].max() / 1e9).map("{:.2f}".format),
        "FLOP/s": (step_flops() / step / about["matrix_product_rate"]).map("{:.0%}".format),
    }
    table = pd.DataFrame(columns).reindex(names).rename_axis(None)
    report.write_readme(options.out, "benchmark", table=table, batch=BATCH, step_gflop=step_flops() / 1e9)


def spread(ratios: pd.DataFrame) -> pd.Series:
    """The median of every column, and its range in brackets."""
    return ratios.agg(lambda column: f"{column.median():.2f} ({column.min():.2f}-{column.max():.2f})")


def bars(ratios: dict[str, pd.DataFrame], peer: str, images: int) -> Figure:
    """Bars of the median ratios, with their range over the rounds."""
    figure = Figure(figsize=(11, 0.4 * ratios["predict"].shape[1] + 1.6), layout="constrained")
    titles = {"train": "training step", "predict": f"{images:,} predictions"}
    for axes, kind in zip(figure.subplots(1, 2), KINDS, strict=True):
        shown = ratios[kind].iloc[:, ::-1]
        middle = shown.median()
        style: dict[str, Any] = {"color": [figures.BLUE if name == "jaxdae" else "0.7" for name in shown]}
        axes.barh(list(shown), middle, xerr=[middle - shown.min(), shown.max() - middle],
                  error_kw={"elinewidth": 1, "capsize": 2}, **style)  # fmt: skip
        axes.set(title=titles[kind], xlabel=f"time / {peer}", xlim=(0, 1.25 * shown.to_numpy().max()))
        axes.grid(axis="x", alpha=0.3)
        for position, name in enumerate(shown):
            end = (shown[name].max(), position)
            axes.annotate(f"{middle[name]:.2f}", end, (5, 0), textcoords="offset points", va="center")
    return figure


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
