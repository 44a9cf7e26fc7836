"""Runs that were killed or stopped and not resumed: what is read of them has the name of its own epoch.

The checkpoints are written by hand, so that nothing is trained: two groups of two members; an epoch has two chunks of
each group.
"""

import json
import shutil

import jax
import numpy as np
import pytest
from tiny import DATA, LOOP, MEMBER, random_params

import jaxdae
from jaxdae import parallel
from jaxdae.cli import export, options
from jaxdae.errors import InputError
from jaxdae.runs import Loop, checkpoints, folder, load_run
from jaxdae.runs.folder import Config
from jaxdae.runs.position import Position
from jaxdae.training import Best, Plan, TrainState, group_members

MEMBERS = jaxdae.grid(MEMBER, {"model.width": [2, 4], "noise.level": [0.5, (0, 1)]})
CONFIG = Config(MEMBERS, Loop(**LOOP), DATA.describe())
GROUPS = group_members(MEMBERS)
PLAN = Plan.of(len(DATA.train), LOOP["batch_size"], LOOP["chunk_steps"])


def lines(epochs, nothing=()):
    """The log of so many epochs; a member in `nothing` has no finite loss in the last."""
    history = []
    for epoch in range(1, epochs + 1):
        for member in range(len(MEMBERS)):
            loss = None if epoch == epochs and member in nothing else 1 / epoch
            numbers = {"train_bce": loss, "val_bce": loss, "val_psnr": 10 * epoch + member}
            history.append({"epoch": epoch, "member": member} | numbers)
    return history


def params_at(chunks, group):
    return random_params(GROUPS[group].members.model, seed=chunks)


