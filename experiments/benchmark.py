"""How fast are a training step and a prediction, next to the peers that people come from?

    pip install -e '.[benchmark]'
    python experiments/benchmark.py
    python experiments/benchmark.py --scaling

Every contestant runs in a process of its own, all on the same images, batch and cores, and they take turns, round after
round; the ratios are medians over the rounds of two times measured one after the other. A peer that is not installed is
left out and named. Writes results/benchmark/; with `--scaling`, how time and memory grow with the population, the side
of the images and the number of devices.
"""

import dataclasses
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro
from _contestants import BATCH, CONTESTANTS, KERAS, Contestant, Job
from _report import command_line, markdown_table, provenance
from _shell import run_script
from matplotlib.axes import Axes
from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the benchmark."""

    rounds: int = 7
    """Rounds in which every contestant has one turn."""
    steps: int = 10
    """Training steps of a turn."""
    images: int = 10_000
    """Images of a prediction."""
    dataset: str = "mnist"
    """The images."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    out: Path = Path("results/benchmark")
    """Where tables and charts go."""
    scaling: bool = False
    """Measure how jaxdae scales instead of comparing it."""


def start(jobs: Sequence[Job], kinds: tuple[str, ...]) -> tuple[list[Contestant], list[str]]:
    """The contestants that are installed, and the others with the reason."""
    contestants, missing = [], []
    for job in jobs:
        try:
            contestants.append(Contestant(job, kinds))
        except ModuleNotFoundError as error:
            missing.append(f"{job.name} ({error})")
    return contestants, missing


def take_turns(contestants: Sequence[Contestant], kinds: tuple[str, ...], rounds: int) -> None:
    """Has them all measured in turn, round after round, and ends them."""
    for _ in range(rounds):
        for kind in kinds:
            for contestant in contestants:
                contestant.take_turn(kind)
    for contestant in contestants:
        contestant.stop()


def ratios(ours: Contestant, theirs: Contestant, kind: str) -> list[float]:
    """The ratios of two contestants' times, round by round."""
    return [a / b for a, b in zip(ours.times[kind], theirs.times[kind], strict=True)]


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


def compare(options: Options) -> None:
    """Measures jaxdae and its peers, and writes the table, the chart and the README."""
    kinds = ("train", "predict")
    jobs = [Job(name, options.steps, options.images, options.dataset, options.manual_dir) for name in CONTESTANTS]
    contestants, missing = start(jobs, kinds)
    take_turns(contestants, kinds, options.rounds)
    rate = matrix_product_rate()
    by_name = {contestant.job.name: contestant for contestant in contestants}
    ours, peer = by_name["jaxdae"], by_name.get(KERAS, by_name["jaxdae"])

    def row(contestant: Contestant) -> list[str]:
        step = statistics.median(contestant.times["train"]) / options.steps
        steps, predictions = (ratios(contestant, peer, kind) for kind in kinds)
        return [
            contestant.job.name,
            f"{1e3 * step:.0f}",
            f"{BATCH / step:,.0f}",
            spread(steps),
            spread(ratios(ours, contestant, "train")),
            f"{statistics.median(contestant.times['predict']):.2f}",
            spread(predictions),
            f"{max(0.0, contestant.first['train'] - options.steps * step):.1f}",
            f"{contestant.peak / 1e9:.2f}",
            f"{step_flops() / step / rate:.0%}",
        ]

    header = ["", "ms per step", "images/s", f"step / {peer.job.name}", "jaxdae / step", "predict (s)",
              f"predict / {peer.job.name}", "compile (s)", "peak (GB)", "FLOP/s"]  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    measured = {name: {"train": c.times["train"], "predict": c.times["predict"], "first": c.first, "peak_bytes": c.peak}
                for name, c in by_name.items()}  # fmt: skip
    (options.out / "times.json").write_text(json.dumps(measured, indent=1) + "\n")
    bars(contestants, peer, options).savefig(options.out / "benchmark.png", dpi=100)
    text = f"""# Speed

How long does a training step of the seed experiment's model (batch {BATCH}) take, and the prediction of
{options.images:,} images, next to the peers?

{markdown_table(header, [row(contestant) for contestant in contestants])}

![ratios](benchmark.png)

How to read it: medians over {options.rounds} rounds, with the lowest and highest ratio in brackets; in a round every
contestant takes one turn of {options.steps} steps and one prediction, and a ratio is that of two times in the same
round. On a shared machine trust the ratios, not the milliseconds. "jaxdae / step" is jaxdae's time as a share of the
row's. jaxdae draws its noise within the step; the peers are given noisy images. "compile" is what the first turn took
beyond the usual. "peak" is the process's memory, the same {options.images:,} images for all. "FLOP/s" counts the step
as plain convolutions ({step_flops() / 1e9:.1f} GFLOP), as a share of this machine's rate in large matrix products
({rate / 1e9:.0f} GFLOP/s): a method that needs fewer products than plain convolution is credited with those that it
saves. Left out: {", ".join(missing) or "none"}. All times: [times.json](times.json). How jaxdae scales with the
population, the images and the devices: [scaling](scaling.md).

{provenance(command_line(), f"{options.rounds} rounds", "0 (noise and weights)")}
"""
    (options.out / "README.md").write_text(text)
    print(text)


