"""How far the members of a run have trained: exactly, in words, and where a run was stopped."""

import json

from tiny import MEMBER

import jaxdae
from jaxdae.runs.position import Position, Progress, describe_members, percent, unequal_warning
from jaxdae.training import Plan, group_members

GROUPS = group_members(jaxdae.grid(MEMBER, {"noise.level": [0.25, 0.5], "model.width": [2, 4, 8]})[::-1])
"""Three groups of two members each."""

PLAN = Plan.of(examples=50, batch_size=16, chunk_steps=2)
"""Two chunks an epoch, of 32 and 18 examples."""


def progress(chunks, **fields):
    return Position(chunks, len(GROUPS), PLAN, **fields).progress(GROUPS)


def in_turn(*members):
    """The progress of the first member of each group."""
    return [members[group.indices[0]] for group in GROUPS]


def test_groups_take_their_epochs_in_turn():
    assert progress(0) == (Progress(0),) * 6
    assert in_turn(*progress(1)) == [Progress(0, 0.64), Progress(0), Progress(0)]
    assert in_turn(*progress(3)) == [Progress(1), Progress(0, 0.64), Progress(0)]
    assert progress(6) == (Progress(1),) * 6
    assert in_turn(*progress(6 + 5)) == [Progress(2), Progress(2), Progress(1, 0.64)]
    assert [member.has_begun for member in in_turn(*progress(3))] == [True, True, False]
    assert [Position(chunks, 3, PLAN).epochs for chunks in (0, 5, 6, 11, 12)] == [0, 0, 1, 1, 2]


def test_every_member_gets_the_progress_of_its_group():
    found = progress(3, frozen=(GROUPS[1].indices[1],))
    for group, expected in zip(GROUPS, (Progress(1), Progress(0, 0.64), Progress(0)), strict=True):
        assert {(found[index].epochs, found[index].part) for index in group.indices} == {
            (expected.epochs, expected.part)
        }
    assert [index for index, member in enumerate(found) if member.frozen] == [GROUPS[1].indices[1]]


def test_a_position_is_read_back():
    position = Position(7, 3, PLAN, (1, 4))
    assert Position.from_dict(json.loads(json.dumps(position.to_dict()))) == position
    assert Position.from_dict({}) is None and Position.from_dict(position.to_dict() | {"plan": {"steps": 3}}) is None


def test_progress_in_words():
    assert Progress(3).describe() == "epoch 3"
    assert Progress(3, 0.4).describe() == "epoch 3 and 40 % of epoch 4"
    assert Progress(0, 0.4).describe() == "40 % of epoch 1"
    assert Progress(2, None).describe() == "epoch 2 and a part of epoch 3"
    assert Progress(2, by_log=True).describe() == "epoch 2 (by its log)"
    assert Progress(None).describe() == "an unknown epoch"
    assert [percent(part) for part in (0.0001, 0.5, 0.9999)] == ["1 %", "50 %", "99 %"]


def test_only_whole_epochs_are_an_epoch():
    members = (
        Progress(3),
        Progress(3, 0.4),
        Progress(3, None),
        Progress(3, by_log=True),
        Progress(None),
    )
    assert [member.epoch for member in members] == [3, None, None, None, None]


def test_members_in_words():
    assert describe_members([3]) == "member 3"
    assert describe_members([1, 0]) == "members 0 and 1"
    assert describe_members([0, 2, 4, 5, 6, 7]) == "members 0, 2 and 4 to 7"
    assert describe_members(range(6, 12)) == "members 6 to 11"


def test_a_run_says_which_members_were_stopped_where():
    members = (Progress(1), Progress(1), Progress(0, 0.5), Progress(0))
    assert unequal_warning(members, epochs=5) == (
        "stopped at 12 %: members 0 and 1 have trained through epoch 1, member 2 has trained through 50 % of epoch 1, "
        "member 3 has not begun"
    )
    assert unequal_warning((Progress(1, None), Progress(1)), 5).startswith(
        "stopped in the middle of an epoch: member 0"
    )
    assert unequal_warning((Progress(2, 0.5),) * 3, 5) == ""
