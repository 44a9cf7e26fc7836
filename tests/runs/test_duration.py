"""The expected time of a training: all its steps, at the speed of a few that leave no trace."""

import jax
import numpy as np
import pytest
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae.runs import Loop, duration
from jaxdae.runs.folder import Config
from jaxdae.training import epoch


def test_every_step_of_every_group_counts(monkeypatch):
    monkeypatch.setattr(duration, "_seconds_of_call", lambda config, source, group, state, plan: state)
    config = Config((MEMBER,), Loop(epochs=3, batch_size=16, chunk_steps=2), DATA.describe())
    seconds = duration.expected_seconds(config, DATA.sources()[0], ["a", "b"], [1.0, 100.0])
    assert seconds == (1 + 100) / 2 * 4 * 3, "two steps a call, four an epoch"


@pytest.mark.slow
def test_the_estimate_comes_once_and_before_anything_is_written_and_changes_nothing(tmp_path):
    estimates = []

    def note(seconds):
        assert not (tmp_path / "run").exists()
        estimates.append(seconds)

    without = jaxdae.train(MEMBER, DATA, **LOOP)
    programs = epoch._train_chunk._cache_size()
    run = jaxdae.train(MEMBER, DATA, out=tmp_path / "run", on_estimate=note, **LOOP)
    assert len(estimates) == 1 and estimates[0] > 0
    assert epoch._train_chunk._cache_size() == programs, "it needs no program of its own"
    for x, y in zip(*(jax.tree.leaves(trained.params) for trained in (run, without)), strict=True):
        np.testing.assert_array_equal(x, y)