def spread(values: Sequence[float]) -> str:
    """The median, and the range in brackets."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def bars(contestants: Sequence[Contestant], peer: Contestant, options: Options) -> Figure:
    """Bars of the median ratios, with their range over the rounds."""
    figure = Figure(figsize=(8, 0.55 * len(contestants) + 1.6), layout="constrained")
    titles = ("training step", f"{options.images:,} predictions")
    for axes, kind, title in zip(figure.subplots(1, 2, sharey=True), ("train", "predict"), titles, strict=True):
        values = [ratios(contestant, peer, kind) for contestant in contestants[::-1]]
        names = [contestant.job.name for contestant in contestants[::-1]]
        middle = [statistics.median(v) for v in values]
        reach = [[m - min(v) for m, v in zip(middle, values, strict=True)],
                 [max(v) - m for m, v in zip(middle, values, strict=True)]]  # fmt: skip
        colors = ["#0072b2" if name == "jaxdae" else "0.7" for name in names]
        axes.barh(names, middle, xerr=reach, color=colors, error_kw={"elinewidth": 1, "capsize": 2})
        axes.set(title=title, xlabel=f"time, {peer.job.name} = 1")
        axes.grid(axis="x", alpha=0.3)
        for position, (value, ratio) in enumerate(zip(middle, values, strict=True)):
            axes.annotate(f"{value:.2f}", (max(ratio), position), (5, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, 1.2 * max(map(max, values)))
    return figure


@dataclasses.dataclass(frozen=True)
class Curve:
    """One question of scaling: how time and memory depend on one number."""

    title: str
    xlabel: str
    values: Sequence[int]
    jobs: Sequence[Job]
    unit: str
    """Of the time on the vertical axis."""
    share: Sequence[float]
    """By what a step's time is divided, for each value."""


def curves(options: Options) -> list[Curve]:
    """The questions."""
    job = Job(steps=options.steps, images=0, dataset=options.dataset, manual_dir=options.manual_dir)
    short = dataclasses.replace(job, steps=max(1, options.steps // 3))
    populations, enlargements = (1, 2, 4, 8, 16), (1, 2, 4, 8)
    devices = range(1, len(os.sched_getaffinity(0)) + 1)
    together = (1, 2, 4)
    side = 28
    return [
        Curve("population", "models", populations,
              [dataclasses.replace(short, models=n) for n in populations], "ms per model and step", populations),
        Curve("models at once (population of 4)", "models that step together", together,
              [dataclasses.replace(short, models=4, models_at_once=n) for n in together],
              "ms per model and step", [4] * 3),
        Curve("images (batch 16)", "side in pixels", [side * n for n in enlargements],
              [dataclasses.replace(job, enlarge=n, batch=16) for n in enlargements],
              "us per 1,000 pixels", [16 * (side * n) ** 2 / 1e6 for n in enlargements]),
        Curve("devices", "CPU cores as devices", devices,
              [dataclasses.replace(job, devices=n) for n in devices], "ms per step", [1] * len(devices)),
    ]  # fmt: skip


def scale(options: Options) -> None:
    """Measures how jaxdae scales, and writes the tables and the chart."""
    parts, measured = [], {}
    figure = Figure(figsize=(11, 6), layout="constrained")
    grid = figure.subplots(2, 4)
    for column, curve in enumerate(curves(options)):
        contestants, _ = start(curve.jobs, ("train",))
        take_turns(contestants, ("train",), options.rounds)
        times = [[1e3 * seconds / c.job.steps / share for seconds in c.times["train"]]
                 for c, share in zip(contestants, curve.share, strict=True)]  # fmt: skip
        peaks = [contestant.peak / 1e9 for contestant in contestants]
        relative = [[a / b for a, b in zip(time, times[0], strict=True)] for time in times]
        rows = [[str(value), f"{statistics.median(time):.1f}", spread(ratio), f"{peak:.2f}"]
                for value, time, ratio, peak in zip(curve.values, times, relative, peaks, strict=True)]  # fmt: skip
        header = [curve.xlabel, curve.unit, f"against {curve.values[0]}", "peak (GB)"]
        parts.append(f"## {curve.title.capitalize()}\n\n{markdown_table(header, rows)}")
        measured[curve.title] = {"values": list(curve.values), "times": times, "peak_gb": peaks}
        draw_curve(grid[0, column], grid[1, column], curve, times, peaks)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scaling.json").write_text(json.dumps(measured, indent=1) + "\n")
    figure.savefig(options.out / "scaling.png", dpi=90)
    text = f"""# How jaxdae scales

![time and memory](scaling.png)

{chr(10).join(part + chr(10) for part in parts)}
Medians over {options.rounds} rounds of turns taken one after the other; "against" is the ratio to the first row in the
same round, with its range. A population's models step in turn on a CPU, so a ratio of 1 means that a program of many
models costs what as many programs of one do. Memory is the process's peak.

{provenance(command_line(), f"{options.rounds} rounds", "0 (noise and weights)")}
"""
    (options.out / "scaling.md").write_text(text)
    print(text)


def draw_curve(above: Axes, below: Axes, curve: Curve, times: list[list[float]], peaks: list[float]) -> None:
    """The time of a curve above its memory."""
    middle = [statistics.median(time) for time in times]
    reach = [[m - min(t) for m, t in zip(middle, times, strict=True)],
             [max(t) - m for m, t in zip(middle, times, strict=True)]]  # fmt: skip
    above.errorbar(curve.values, middle, yerr=reach, marker="o", capsize=2, color="#0072b2")
    above.set(title=curve.title, ylabel=curve.unit, ylim=(0, None))
    below.plot(curve.values, peaks, marker="o", color="#d55e00")
    below.set(xlabel=curve.xlabel, ylabel="peak memory (GB)", ylim=(0, None))
    for axes in (above, below):
        axes.set_xscale("log", base=2)
        axes.set_xticks(list(curve.values), [str(value) for value in curve.values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)


if __name__ == "__main__":
    chosen = tyro.cli(Options, description=__doc__)
    run_script(scale if chosen.scaling else compare, chosen)
