"""Components declare their fields once: type, bounds and kind of every value follow from the declaration."""

import jax
import numpy as np
import pytest
from flax import struct

from jaxdae import components
from jaxdae.components import checked, number, structure
from jaxdae.errors import InputError, nearest, require_name


@struct.dataclass
class Thing:
    name: str = structure("red", "its colour", choices=("red", "blue"))
    size: int = structure(2, "how large", at_least=1)
    shut: bool = structure(False, "closed")
    ratio: float = number(0.5, "share", above=0, below=1)
    decay: float | None = number(None, "of an average", below=1)
    fresh: bool = number(True, "drawn again", type=bool)


@struct.dataclass
class Other:
    ratio: float = number(0.25, "share")


KINDS = {"thing": Thing, "other": Other}


def test_numbers_are_leaves_and_structure_is_in_the_treedef():
    thing = Thing(ratio=0.25)
    assert jax.tree.leaves(thing) == [0.25, True]
    for same in (Thing(ratio=0.75), Thing(fresh=False)):
        assert jax.tree.structure(same) == jax.tree.structure(thing)
    for other in (Thing(name="blue"), Thing(size=3), Thing(shut=True), Thing(decay=0.5), Other()):
        assert jax.tree.structure(other) != jax.tree.structure(thing)


def test_a_checked_component_has_canonical_types():
    thing = checked(Thing(size=np.int64(3), ratio=np.float32(0.5), decay=0))
    assert thing == Thing(size=3, ratio=0.5, decay=0.0)
    assert (type(thing.size), type(thing.ratio), type(thing.decay)) == (int, float, float)
    assert checked(Thing()).decay is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": "reed"}, r"name 'reed' is not known; did you mean red\?"),
        ({"size": 0}, "size 0 is not allowed: give an integer of at least 1"),
        ({"size": 2.5}, "size 2.5 is not allowed: give an integer of at least 1"),
        ({"size": True}, "size True is not allowed"),
        ({"shut": 1}, "shut 1 is neither true nor false"),
        ({"ratio": 0.0}, "ratio 0.0 is not allowed: give a number above 0 and below 1"),
        ({"ratio": 1.0}, "ratio 1.0 is not allowed"),
        ({"ratio": float("nan")}, "ratio nan is not allowed"),
        ({"ratio": None}, "ratio None is not allowed"),
        ({"ratio": "0.5"}, "ratio '0.5' is not allowed"),
        ({"decay": 1.0}, "decay 1.0 is not allowed: give a number of at least 0 and below 1"),
    ],
)
def test_a_value_out_of_bounds_is_refused_in_one_sentence(fields, sentence):
    with pytest.raises(InputError, match=f"^{sentence}") as error:
        checked(Thing(**fields))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("thing", "'thing' is not a component"), (Thing, r"Thing is a class; give an instance, Thing")],
)
def test_what_is_no_component_is_refused(given, sentence):
    with pytest.raises(InputError, match=sentence):
        checked(given)


@pytest.mark.parametrize("component", [Thing(), Thing("blue", 7, True, 0.1, 0.99, False), Other(0.75)])
def test_a_component_is_rebuilt_from_its_dictionary(component):
    fields = components.to_dict(component, KINDS)
    assert fields["kind"] == components.kind_of(component, KINDS)
    assert components.from_dict(fields, KINDS) == component


def test_unknown_kinds_and_fields_name_the_nearest():
    with pytest.raises(InputError, match=r"kind 'thin' is not known; did you mean thing\?"):
        components.from_dict({"kind": "thin"}, KINDS)
    with pytest.raises(InputError, match=r"field of Thing 'sise' is not known; did you mean size\?"):
        components.from_dict({"kind": "thing", "sise": 2}, KINDS)


def test_a_field_says_what_the_command_line_needs():
    fields = components.settings(Thing)
    assert list(fields) == ["name", "size", "shut", "ratio", "decay", "fresh"]
    assert (fields["size"].type, fields["size"].default, fields["size"].help) == (int, 2, "how large")
    assert fields["name"].choices == ("red", "blue")
    assert fields["decay"].default is None


def test_a_name_like_no_other_gets_the_whole_list():
    assert nearest("zzz", ("a", "b")) == "known: a, b"
    with pytest.raises(InputError, match="thing 'zzz' is not known; known: a, b"):
        require_name("thing", "zzz", ("a", "b"))
