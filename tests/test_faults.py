"""Runs that are killed, signalled and filled for real: a short version of `make faults`, and that it can fail."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from _faults_of_processes import difference
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae.data import ImageData
from jaxdae.runs import checkpoints, folder
from jaxdae.runs.figures import write_figures

pytestmark = pytest.mark.slow  # processes
SCRIPT = Path(__file__).parents[1] / "experiments" / "faults.py"


def test_killed_and_signalled_runs_end_as_if_nothing_had_happened(tmp_path):
    words = ["--tries", "2", "--parts", "killed", "signals", "--seconds", "60", "--out", tmp_path]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert dict(table.groupby("part")["tries"].sum()) == {"killed": 2, "signals": 2}
    assert not table["lost"].any(), table.to_string()
    assert "4 faults were done" in (tmp_path / "README.md").read_text()


def test_whatever_differs_between_two_runs_is_found(tmp_path):
    run = jaxdae.train(MEMBER, DATA, out=tmp_path / "a", **LOOP | {"epochs": 1})
    write_figures(run, DATA)
    for name in "bcd":
        shutil.copytree(tmp_path / "a", tmp_path / name)
    assert difference(tmp_path / "a", tmp_path / "b") == ""
    (tmp_path / "b" / folder.FIGURES / "loss.png").write_bytes(b"")
    assert difference(tmp_path / "a", tmp_path / "b") == "the figures differ"
    for file in (tmp_path / "c").rglob("digests.json"):
        file.unlink()
    [line] = folder.read_history(tmp_path / "c")
    marked = next((tmp_path / "c").rglob("_CHECKPOINT_METADATA"))
    changed = [line | {"val_psnr": line["val_psnr"] + 1e-6}]
    folder.write_history(tmp_path / "c", changed)
    fields = json.loads(marked.read_text())
    marked.write_text(json.dumps(fields | {"custom_metadata": {"log": folder.mark_of(changed)}}))
    assert difference(tmp_path / "a", tmp_path / "c") == "the logs differ"
    other = ImageData(np.roll(DATA.train, 1), DATA.test)
    jaxdae.train(MEMBER, other, out=tmp_path / "e", **LOOP | {"epochs": 1})
    shutil.rmtree(tmp_path / "d" / folder.CHECKPOINTS)
    shutil.copytree(tmp_path / "e" / folder.CHECKPOINTS, tmp_path / "d" / folder.CHECKPOINTS)
    folder.write_history(tmp_path / "d", folder.read_history(tmp_path / "e"))
    assert checkpoints.newest_step(tmp_path / "d" / folder.CHECKPOINTS) == 2
    assert difference(tmp_path / "a", tmp_path / "d") == "the parameters differ"
