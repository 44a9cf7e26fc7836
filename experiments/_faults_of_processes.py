"""Faults that come from outside, done to processes of the command: kills, signals, full disks, a second process."""

import contextlib
import dataclasses
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from _subject import PHASES

import jaxdae
from jaxdae.runs import folder

SUBJECT = Path(__file__).with_name("_subject.py")
TRAIN = (
    "train", "--dataset", "digits", "--widths", "2", "4", "--depths", "1", "--noise-levels", "0.3", "0.5",
    "--batch-size", "250", "--chunk-steps", "2", "--epochs", "4", "--no-progress",
)  # fmt: skip
"""A run of two structures with two members each; an epoch has three chunks of each."""


class Tried(NamedTuple):
    """One try of a fault."""

    fault: str
    survived: bool
    said: str = ""
    """Of the command, or what was wrong."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where the faults are tried: a scratch folder with an undisturbed run to compare with, and its own cache."""

    scratch: Path
    seed: int

    @property
    def undisturbed(self) -> Path:
        """The run that nothing happened to."""
        return self.scratch / "undisturbed"

    def draw(self, fault: str, number: int = 0) -> random.Random:
        """The random numbers of a try."""
        return random.Random(f"{self.seed} {fault} {number}")

    def new(self, name: str) -> Path:
        """A fresh folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.scratch))

    def start(
        self,
        out: Path,
        words: Sequence[str],
        *,
        fault: str = "none",
        cold: bool = False,
        prefix: Sequence[str] = (),
        phases: str = "",
        **environment: str,
    ) -> subprocess.Popen:
        """The command on a run folder, in a process; `cold` without compiled programs, `prefix` before its words."""
        cache = out.parent / "cache" if cold else self.scratch / "cache"
        settings = {"XDG_CACHE_HOME": str(cache), "JAX_NUM_CPU_DEVICES": "1"} | environment
        base = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMP", "JAX_PERS"))}
        _phase_file(out, phases).unlink(missing_ok=True)  # of the process before
        command = [*prefix, sys.executable, SUBJECT, _phase_file(out, phases), fault, *words]
        return subprocess.Popen(
            [str(word) for word in command], env=base | settings, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def train(self, out: Path, **how: Any) -> subprocess.Popen:
        """The subject's training, from its start."""
        return self.start(out, [*TRAIN, "--out", str(out)], **how)

    def go_on(self, out: Path, **how: Any) -> subprocess.Popen:
        """What a user does after a kill: resume what there is, or begin again."""
        if (out / folder.CONFIG).exists():
            return self.start(out, ["resume", str(out), "--no-progress"], **how)
        return self.train(out, **how)

    def finish(self, out: Path, cold: bool = False) -> str:
        """Goes on to the end; what is wrong then, empty if the run is that which nothing happened to."""
        _, said, status = end(self.go_on(out, cold=cold))
        return f"status {status}: {said}" if status else difference(self.undisturbed, out)


@contextlib.contextmanager
def bench(seed: int) -> Iterator[Bench]:
    """A scratch folder, with the undisturbed run and its programs compiled."""
    with tempfile.TemporaryDirectory(prefix="jaxdae-faults-") as scratch:
        made = Bench(Path(scratch), seed)
        _, said, status = end(made.train(made.undisturbed))
        if status:
            raise jaxdae.InputError(f"the undisturbed run ended with status {status}: {said}")
        yield made


def difference(expected: Path, found: Path) -> str:
    """What differs between two runs: parameters, log, figures; empty if nothing does."""
    a, b = jaxdae.load_run(expected), jaxdae.load_run(found)
    for x, y in zip(*(jax.tree.leaves((run.params, run.best)) for run in (a, b)), strict=True):
        if not np.array_equal(x, y):
            return "the parameters differ"
    logs = [[{k: v for k, v in line.items() if k != "images_per_second"} for line in run.history] for run in (a, b)]
    if logs[0] != logs[1]:
        return "the logs differ"
    figures = [{f.name: f.read_bytes() for f in (p / folder.FIGURES).glob("[!.]*")} for p in (expected, found)]
    if figures[0] != figures[1]:
        return "the figures differ"
    return ""


