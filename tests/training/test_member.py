"""Members: canonical forms, grids in a fixed order, groups of equal structure, labels, JSON and back."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdae.errors import InputError
from jaxdae.models import MODELS, ConvAutoencoder, UNet
from jaxdae.noise import CORRUPTIONS, Noise
from jaxdae.objectives import Noise2Noise, Supervised
from jaxdae.training import PRESETS, Member, check_member, default_member, grid, group_members, labels
from jaxdae.training.member import check_members, from_dict, to_dict
from jaxdae.training.optimizers import OPTIMIZERS, SGD, Adadelta, Adam, Muon

MEMBER = check_member(Member())


def test_a_checked_member_is_canonical():
    given = Member(np.uint32(3), Noise(level=1), optimizer=Adam(learning_rate=1, ema_decay=0))
    member = check_member(given)
    assert member.noise.level == (1.0, 1.0)
    assert {type(leaf) for leaf in jax.tree.leaves(member)} == {int, float, bool}
    assert type(member.seed) is int
    assert check_member(member) == member and hash(member) == hash(check_member(given))


@pytest.mark.parametrize(
    ("member", "sentence"),
    [
        (Member(seed=-1), "seed -1 is not an integer from 0 to 4294967295"),
        (Member(seed=2**32), "seed 4294967296 is not an integer"),
        (Member(seed=0.5), "seed 0.5 is not an integer"),
        (Member(seed=True), "seed True is not an integer"),
        (Member(noise=Noise(level=-1)), "noise level -1 is out of range"),
        (Member(model=ConvAutoencoder(depth=0)), "depth 0 is not allowed: give an integer of at least 1"),
        (Member(model=ConvAutoencoder(compute_dtype="float16")), "compute dtype 'float16' is not known; did you mean"),
        (
            Member(model=ConvAutoencoder(prediction="image"), objective=Supervised("bce")),
            "loss bce needs prediction logits",
        ),
        (Member(objective=Supervised("mae")), r"loss 'mae' is not known; did you mean mse\?"),
        (Member(optimizer=Adadelta(rho=1.0)), "rho 1.0 is not allowed: give a number above 0 and below 1"),
        (Member(optimizer=Adam(ema_decay=1.0)), "ema decay 1.0 is not allowed"),
        (Member(optimizer=SGD(schedule="one-cycle")), r"schedule 'one-cycle' is not known; did you mean one_cycle\?"),
        (Member(optimizer="adam"), r"Member.optimizer is 'adam', which is not a component; give Adam\(\)"),
        (Member(objective=Supervised), "Supervised is a class; give an instance"),
        (Member(objective=Adam()), r"Member.objective is an Adam; did you swap objective and optimizer\?"),
    ],
)
def test_a_bad_member_is_refused_in_one_sentence(member, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        check_member(member)
    assert "\n" not in str(error.value)


def test_of_several_members_the_bad_one_is_named():
    with pytest.raises(InputError, match=r"seed -1 is not .* \(in member 1\)"):
        check_members([MEMBER, Member(seed=-1)])
    with pytest.raises(InputError, match="members 0 and 2 are the same"):
        check_members([MEMBER, Member(seed=1), Member(noise=Noise(level="0.5"))])
    with pytest.raises(InputError, match="there is no member to train"):
        check_members([])


AXES = {
    "seed": [0, 7],
    "noise.level": [0.25, (0, 1)],
    "optimizer.learning_rate": [1.0, 0.5],
    "optimizer.rho": [0.9, 0.8],
    "noise.corruption": ["gaussian", "uniform"],
    "objective.loss": ["bce", "mse"],
    "model": [ConvAutoencoder(width=4), ConvAutoencoder(width=8)],
}


@given(order=st.permutations(list(AXES)))
def test_a_grid_has_one_order_whatever_that_of_its_axes(order):
    members = grid(MEMBER, {path: AXES[path] for path in order})
    values = [
        (m.model.width, m.objective.loss, m.noise.corruption, m.optimizer.learning_rate, m.optimizer.rho,
         m.noise.level, m.seed)
        for m in members
    ]  # fmt: skip
    assert len(values) == len(set(values)) == 2**7
    assert values[:4] == [
        (4, "bce", "gaussian", 1.0, 0.9, (0.25, 0.25), 0),
        (4, "bce", "gaussian", 1.0, 0.9, (0.25, 0.25), 7),
        (4, "bce", "gaussian", 1.0, 0.9, (0.0, 1.0), 0),
        (4, "bce", "gaussian", 1.0, 0.9, (0.0, 1.0), 7),
    ]
    slowest_first = [[v[axis] for v in values[:: 2 ** (6 - axis)]] for axis in range(7)]
    assert all(found[0] == found[2] != found[1] for found in slowest_first[1:])


def test_a_grid_varies_a_field_where_it_exists():
    members = grid(MEMBER, {"optimizer": [Adam(), SGD()], "optimizer.momentum": [0.5, 0.9], "seed": [0, 1]})
    assert [type(m.optimizer) for m in members] == [Adam] * 2 + [SGD] * 4
    assert [m.optimizer.momentum for m in members[2:]] == [0.5, 0.5, 0.9, 0.9]


def test_a_grid_takes_whole_noises():
    noises = [Noise("masking", 0.25), Noise(clip=False)]
    assert [m.noise for m in grid(MEMBER, {"noise": noises})] == [
        Noise("masking", (0.25, 0.25)), Noise(level=(0.5, 0.5), clip=False)
    ]  # fmt: skip
    assert grid(MEMBER, {}) == (MEMBER,)


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"noise.levle": [1]}, r"no component has a field 'noise.levle'; did you mean noise.level"),
        ({"optimiser": [Adam()]}, r"no component has a field 'optimiser'; did you mean optimizer"),
        ({"optimizer.momentum": [0.9]}, r"no component has a field 'optimizer.momentum'"),
        ({"noise.level": [0.5, -1], "seed": [0, 1]}, r"noise level -1 .* \(in the cell noise.level -1, seed 0\)"),
        ({"model.prediction": ["logits", "image"]}, r"loss bce needs .* \(in the cell model.prediction 'image'\)"),
        ({"seed": [1, 1]}, "members 0 and 1 are the same; give each value once"),
        ({"noise.level": [0.5, "0.50"]}, "members 0 and 1 are the same"),
        ({"seed": 3}, r"seed 3 is not a sequence of values: write \[3\]"),
        ({"noise.level": "0:1"}, r"noise.level '0:1' is not a sequence of values"),
        ({"seed": []}, "seed has no values; give at least one"),
        ({"optimizer": ["adam"]}, r"Member.optimizer is 'adam', which is not a component; give Adam\(\)"),
    ],
)
def test_a_bad_grid_is_refused_in_one_sentence(axes, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        grid(MEMBER, axes)
    assert "\n" not in str(error.value)


NUMBERS = {
    "seed": [0, 2**32 - 1],
    "noise.level": [0.25, (0, 1)],
    "noise.redraw": [True, False],
    "optimizer.learning_rate": [1.0, 0.5],
    "optimizer.rho": [0.9, 0.8],
    "optimizer.ema_decay": [0.9, 0.99],
}


def test_members_that_differ_in_numbers_are_one_group_of_arrays():
    members = grid(Member(optimizer=Adadelta(ema_decay=0.5)), NUMBERS)
    (group,) = group_members(members)
    assert group.indices == tuple(range(2**6))
    assert jax.tree.structure(group.members) == jax.tree.structure(members[0])
    stacked = group.members
    assert (stacked.seed.dtype, stacked.noise.redraw.dtype) == (jnp.uint32, jnp.bool_)
    assert {leaf.dtype for leaf in jax.tree.leaves((stacked.noise.level, stacked.optimizer))} == {jnp.dtype("float32")}
    for index, member in enumerate(members):
        one = jax.tree.map(lambda leaf, i=index: leaf[i].item(), stacked)
        assert jax.tree.leaves(one) == pytest.approx(jax.tree.leaves(member), rel=1e-6)
    assert stacked.seed.tolist() == [member.seed for member in members]


STRUCTURE = {
    "noise.corruption": ["gaussian", "uniform"],
    "noise.clip": [True, False],
    "model.width": [32, 8],
    "model.depth": [2, 1],
    "objective.loss": ["bce", "mse"],
    "optimizer": [Adadelta(), Muon()],
    "optimizer.schedule": ["constant", "cosine"],
    "optimizer.ema_decay": [None, 0.9],
}


@pytest.mark.parametrize("path", STRUCTURE)
def test_members_that_differ_in_structure_are_groups_in_the_order_of_appearance(path):
    members = grid(MEMBER, {path: STRUCTURE[path], "seed": [0, 1]})
    first, second = group_members([members[i] for i in (2, 0, 3, 1)])
    assert (first.indices, second.indices) == ((0, 2), (1, 3))
    assert jax.tree.structure(first.members) == jax.tree.structure(members[2]) != jax.tree.structure(members[0])
    assert second.members.seed.tolist() == [0, 1]


def test_labels_name_what_differs_and_always_level_and_seed():
    assert labels([MEMBER]) == ("level 0.5, seed 0",)
    members = grid(MEMBER, {"noise.level": [0.25, "0:1"], "seed": [0, 3]})
    assert labels(members)[1:3] == ("level 0.25, seed 3", "level 0:1, seed 0")
    mixed = check_members(
        [
            MEMBER,
            Member(optimizer=Adam(learning_rate=0.01)),
            Member(noise=Noise("masking", (0.5, 0.5), redraw=False), model=ConvAutoencoder(width=8)),
        ]
    )
    named = labels(mixed)
    assert len(set(named)) == 3
    assert named[0] == "gaussian, redraw, width 32, adadelta, level 0.5, seed 0"
    assert "adam, learning rate 0.01" in named[1] and "masking, no redraw, width 8" in named[2]
    assert all(name.endswith("level 0.5, seed 0") for name in named)
    families = grid(Member(), {"model": [ConvAutoencoder(), UNet(width=8)]})
    assert labels(families) == (
        "autoencoder, loss bce, adadelta, level 0.5, seed 0",
        "unet, loss mse, adam, width 8, level 0.5, seed 0",
    )


@pytest.mark.parametrize(
    ("levels", "seeds", "expected"),
    [([0.1, 0.5], [3, 1], 3), (["0:1", 0.5], [0], 1), ([0.1, "0:1"], [0], 1), ([1.0], [2, 0], 1)],
)
def test_the_default_member_is_nearest_one_half_fixed_before_blind_with_the_lowest_seed(levels, seeds, expected):
    assert default_member(grid(MEMBER, {"noise.level": levels, "seed": seeds})) == expected


FRACTIONS = st.floats(0, 1, allow_subnormal=False)
LEVELS = FRACTIONS | st.tuples(FRACTIONS, FRACTIONS).map(sorted)


@given(
    seed=st.integers(0, 2**32 - 1),
    noise=st.builds(Noise, st.sampled_from(list(CORRUPTIONS)), LEVELS, st.booleans(), st.booleans()),
    model=st.sampled_from([kind(prediction="residual") for kind in MODELS.values()]),
    objective=st.sampled_from([Supervised("mse"), Noise2Noise(allow_bias=True)]),
    optimizer=st.sampled_from(list(OPTIMIZERS.values())),
    decay=st.none() | st.just(0.99),
)
def test_a_member_is_rebuilt_from_its_json(seed, noise, model, objective, optimizer, decay):
    member = check_member(Member(seed, noise, model, objective, optimizer(learning_rate=0.02, ema_decay=decay)))
    fields = json.loads(json.dumps(to_dict(member)))
    assert from_dict(fields) == member
    assert jax.tree.structure(from_dict(fields)) == jax.tree.structure(member)


def test_bad_json_is_refused_in_one_sentence():
    fields = to_dict(MEMBER)
    for change, sentence in [
        ({"sead": 1}, r"field of a member 'sead' is not known; did you mean seed\?"),
        ({"optimizer": {"kind": "lion"}}, "kind 'lion' is not known; known: adadelta, adam, adamw, muon, sgd"),
        ({"optimizer": {"kind": "sgd", "rho": 0.5}}, "field of SGD 'rho' is not known"),
        ({"noise": {"level": [0.5, -0.5]}}, "noise level 0.5:-0.5 is out of range"),
        ({"model": fields["model"] | {"width": 0}}, "width 0 is not allowed"),
    ]:
        with pytest.raises(InputError, match=sentence):
            from_dict(fields | change)


def test_the_presets_are_canonical_members():
    for preset in PRESETS.values():
        assert check_member(preset.member) == preset.member
    assert PRESETS["classic"].member == check_member(Member(noise=Noise(redraw=False)))
