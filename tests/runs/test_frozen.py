"""A member whose numbers go wrong is named with epoch and step, keeps its last good state, and disturbs no other."""

import jax
import numpy as np
import pytest
from _faults_of_files import Faulty
from tiny import DATA, MEMBER

import jaxdae
from jaxdae import rng
from jaxdae.objectives import OBJECTIVES
from jaxdae.training.epoch import epoch_order
from jaxdae.training.optimizers import SGD

pytestmark = pytest.mark.slow  # an objective of its own is compiled
LOOP = {"epochs": 2, "batch_size": 20, "chunk_steps": 2}
"""Three steps an epoch, the last of ten examples, in chunks of two; each of two devices pads its ten to sixteen."""


def member(fault, epoch=1, index=1e9):
    return MEMBER.replace(objective=Faulty("bce", fault, float(epoch), float(index)), optimizer=SGD(learning_rate=0.1))


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_it_is_named_once_at_its_step_wherever_the_example_lies_in_the_batch(monkeypatch, caplog, tmp_path, fault):
    monkeypatch.setitem(OBJECTIVES, "faulty", Faulty)
    order = np.asarray(epoch_order(rng.draw_key(0, rng.ORDER, 2), 50))
    whole = jaxdae.train(member(fault), DATA, **LOOP)
    for position in (19, 25, 40):
        caplog.clear()
        run = jaxdae.train([member(fault), member(fault, 2, order[position])], DATA, **LOOP)
        [said] = [record.message for record in caplog.records]
        assert said.startswith("member 1 (") and f"is frozen since epoch 2, step {position // 20 + 1} of 3" in said
        for x, y in zip(*map(jax.tree.leaves, (run.params[0], whole.params[0])), strict=True):
            np.testing.assert_array_equal(x, y)
    first = jaxdae.train([member(fault), member(fault, 2, order[0])], DATA, out=tmp_path / "run", **LOOP)
    one_epoch = jaxdae.train(member(fault), DATA, **LOOP | {"epochs": 1})
    for x, y in zip(*map(jax.tree.leaves, (first.params[1], one_epoch.params[0])), strict=True):
        np.testing.assert_array_equal(x, y)  # as before the step
    caplog.clear()
    resumed = jaxdae.resume(tmp_path / "run", DATA, epochs=3)
    assert not caplog.records and resumed.diverged == [1]


def test_parameters_that_no_float_holds_are_not_kept(monkeypatch, caplog):
    monkeypatch.setitem(OBJECTIVES, "faulty", Faulty)
    order = np.asarray(epoch_order(rng.draw_key(0, rng.ORDER, 1), 50))
    run = jaxdae.train(member("parameters", 1, order[3]).replace(optimizer=SGD(learning_rate=1e35)), DATA, **LOOP)
    assert "is frozen since epoch 1, step 1 of 3" in caplog.text
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((run.params, run.best[0].params)))