def end(process: subprocess.Popen, seconds: float = 300) -> tuple[str, str, int]:
    """Waits for a process: its output, its errors and its status. One that hangs is killed."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        err += f"it did not end within {seconds:.0f} seconds"
    return out, err, process.returncode


def _phase_file(out: Path, phases: str = "") -> Path:
    return out.parent / f"{phases or out.name}.phase"


def wait_for(process: subprocess.Popen, out: Path, phase: str, count: int, phases: str = "") -> bool:
    """Waits until a phase begins for the so-manieth time; False if the process ends before."""
    file = _phase_file(out, phases)
    while process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            now, times = file.read_text().split()
            if (now == phase and int(times) >= count) or PHASES.index(now) > PHASES.index("logging"):
                return now == phase
        time.sleep(0.0005)
    return False


DELAY = {"starting": 3.0, "compiling": 1.0, "saving": 0.15, "drawing": 1.0}
"""Up to so many seconds after a phase began it is struck; 0.03 for the short ones."""
TIMES = {"stepping": 20, "saving": 4, "validating": 8, "logging": 4}
"""How often a phase begins in a run, where it is more than once."""


def _strike(draw: random.Random, out: Path, process: subprocess.Popen, phase: str, number: int) -> bool:
    """Sends a signal at a random moment of a phase; False if the process was quicker."""
    reached = wait_for(process, out, phase, draw.randint(1, TIMES.get(phase, 1)))
    time.sleep(draw.uniform(0, DELAY.get(phase, 0.03)))
    if not reached or process.poll() is not None:
        end(process)
        return False
    process.send_signal(number)
    return True


def in_parallel(tries: int, one: Callable[[int], list[Tried]]) -> Iterator[Tried]:
    """The results of `one(number)` for so many numbers, as many at a time as there are cores."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for results in pool.map(one, range(tries)):
            yield from results


