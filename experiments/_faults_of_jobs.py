"""Jobs of several processes on one machine, killed and resumed; and what a long run holds."""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from _faults_of_processes import TRAIN, Bench, Tried, difference, end, wait_for
from PIL import Image

import jaxdae
from jaxdae.runs import folder


def start_job(tried: Bench, out: Path, words: Sequence[str], processes: int) -> list[Any]:
    """The command in several processes of one device each, which find each other on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    job = ("--distributed", "--coordinator", address, "--processes", str(processes), "--process-id")
    return [tried.start(out, [*words, *job, str(i)], phases=f"{out.name}.{i}") for i in range(processes)]


def apart(expected: Path, found: Path) -> float:
    """The largest difference between two runs' parameters."""
    pairs = zip(*(jax.tree.leaves(jaxdae.load_run(path).params) for path in (expected, found)), strict=True)
    return max(float(np.abs(x - y).max()) for x, y in pairs)


def jobs(tried: Bench, processes: int) -> Iterator[Tried]:
    """A job against one process, its repetition, fewer devices that resume it, and a member of it that is killed."""
    name = f"{processes} processes"
    train = [*TRAIN, "--out"]
    home = tried.new("jobs")
    whole, again = home / "whole", home / "again"
    for out in (whole, again):
        if lost := _first_error(start_job(tried, out, [*train, str(out)], processes)):
            yield Tried(f"{name} train a run", False, lost)
            return
    far = apart(tried.undisturbed, whole)
    yield Tried(f"{name} against one", far < 1e-3, f"parameters differ by at most {far:.1e}")
    lost = difference(whole, again)
    yield Tried(f"{name}, repeated", not lost, lost or "bit-identical")
    for devices in (1, 2, 3):
        out = home / f"on-{devices}"
        shutil.copytree(whole, out)
        longer = ["resume", str(out), "--epochs", "6", "--no-progress"]
        lost = _first_error([tried.start(out, longer, JAX_NUM_CPU_DEVICES=str(devices))])
        far = 0.0 if lost else apart(home / "on-1", out)
        text = lost or f"to 6 epochs; parameters differ from those on 1 device by at most {far:.1e}"
        yield Tried(f"saved by {processes} processes, resumed by {devices} devices", not lost and far < 1e-3, text)
    yield from _divided_work(tried, home, whole, processes)
    for victim in (processes - 1, 0):
        out = home / f"killed-{victim}"
        members = start_job(tried, out, [*train, str(out)], processes)
        wait_for(members[0], out, "saving", 2, phases=f"{out.name}.0")
        members[victim].send_signal(signal.SIGKILL)
        since = time.monotonic()
        others = [end(process) for process in members if process is not members[victim]]
        seconds = time.monotonic() - since
        said = " | ".join(sorted({_sentence(text) for _, text, _ in others}))
        codes = sorted({status for *_, status in others})
        text = f"the others ended after {seconds:.1f} s with status {codes}: {said}"
        lost = "" if seconds < 120 and 0 not in codes else text
        lost = lost or _first_error(start_job(tried, out, ["resume", str(out), "--no-progress"], processes))
        lost = lost or difference(whole, out)
        yield Tried(f"{name}, {'the last' if victim else 'the first'} killed and resumed", not lost, lost or text)


def _divided_work(tried: Bench, home: Path, run: Path, processes: int) -> Iterator[Tried]:
    """Evaluation and the denoising of files by a job, against those by one process."""
    pictures = home / "pictures"
    pictures.mkdir()
    for number, image in enumerate(jaxdae.load("digits").test[:10]):
        Image.fromarray(image[..., 0]).save(pictures / f"{number}.png")
    measure = ["evaluate", str(run), "--json"]
    alone = json.loads(end(tried.start(home / "a", measure))[0])
    found = [end(process) for process in start_job(tried, home / "b", measure, processes)]
    together = json.loads(found[0][0][found[0][0].index("[\n") :])
    far = max(abs(a[name] - b[name]) for a, b in zip(alone, together, strict=True) for name in ("bce", "psnr"))
    yield Tried(f"{processes} processes evaluate", far < 1e-4, f"metrics differ by at most {far:.1e}")
    denoise = ["denoise", str(pictures), "--run", str(run), "--add-noise", "0.3", "--out"]
    end(tried.start(home / "c", [*denoise, str(home / "alone")]))
    lost = _first_error(start_job(tried, home / "d", [*denoise, str(home / "together")], processes))
    results = [{f.name: f.read_bytes() for f in (home / name).glob("*")} for name in ("alone", "together")]
    lost = lost or ("" if results[0] == results[1] and len(results[0]) == 10 else "the results differ")
    yield Tried(f"{processes} processes denoise files", not lost, lost or "10 files, bit-identical")


def _sentence(said: str) -> str:
    """What a process said of its end: our sentence, or JAX's."""
    lines = [line for line in said.splitlines() if "jaxdae: " in line or "Terminating process" in line]
    return lines[-1][:200] if lines else said.strip()[-200:]


def _first_error(processes: Sequence[Any]) -> str:
    found = [end(process) for process in processes]
    return next((f"status {status}: {said}" for _, said, status in found if status), "")


def soak(tried: Bench, epochs: int) -> tuple[Tried, pd.DataFrame]:
    """What a run with a save in every epoch holds as it grows longer: memory, threads, descriptors, files."""
    out = tried.new("soak") / "run"
    words = ["train", "--dataset", "digits", "--widths", "4", "--depths", "1", "--epochs", str(epochs), "--no-progress"]
    process = tried.start(out, [*words, "--out", str(out)])
    rows: dict[int, dict[str, Any]] = {}
    while process.poll() is None:
        try:
            epoch = len(folder.read_history(out))
            if epoch and epoch % 10 == 0 and epoch < epochs:  # at the end it measures and draws
                rows[epoch] = {"epoch": epoch, **_holds(process.pid), "files": sum(f.is_file() for f in out.rglob("*"))}
        except (OSError, KeyError, jaxdae.InputError):  # not yet there, or just ended
            pass
        time.sleep(0.05)
    *_, status = end(process)
    table = pd.DataFrame(sorted(rows.values(), key=lambda row: row["epoch"]))
    early, late = table[table["epoch"].between(20, 100)], table[table["epoch"] > epochs - 80]
    grown = {name: (early[name].max(), late[name].max()) for name in ("megabytes", "threads", "descriptors", "files")}
    text = ", ".join(f"{name} {a:g} and {b:g}" for name, (a, b) in grown.items())
    steady = all(b <= a * 1.05 + (10 if name == "megabytes" else 1) for name, (a, b) in grown.items())
    survived = status == 0 and steady
    return Tried(f"{epochs} epochs", survived, f"most in epochs 20 to 100 and in the last 80: {text}"), table


def _holds(pid: int) -> dict[str, float]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "megabytes": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "threads": int(status["Threads"]),
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
    }
