"""How fast are the networks of results/models here, compared with the same networks in PyTorch?

    pip install -e '.[benchmark]'
    python experiments/models_speed.py
    python experiments/models_speed.py --dataset digits --rounds 2 --steps 2 --images 500    # a quick try

Both run in processes of their own on the same images, batch and cores (PyTorch: channels_last, float32) and take turns;
the ratios are medians over the rounds of two times measured one after the other. Writes results/models_speed/.
"""

import dataclasses
from pathlib import Path

import _report as report
import _shell as shell
import _tables as tables
import benchmark
import pandas as pd
from _contestants import NETWORKS, Job, start, take_turns

import jaxdae

PEER = "PyTorch, channels_last"


@dataclasses.dataclass(frozen=True)
class Options(benchmark.Options):
    """Settings of the benchmark."""

    steps: int = 4
    """Training steps of a turn."""
    images: int = 1_000
    """Images of a prediction."""
    batch: int = 128
    """Images per step."""
    out: Path = Path("results/models_speed")
    """Results folder: table and README."""


def experiment(options: Options) -> None:
    """Measures every network here and in PyTorch, and writes the times."""
    options.load()  # fails here rather than in every contestant
    rows = []
    for network in ("autoencoder", *NETWORKS):
        base = Job("jaxdae", options.steps, options.images, options.dataset, options.manual_dir, batch=options.batch)
        jobs = [dataclasses.replace(base, name=name, model=network) for name in ("jaxdae", PEER)]
        contestants, missing = start(jobs, benchmark.KINDS)
        if missing:
            raise jaxdae.InputError(f"{missing[0]} is not installed; pip install -e '.[benchmark]'")
        take_turns(contestants, benchmark.KINDS, options.rounds)
        rows += [
            {"network": network, "contestant": each.job.name, "turn": kind, "round": number, "seconds": seconds}
            for each in contestants
            for kind in benchmark.KINDS
            for number, seconds in enumerate(each.times[kind], 1)
        ]
    tables.write_table(options.out, pd.DataFrame(rows))
    report.write_about(
        options.out,
        report.provenance(f"{options.rounds} rounds", "0 (noise and weights)"),
        rounds=options.rounds,
        steps=options.steps,
        images=options.images,
        batch=options.batch,
    )


def publish(options: Options) -> None:
    """Writes the README from the files in the results folder."""
    times, about = pd.read_csv(options.out / tables.TABLE), report.read_about(options.out)
    networks = list(times["network"].unique())
    columns = {}
    for kind, unit, count in (
        ("train", "training images/s", about["steps"] * about["batch"]),
        ("predict", "predicted images/s", about["images"]),
    ):
        seconds = times[times["turn"] == kind].pivot(index="round", columns=["contestant", "network"], values="seconds")
        for name in ("jaxdae", PEER):
            columns[f"{unit}, {name}"] = (count / seconds[name].median()).map("{:,.0f}".format)
        columns[f"time of {kind} / PyTorch"] = benchmark.spread(seconds["jaxdae"].div(seconds[PEER]))
    table = pd.DataFrame(columns).loc[networks].rename_axis("network")
    report.write_readme(options.out, "models_speed", table=table)


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