def killed(tried: Bench, tries: int) -> Iterator[Tried]:
    """Kill -9 at random moments of every phase, two in each run, which then goes on to its end."""

    def one(number: int) -> list[Tried]:
        phases = [PHASES[(2 * number + i) % len(PHASES)] for i in range(2)]
        home, draw = tried.new("killed"), tried.draw("killed", number)
        cold = "compiling" in phases  # a half written program may stay in its cache
        for phase in phases:
            while not _strike(
                draw, home / "run", process := tried.go_on(home / "run", cold=cold), phase, signal.SIGKILL
            ):
                shutil.rmtree(home / "run")  # it was quicker than the kill
            end(process)
        wrong = tried.finish(home / "run", cold=cold)
        left = ", ".join(path.name for path in (home / "run").rglob(".*") if path.is_file())
        wrong = wrong or (f"left behind: {left}" if left else "")
        shutil.rmtree(home)
        return [Tried(f"kill -9 while {phase}", not wrong, wrong) for phase in phases]

    return in_parallel(-(-tries // 2), one)


def signalled(tried: Bench, tries: int, limit: float) -> Iterator[Tried]:
    """SIGTERM and Ctrl-C: a checkpoint at that chunk, an exit within so many seconds, the same end after resuming."""

    def one(number: int) -> list[Tried]:
        kind = (signal.SIGTERM, signal.SIGINT)[number % 2]
        phase = ("stepping", "saving", "validating", "logging")[number // 2 % 4]
        out, draw = tried.new("signalled") / "run", tried.draw("signalled", number)
        while not _strike(draw, out, process := tried.train(out), phase, kind):
            shutil.rmtree(out)
        since = time.monotonic()
        _, said, status = end(process)
        seconds = time.monotonic() - since
        wrong = "" if status == 128 + kind else f"status {status}: {said}"
        wrong = wrong or ("" if seconds < limit else f"it took {seconds:.1f} seconds")
        wrong = wrong or tried.finish(out)
        return [Tried(f"{kind.name}, then resumed", not wrong, wrong or f"exit after {seconds:.1f} s")]

    return in_parallel(tries, one)


def signalled_twice(tried: Bench, tries: int) -> Iterator[Tried]:
    """A second Ctrl-C while programs are compiled, which takes seconds: the process leaves at once."""

    def one(number: int) -> list[Tried]:
        out = tried.new("twice") / "run"
        process = tried.train(out, cold=True)
        wait_for(process, out, "compiling", 1)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        quick = process.poll() is not None
        since = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said, status = end(process)
        seconds = time.monotonic() - since
        wrong = "" if status == 130 and seconds < 1 else f"status {status} after {seconds:.1f} s: {said}"
        wrong = wrong or tried.finish(out, cold=True)
        text = "it had ended after the first" if quick else f"exit after {seconds:.2f} s"
        return [Tried("Ctrl-C twice", not wrong, wrong or text)]

    return in_parallel(tries, one)


ROOM: dict[str, tuple[str, Sequence[int]]] = {
    "full": ("a full disk (tmpfs)", (0, 2_000, 8_000, 20_000, 60_000)),
    "file-size": ("files too large (RLIMIT_FSIZE)", (100, 1_000, 3_000, 10_000)),
    "read-only": ("a disk that turns read-only", (0,)),
    "open-files": ("no more descriptors", range(1, 12)),
}


def without_room(tried: Bench, tries: int) -> Iterator[Tried]:
    """Disks that fill up or turn read-only, and limits, from some save on: said, and a whole checkpoint is kept."""
    can_mount = subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0

    def one(number: int) -> list[Tried]:
        kind = list(ROOM)[number % len(ROOM)]
        name, numbers = ROOM[kind]
        mounts = kind in ("full", "read-only")
        if mounts and not can_mount:
            return [Tried(name, False, "not tried: this machine lets nobody mount a tmpfs")]
        home, draw = tried.new("room"), tried.draw("room", number)
        out, copy = home / "disk" / "run", home / "run"
        out.parent.mkdir()
        fault = f"{draw.choice(['saving', 'logging'])}:{draw.randint(2, 4)}:{kind}:{draw.choice(numbers)}"
        # The tmpfs is seen by the process alone; what it holds is copied out before it goes.
        script = 'mount -t tmpfs -o size=4m tmpfs "$0"; "$@"; status=$?; cp -a "$0/run" "$0.copy"; exit $status'
        prefix = ("unshare", "-rm", "sh", "-c", script, str(out.parent)) if mounts else ()
        _, said, status = end(tried.train(out, fault=fault, prefix=prefix))
        shutil.copytree(home / "disk.copy" if mounts else out, copy)
        one_sentence = said.startswith("jaxdae: ") and said.count("\n") == 1
        wrong = "" if status == 1 and one_sentence else f"{fault}: status {status}: {said[-300:]}"
        wrong = wrong or tried.finish(copy)
        return [Tried(name, not wrong, wrong or said.strip().replace(str(out), "RUN"))]

    return in_parallel(tries * len(ROOM), one)


def two_at_once(tried: Bench, tries: int) -> Iterator[Tried]:
    """A second process on the folder is refused while the first one lives, and takes over when it is dead."""

    def one(number: int) -> list[Tried]:
        out = tried.new("two") / "run"
        first = tried.train(out)
        wait_for(first, out, "stepping", tried.draw("two", number).randint(1, 3))
        first.send_signal(signal.SIGSTOP)  # alive, but slow
        wrong = ""
        for words in (["resume", str(out)], [*TRAIN, "--overwrite", "--out", str(out)]):
            _, said, status = end(tried.start(out, words))
            named = f"is in use by process {first.pid} on {socket.gethostname()}" in said
            wrong = wrong or ("" if status == 2 and named else f"status {status}: {said}")
        first.kill()
        end(first)
        wrong = wrong or tried.finish(out)
        return [Tried("a second process", not wrong, wrong or said.strip().replace(str(out), "RUN"))]

    return in_parallel(tries, one)
