"""The subject of the faults: the command, in a process that says what it is doing and fails where it is told.

    python experiments/_subject.py PHASES FAULT train --dataset digits ...

PHASES is a file, which holds the present phase and how often it began. FAULT is `none`, or PHASE:COUNT:KIND:NUMBER:
when the phase begins for the so-manieth time, files may not grow beyond NUMBER bytes (file-size), only NUMBER more
files can be open (open-files), all but NUMBER bytes of the disk are filled (full), or it is read-only (read-only).
"""

import collections
import functools
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PHASES = ("starting", "compiling", "stepping", "saving", "validating", "logging", "drawing")


def main() -> None:
    """Runs the command."""
    file, fault, *words = sys.argv[1:]
    counts: collections.Counter[str] = collections.Counter()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)

    def begin(phase: str) -> None:
        counts[phase] += 1
        os.pwrite(descriptor, f"{phase} {counts[phase]}".ljust(40).encode(), 0)
        if fault.startswith(f"{phase}:{counts[phase]}:"):
            kind, number = fault.split(":")[2:]
            _cause(kind, int(number), Path(words[words.index("--out") + 1]).parent)

    begin("starting")
    import jax

    from jaxdae import cli, evaluation, training
    from jaxdae.cli import report
    from jaxdae.runs import checkpoints, folder

    compiled = set()

    def phase_of_chunk(states: Any, members: Any) -> str:
        structure = jax.tree.structure(members)
        new = structure not in compiled
        compiled.add(structure)
        return "compiling" if new else "stepping"

    def announce(module: Any, name: str, phase: Callable[..., str]) -> None:
        original = getattr(module, name)

        @functools.wraps(original)
        def announced(*args: Any, **kwargs: Any) -> Any:
            begin(phase(*args[:2]))
            return original(*args, **kwargs)

        setattr(module, name, announced)

    announce(training, "train_chunk", phase_of_chunk)
    announce(checkpoints, "save", lambda *_: "saving")
    announce(evaluation, "validate", lambda *_: "validating")
    announce(folder, "append_history", lambda *_: "logging")
    announce(report, "write_figures", lambda *_: "drawing")
    sys.argv = ["jaxdae", *words]
    cli.console()


def _cause(kind: str, number: int, disk: Path) -> None:
    if kind == "file-size":
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
    elif kind == "open-files":
        most = len(os.listdir("/proc/self/fd")) + number
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    elif kind == "full":
        system = os.statvfs(disk)
        (disk / "filler").write_bytes(bytes(max(0, system.f_bavail * system.f_frsize - number)))
    elif kind == "read-only":
        # Another mount over it, since one with open files cannot change.
        subprocess.run(["mount", "--bind", disk, disk], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)
    else:
        raise ValueError(kind)


if __name__ == "__main__":
    main()
