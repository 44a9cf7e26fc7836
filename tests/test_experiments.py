"""The scripts refuse what they cannot use before they train, and pair what they compare."""

import importlib
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import CONFIG, DATA

from jaxdae import evaluation, runs, tables, training

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "noise_levels.py --levels 0.3 1 --test-levels 0.5",
            "no training level (0.3, 1.0) is among the test levels (0.5,)",
        ),
        ("noise_levels.py --levels 0.5", "levels (0.5,) must be at least two, to be compared"),
        ("noise_levels.py --generalist 0.5", "generalist 0.5 is no range of levels; write low:high, as 0:1"),
        ("noise_levels.py --baselines medain", "baseline 'medain' is not known; did you mean median?"),
        ("corruptions.py --corruptions masking", "must be at least two different ones"),
        (
            "corruptions.py --corruptions masking gaussian --damage 5",
            "damage 5 dB is out of range: masking noise takes",
        ),
        ("fixed_or_fresh.py --sizes 100 --passes 0", "passes 0 must be at least 1"),
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


@pytest.fixture
def corruptions(monkeypatch):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # or the script would set it for the tests that follow
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module("corruptions")


def untrained(config):
    params, best = jax.device_get([training.initial_states(config, 1)[i] for i in (0, 1)])
    return runs.Run(config, params.params, best, [])


def test_every_denoiser_is_tested_on_every_corruption_and_paired_with_its_own(corruptions):
    options = corruptions.Options(dataset="digits", corruptions=("gaussian", "masking"), seeds=(3, 4), baselines=())
    config = CONFIG.from_dict(CONFIG.to_dict() | {"seeds": (3, 4)})
    both = {
        "gaussian": untrained(config),
        "masking": untrained(config.from_dict(config.to_dict() | {"corruption": "masking", "seeds": (5, 6)})),
    }
    rows = corruptions.rows_of_tests(options, both, DATA)
    masking = both["masking"].config
    own, other = (
        evaluation.evaluate_population(run.best.params, DATA.test, np.array([0.5]), config=masking)[0]["psnr"][0]
        for run in (both["masking"], both["gaussian"])
    )
    wanted = {"test_corruption": "masking", "metric": "psnr"}
    [row] = tables.pick(rows, model="gaussian", seed=4, **wanted)
    assert row["mean"] == pytest.approx(other[1].mean(), rel=1e-5)
    [row] = tables.pick(rows, kind="difference", **wanted)
    assert row["model"] == "gaussian - masking" and row["seeds"] == 2
    assert row["mean"] == pytest.approx((other - own).mean(), rel=1e-4)
    assert row["se_images"] == pytest.approx((other - own).mean(0).std(ddof=1) / len(DATA.test) ** 0.5, rel=1e-4)
    assert len(tables.pick(rows, kind="identity", **wanted)) == 1


def test_matched_levels_do_the_same_damage(corruptions):
    for name in ("gaussian", "masking"):
        level = corruptions.matched_level(name, DATA.train, 14.0)
        assert corruptions.noisy_psnr(DATA.train, level, corruption=name) == pytest.approx(14.0, abs=0.05)
