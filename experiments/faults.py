"""What happens to a run that is killed, whose disk fills, whose files rot, or whose numbers go wrong?

    make faults                                             all but the last two, half an hour or more on two cores
    python experiments/faults.py --parts jobs soak          jobs of 4 processes; 300 epochs with a save each
    python experiments/faults.py --tries 1 --out /tmp/faults    a quick look

Everything is done for real, to processes of the command or to its files. The subject is a run on the embedded digits of
two structures with two members each, four epochs; what has survived ends bit-identical to a run that nothing happened
to. Bad input is refused with one sentence. Writes results/faults/.
"""

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import _bad_files as bad_files
import _bad_input as bad_input
import _faults_of_files as files
import _faults_of_jobs as jobs
import _faults_of_processes as processes
import _report as report
import _shell as shell
import _tables as tables
import jax
import pandas as pd
from _faults_of_processes import Bench, Tried

import jaxdae
from jaxdae import cli

COLUMNS = ["part", "fault", "tries", "survived", "lost", "said"]
SOAK = "soak.csv"


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the trial."""

    parts: tuple[str, ...] = ("killed", "signals", "rotten", "room", "two", "numbers", "input")
    """What is done: killed, signals, rotten, room, two, numbers, input, jobs, soak. Other parts stay in the table."""
    tries: int = 40
    """Of kills; the other faults get a part of it."""
    seconds: float = 5
    """An exit after a signal may take so long; more beside other work."""
    seed: int = 0
    """Of the random moments."""
    dataset: str = "digits"
    """The subject's; no other one."""
    out: Path = Path("results/faults")
    """Results folder: table and README."""


def _parts(options: Options, tried: Bench) -> dict[str, Callable[[], Iterator[Tried]]]:
    few, some = max(1, options.tries // 10), max(1, options.tries // 4)
    return {
        "killed": lambda: processes.killed(tried, options.tries),
        "signals": lambda: _both(
            processes.signalled(tried, some, options.seconds), processes.signalled_twice(tried, few)
        ),
        "rotten": lambda: _both(
            files.rotten_checkpoints(tried, options.tries),
            files.rotten_files(tried, options.tries),
            files.rotten_data(tried, few, options.manual_dir),
        ),
        "room": lambda: processes.without_room(tried, few),
        "two": lambda: processes.two_at_once(tried, few),
        "numbers": lambda: files.wrong_numbers(tried, few),
        "input": lambda: _refused(tried),
        "jobs": lambda: jobs.jobs(tried, 4),
        "soak": lambda: _soaked(tried, options.out),
    }


def _both(*tries: Iterator[Tried]) -> Iterator[Tried]:
    for each in tries:
        yield from each


def _refused(tried: Bench) -> Iterator[Tried]:
    home = tried.new("input")
    bad_files.make_files(home)
    for row in bad_input.run_cases(home):
        verb = row.case.words[0]
        text = row.said if row.ok else f"{row.case.name}: {row.why}; {row.said}"
        yield Tried(f"bad input to {verb if verb in cli.VERBS else 'the command'}", row.ok, text)


def _soaked(tried: Bench, out: Path) -> Iterator[Tried]:
    found, table = jobs.soak(tried, 300)
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / SOAK, index=False)
    yield found


def experiment(options: Options) -> None:
    """Tries every fault; says at once what was lost."""
    jax.config.update("jax_num_cpu_devices", 1)  # as in the subject's processes
    rows, calls = _kept(options)
    with processes.bench(options.seed) as tried:
        parts = _parts(options, tried)
        if unknown := [name for name in options.parts if name not in parts]:
            raise jaxdae.InputError(f"part {unknown[0]!r} is not known; known: {', '.join(parts)}")
        for part in options.parts:
            since, found = time.monotonic(), []
            for one in parts[part]():
                found.append(one)
                print(f"{part}: {one.fault}: {'survived' if one.survived else 'LOST'}  {one.said[:150]}", flush=True)
            command = report.provenance("", "")["command"]
            calls[part] = {"seconds": round(time.monotonic() - since), "command": command}
            rows = [row for row in rows if row["part"] != part] + _summary(part, found)
            rows.sort(key=lambda row: list(parts).index(row["part"]))
            _write(options, rows, calls)


def _write(options: Options, rows: list[dict], calls: dict[str, dict]) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(options.out / tables.TABLE, index=False)
    took = ", ".join(f"{part} {call['seconds']} s" for part, call in calls.items())
    made = report.provenance(took, f"{options.seed} (of the random moments)")
    made["command"] = "`, `".join(dict.fromkeys(call["command"] for call in calls.values()))
    report.write_about(options.out, made, calls=calls)


def _kept(options: Options) -> tuple[list[dict], dict[str, dict]]:
    """The rows of the parts that are in the results folder, and how each was made."""
    table = options.out / tables.TABLE
    if not table.exists():
        return [], {}
    return pd.read_csv(table, keep_default_na=False).to_dict("records"), report.read_about(options.out)["calls"]


def _summary(part: str, found: list[Tried]) -> list[dict]:
    by_fault = collections.defaultdict(list)
    for one in found:
        by_fault[one.fault].append(one)
    rows = []
    for fault, tries in by_fault.items():
        survived = sum(one.survived for one in tries)
        said = next((one.said for one in tries if not one.survived), tries[0].said)
        row = {"part": part, "fault": fault, "tries": len(tries), "survived": survived, "lost": len(tries) - survived}
        rows.append(row | {"said": " ".join(said.split())[:300]})
    return rows


def publish(options: Options) -> None:
    """Writes the README from the table."""
    table = pd.read_csv(options.out / tables.TABLE, keep_default_na=False)
    soaked = options.out / SOAK
    soak = pd.read_csv(soaked) if soaked.exists() else None
    report.write_readme(options.out, "faults", table=table, soak=soak)


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
