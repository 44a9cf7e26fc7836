"""The scripts refuse what they cannot use before they train: one sentence, exit status 2."""

import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("noise_levels.py --levels 0.3 --test-levels 0.5", "no training level (0.3,) is among the test levels (0.5,)"),
        ("noise_levels.py --generalist 0.5", "generalist 0.5 is no range of levels; write low:high, as 0:1"),
        ("noise_levels.py --baselines medain", "baseline 'medain' is not known; did you mean median?"),
        ("corruptions.py --corruptions masking", "must be at least two different ones"),
        (
            "corruptions.py --corruptions masking gaussian --damage 5",
            "damage 5 dB is out of range: masking noise takes",
        ),
        ("fixed_or_fresh.py --sizes 100 2000", "sizes (100, 2000) must lie from 1 to the 1500 images of --dataset"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path, command, sentence):
    script, *arguments = command.split()
    run = subprocess.run(
        [sys.executable, EXPERIMENTS / script, "--dataset", "digits", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"{script}: ") and sentence in run.stderr and run.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
