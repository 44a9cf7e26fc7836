"""A configuration goes to JSON and back, and refuses what it cannot mean in one sentence."""

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdae.config import (
    PRESETS,
    CorruptionName,
    InputError,
    OptimizerName,
    Preset,
    RunConfig,
    default_member,
    level_range,
    preset,
    require_name,
)

levels = st.floats(0, 1, allow_subnormal=False)
ranges = st.tuples(levels, levels).map(lambda pair: f"{min(pair):g}:{max(pair):g}")


@given(
    noise_levels=st.lists(levels | ranges, min_size=1, max_size=3),
    seeds=st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=3),
    optimizer=st.sampled_from(get_args(OptimizerName)),
    corruption=st.sampled_from(get_args(CorruptionName)),
    epochs=st.integers(1, 1000),
)
def test_json_round_trip(noise_levels, seeds, optimizer, corruption, epochs):
    canonical = dict.fromkeys(RunConfig(noise_levels=(level,)).noise_levels[0] for level in noise_levels)
    config = RunConfig(
        noise_levels=tuple(canonical),
        seeds=tuple(seeds),
        optimizer=optimizer,
        corruption=corruption,
        epochs=epochs,
    )
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_presets_are_configurations_that_can_be_changed():
    assert set(PRESETS) == set(get_args(Preset))
    assert preset("seed") == RunConfig(dataset="mnist", noise_levels=(0.5,), draw="fixed", epochs=100)
    assert preset("fast", epochs=3).epochs == 3
    with pytest.raises(InputError, match=r"preset 'fats' is not known; did you mean fast\?"):
        preset("fats")


def test_members_are_ordered_by_level_then_seed():
    members = RunConfig(noise_levels=(0.25, "0:1"), seeds=(0, 7)).members
    assert members == ((0.25, 0), (0.25, 7), ("0:1", 0), ("0:1", 7))


def test_levels_are_canonical():
    assert RunConfig(noise_levels=("0.5", "0.0:1.0", "0.25:0.25")).noise_levels == (0.5, "0:1", 0.25)
    assert level_range("0:1") == (0.0, 1.0)
    assert level_range(0.5) == (0.5, 0.5)


def test_learning_rate_defaults_by_optimizer():
    assert RunConfig().learning_rate == 1.0
    assert RunConfig(optimizer="adam").learning_rate == 1e-3
    assert RunConfig(optimizer="adam", learning_rate=0.01).learning_rate == 0.01


@pytest.mark.parametrize(
    ("noise_levels", "seeds", "expected"),
    [((0.1, 0.5), (3, 1), 3), (("0:1", 0.5), (0,), 1), ((0.1, "0:1"), (0,), 1), ((1.0,), (2, 0), 1)],
)
def test_default_member_is_nearest_one_half_specialist_first_lowest_seed(noise_levels, seeds, expected):
    assert default_member(RunConfig(noise_levels=noise_levels, seeds=seeds)) == expected


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"noise_levels": (-0.1,)}, r"noise level -0.1 is out of range: gaussian takes 0 or more"),
        ({"noise_levels": ("1:0",)}, r"noise level 1:0 is out of range"),
        ({"noise_levels": ("much",)}, r"noise level 'much' is neither a number \(0.5\) nor a range \(0:1\)"),
        ({"noise_levels": (float("nan"),)}, r"noise level nan is out of range"),
        ({"noise_levels": (1.5,), "corruption": "masking"}, r"masking takes from 0 to 1"),
        ({"noise_levels": ()}, r"noise_levels \(\) must hold at least one value"),
        ({"noise_levels": (0.5, "0.5")}, r"none twice"),
        ({"noise_levels": 0.5}, r"noise_levels and seeds are sequences: write \(0.5,\)"),
        ({"seeds": (-1,)}, r"seed -1 is not an integer from 0 to 4294967295"),
        ({"seeds": (1, 1)}, r"none twice"),
        ({"corruption": "gausian"}, r"corruption 'gausian' is not known; did you mean gaussian\?"),
        ({"optimizer": "lion"}, r"optimizer 'lion' is not known; known: adadelta, adam, muon, sgd"),
        ({"schedule": "one-cycle"}, r"schedule 'one-cycle' is not known; did you mean one_cycle\?"),
        ({"compute_dtype": "float16"}, r"compute dtype 'float16' is not known; did you mean bfloat16 or float32\?"),
        ({"head": "sigmoid"}, r"head 'sigmoid' is not known; known: logits, linear, residual"),
        ({"loss": "mae"}, r"loss 'mae' is not known; did you mean mse\?"),
        ({"head": "linear"}, r"loss bce needs head logits, not linear, whose images leave \[0, 1\]; take loss mse"),
        ({"average": 1.0}, r"average 1.0 must lie from 0 \(none\) to below 1"),
        ({"models_at_once": 2, "seeds": (0, 1, 2)}, r"models_at_once 2 does not divide 3 models; take 1, 3"),
        ({"epochs": 0}, r"epochs 0 is not an integer of at least 1"),
        ({"batch_size": 2.5}, r"batch_size 2.5 is not an integer of at least 1"),
        ({"holdout": -1}, r"holdout -1"),
        ({"learning_rate": 0.0}, r"learning_rate 0.0 must lie above 0"),
        ({"adadelta_rho": 1.0}, r"adadelta_rho 1.0 must lie above 0 and below 1"),
    ],
)
def test_bad_fields_are_refused_in_one_sentence(fields, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        RunConfig(**fields)
    assert "\n" not in str(error.value)


def test_unknown_field_is_refused():
    with pytest.raises(InputError, match=r"configuration field 'epoch' is not known; did you mean epochs\?"):
        RunConfig.from_dict({"epoch": 3})


def test_a_name_like_no_other_gets_the_whole_list():
    with pytest.raises(InputError, match="known: a, b"):
        require_name("thing", "zzz", ("a", "b"))