def save(manager, chunks, frozen):
    epochs = chunks // 4
    states, bests = [], []
    for number, group in enumerate(GROUPS):
        params = jax.tree.map(lambda x: np.stack([x, x]), params_at(chunks, number))
        seen = np.full(2, 32.0 * (chunks % 4 > 2 * number), np.float32)
        finite = np.array([index not in frozen for index in group.indices])
        states.append(TrainState(params, (), None, seen, seen, finite))
        loss = np.full(2, 1 / epochs if epochs else np.inf, np.float32)
        bests.append(Best(params, loss, np.full(2, epochs, np.int32)))
    position = Position(chunks, len(GROUPS), PLAN, frozen)
    metadata = {"log": folder.mark_of(lines(epochs)), "position": position.to_dict()}
    checkpoints.save(manager, chunks, *parallel.replicate((states, bests)), metadata)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A function that writes checkpoints once, and gives a copy with a log of so many epochs."""
    home, originals = tmp_path_factory.mktemp("runs"), {}

    def write(steps, epochs, frozen=()):
        if (steps, frozen) not in originals:
            original = originals[steps, frozen] = home / f"original-{len(originals)}"
            original.mkdir()
            folder.write_config(original, CONFIG)
            with checkpoints.open_manager(original / folder.CHECKPOINTS, keep=2) as manager:
                for chunks in steps:
                    save(manager, chunks, frozen)
                checkpoints.finish(manager)
        copy = home / f"copy-{len(list(home.iterdir()))}"
        shutil.copytree(originals[steps, frozen], copy)
        folder.write_history(copy, lines(epochs))
        return copy

    return write


def forget(path, *names):
    """Takes metadata out of all checkpoints, as if another version had written them."""
    for file in path.rglob("_CHECKPOINT_METADATA"):
        fields = json.loads(file.read_text())
        for name in names:
            del fields["custom_metadata"][name]
        file.write_text(json.dumps(fields))
    for file in path.rglob(checkpoints.DIGESTS):
        file.unlink()


def damage_newest(path):
    step = checkpoints.newest_step(path / folder.CHECKPOINTS)
    [file] = (path / folder.CHECKPOINTS / str(step) / "params" / "d").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def remove_newest(path):
    shutil.rmtree(path / folder.CHECKPOINTS / str(checkpoints.newest_step(path / folder.CHECKPOINTS)))


def is_of(run, chunks):
    """Whether the parameters of a run are those of a checkpoint."""
    pairs = zip(jax.tree.leaves(run.params[0]), jax.tree.leaves(params_at(chunks, 0)), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def test_lines_that_no_checkpoint_holds_are_left_out_and_said(written, caplog):
    run = load_run(written((4, 8), epochs=3))
    assert is_of(run, 8) and run.history == lines(2)
    assert run.describe(1) == f"member 1 ({run.labels[1]}), last epoch 2"
    assert run.select([1])[0].about.origin == run.describe(1)
    assert run.trained_members() == [0, 1, 2, 3]
    [record] = caplog.records
    assert f"{run.path / folder.METRICS} goes on to epoch 3" in record.message
    assert "the newest whole checkpoint is of epoch 2: the later lines are left out" in record.message


def test_a_run_whose_log_ends_with_its_checkpoint_says_nothing(written, caplog):
    run = load_run(written((4, 8), epochs=2))
    assert run.history == lines(2) and not caplog.records


@pytest.mark.parametrize(("harm", "warnings"), [(remove_newest, 1), (damage_newest, 2)])
def test_without_its_newest_checkpoint_a_run_is_that_of_the_one_before(written, caplog, harm, warnings):
    path = written((4, 8), epochs=2)
    harm(path)
    before = sorted(path.rglob("*"))
    run = load_run(path)
    assert is_of(run, 4) and run.history == lines(1) and run.describe(0).endswith("last epoch 1")
    assert len(caplog.records) == warnings and "goes on to epoch 2" in caplog.records[-1].message
    if harm is damage_newest:
        assert "/8 is damaged" in caplog.text and "checkpoint 4, the newest that is whole, is read" in caplog.text
    assert sorted(path.rglob("*")) == before


def test_where_all_checkpoints_are_damaged_a_run_is_refused(written):
    path = written((4,), epochs=1)
    damage_newest(path)
    with pytest.raises(InputError, match="checkpoints/4 is damaged"):
        load_run(path)


def test_a_card_has_the_numbers_of_the_epoch_of_the_weights(written):
    run = load_run(written((4, 8), epochs=3))
    for weights in ("last", "best"):
        card = export._card(run, 1, weights)
        assert card.numbers == {
            "train_bce, epoch 2": 0.5,
            "val_bce, epoch 2": 0.5,
            "val_psnr, epoch 2": 21,
        }
    between = load_run(written((4, 5), epochs=1))
    assert export._card(between, 1, "last").numbers == {}  # nothing was measured there
    assert export._card(between, 1, "best").numbers["val_psnr, epoch 1"] == 11


def test_between_two_epochs_every_member_says_where_it_is(written, caplog):
    run = load_run(written((4, 5), epochs=1))
    states = [run.describe(index).rpartition("), ")[2] for index in range(4)]
    assert states == ["last weights, after epoch 1 and 64 % of epoch 2"] * 2 + ["last epoch 1"] * 2
    assert run.describe(0, "best").endswith("), best epoch 1") and run.history == lines(1)
    assert [run.epoch(index) for index in range(4)] == [None, None, 1, 1]
    assert [record.message for record in caplog.records] == [
        f"{run.path} was stopped at 44 %: members 0 and 1 have trained through epoch 1 and 64 % of epoch 2, "
        "members 2 and 3 have trained through epoch 1"
    ]
    ahead = load_run(written((4, 6), epochs=1))
    assert ahead.describe(0).endswith("last epoch 2")  # its epoch is trained, and not yet validated


def test_members_that_have_not_begun_are_no_denoisers(written, caplog):
    run = load_run(written((2,), epochs=0))
    assert run.history == [] and run.trained_members() == [0, 1]
    assert "stopped at 17 %" in caplog.text and "members 2 and 3 have not begun" in caplog.text
    assert run.describe(3).endswith("), not trained yet") and len(run.select([0, 1])) == 2
    for members in ([2], [0, 3], None):
        with pytest.raises(
            InputError,
            match=r"has not begun to train; choose members 0 and 1, or continue .* resume",
        ):
            run.select(members)
    with pytest.raises(InputError, match="has not begun"):
        _ = run.denoisers


def test_the_default_member_is_one_that_has_begun(written):
    begun = load_run(written((2,), epochs=0))
    assert begun.index() == 0
    swapped = Config(MEMBERS[1::-1] + MEMBERS[:1:-1], CONFIG.loop, CONFIG.source)
    path = written((1,), epochs=0)
    (path / folder.CONFIG).unlink()
    folder.write_config(path, swapped)
    assert load_run(path).index() == 1
    # Of these the nearest to level 0.5 is in the group that has not begun.
    far = jaxdae.grid(MEMBER, {"noise.level": [0.1, 0.2]})
    near = jaxdae.grid(MEMBERS[2], {"noise.level": [0.4, 0.5]})
    (path / folder.CONFIG).unlink()
    folder.write_config(path, Config(tuple(member.replace(model=MEMBERS[0].model) for member in far) + near,
                                     CONFIG.loop, CONFIG.source))  # fmt: skip
    assert load_run(path).index() == 1
    assert jaxdae.load_denoiser(path).about.noise.level == (0.2, 0.2)


def test_initial_parameters_are_no_best_ones(written):
    run = load_run(written((2,), epochs=0))
    assert run.trained_members("best") == [] and run.describe(0, "best").endswith("), not validated yet")
    with pytest.raises(
        InputError,
        match="has no best weights yet, since it was not validated; take its last weights, or",
    ):
        run.select([0], "best")
    assert run.epoch(0, "best") is None


def test_before_the_first_step_nothing_is_a_denoiser(written):
    path = written((0,), epochs=0)
    forget(path, "position", "log")  # as it is saved where training starts from given parameters
    with pytest.raises(InputError, match=f"has not begun to train; continue the run with `jaxdae resume {path}`"):
        jaxdae.load_denoiser(path)


def test_members_that_were_not_named_are_left_out_and_said(written, caplog):
    run = load_run(written((2,), epochs=0))
    caplog.clear()
    assert options.chosen_members(run, None, "last") == [0, 1]
    assert [record.message for record in caplog.records] == ["left out: members 2 and 3, which have not begun to train"]
    assert options.chosen_members(run, 3, "last") == [3]  # which `select` refuses
    with pytest.raises(InputError, match="has no best weights yet"):
        run.select(options.chosen_members(run, None, "best"), "best")


def test_frozen_members_are_known_by_log_and_checkpoint(written):
    run = load_run(written((4, 8), epochs=3))
    assert run.diverged == []
    path = written((4, 8), epochs=2)
    cut = lines(1, nothing=[2]) + lines(2, nothing=[2])[4:]
    folder.write_history(path, cut + lines(3, nothing=[0])[8:])
    forget(path, "log")
    assert load_run(path).diverged == [2]  # and not 0, which froze later
    assert load_run(written((1,), epochs=0)).diverged == []
    assert load_run(written((5,), epochs=1, frozen=(1,))).diverged == [1]  # since the last line of the log
    assert load_run(written((1,), epochs=0, frozen=(0,))).diverged == [0]


def test_a_checkpoint_that_does_not_say_its_position_has_the_epoch_of_its_log(written, caplog):
    path = written((4, 8), epochs=3)
    forget(path, "position")
    run = load_run(path)
    assert is_of(run, 8) and run.history == lines(2) and run.describe(0).endswith("), last epoch 2")
    assert "goes on to epoch 3" in caplog.text
    forget(path, "log")
    run = load_run(path)
    assert run.describe(0).endswith("), last epoch 3 (by its log)") and run.epoch(0) is None
    (path / folder.METRICS).unlink()
    assert load_run(path).describe(0).endswith("), last weights, after an unknown epoch")


@pytest.mark.parametrize(
    ("steps", "epochs", "states"),
    [
        ((2,), 0, ["last weights, after a part of epoch 1"] * 2 + ["not trained yet"] * 2),
        ((4, 7), 1, ["last weights, after epoch 1 and a part of epoch 2"] * 4),
        (
            (4, 5),
            1,
            ["last weights, after epoch 1 and a part of epoch 2"] * 2 + ["last epoch 1"] * 2,
        ),
    ],
)
def test_an_older_checkpoint_says_who_has_begun_the_epoch(written, steps, epochs, states):
    path = written(steps, epochs=epochs)
    forget(path, "position")
    run = load_run(path)
    assert [run.describe(index).rpartition("), ")[2] for index in range(4)] == states


def test_an_older_checkpoint_without_its_log_counts_its_lines(written):
    path = written((4, 8), epochs=2)
    forget(path, "position")
    (path / folder.METRICS).unlink()
    run = load_run(path)
    assert run.history == [] and run.describe(0).endswith("), last epoch 2 (by its log)")
