"""A member: one training, composed of a seed, a noise, a model, an objective and an optimizer; and many of them.

Members of equal treedef form a group: stacked, they train in one compiled program. A member's index is its position in
the list, everywhere.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxdae import components, rng
from jaxdae.arguments import require_seed, require_sequence
from jaxdae.errors import InputError, nearest, require_name, shown
from jaxdae.models import ConvAutoencoder
from jaxdae.noise import Noise, check_noise, format_level
from jaxdae.objectives import Supervised
from jaxdae.training.composition import KINDS, require_axes, require_component, require_member, require_members
from jaxdae.training.optimizers import OPTIMIZERS


@struct.dataclass
class Member:
    """One training."""

    seed: int = 0
    """Of the initial weights, the order of the examples and the noise."""
    noise: Noise = Noise()
    model: Any = struct.field(pytree_node=False, default=ConvAutoencoder())
    objective: Any = Supervised()
    optimizer: Any = None
    """None: the one that the model names, `adam` if it names none."""


class Group(NamedTuple):
    """Members that train in one compiled program."""

    indices: tuple[int, ...]
    """Their positions in the list of all members."""
    members: Member
    """Stacked: every number has a leading member axis."""


def check_member(member: Member) -> Member:
    """The member in canonical form (levels as pairs, numbers as floats); InputError for a value not allowed."""
    require_member("member", member)
    require_seed(member.seed)
    for slot in ("noise", "model", "objective"):
        require_component(slot, getattr(member, slot))
    member = with_optimizer(member)
    require_component("optimizer", member.optimizer)
    noise, model, objective = check_noise(member.noise), *map(components.checked, (member.model, member.objective))
    optimizer = components.checked(member.optimizer)
    return Member(int(member.seed), noise, model, objective.check(noise, model), optimizer)


def with_optimizer(member: Member) -> Member:
    """The member with the optimizer that its model names, if it has none of its own."""
    if member.optimizer is not None:
        return member
    name = getattr(member.model, "optimizer", "adam")
    require_name("optimizer", name, OPTIMIZERS)
    return member.replace(optimizer=OPTIMIZERS[name]())  # type: ignore[attr-defined]


def check_members(members: Member | Sequence[Member], names: Sequence[str] = ()) -> tuple[Member, ...]:
    """One or several members in canonical form; InputError, by their `names`, for one not allowed, or two equal."""
    if isinstance(members, Member):
        members = (members,)
    require_members(members)
    members = tuple(members)
    if not members:
        raise InputError("there is no member to train; give at least one")
    first: dict[Member, int] = {}
    for index, member in enumerate(members):
        require_member(f"members[{index}]", member)
        try:
            canonical = check_member(member)
        except InputError as error:
            where = names[index] if names else f"member {index}"
            raise InputError(f"{error} (in {where})" if len(members) > 1 else str(error)) from None
        if canonical in first:
            raise InputError(f"members {first[canonical]} and {index} are the same; give each value once")
        first[canonical] = index
    return tuple(first)


def grid(member: Member, axes: Mapping[str, Sequence[Any]]) -> tuple[Member, ...]:
    """All combinations of values, as canonical members.

    Args:
        member: the rest.
        axes: values by the path of a field ("noise.level", "model.width", "seed") or by a whole component ("model").

    Returns:
        The members in a fixed order, whatever the order of `axes`: by model, objective, noise as a whole or its
        corruption, other numbers, level, and seed fastest. A field that only some of the components have varies those
        that have it. InputError if no component has a field, or a combination is not allowed (which one is said).
    """
    require_axes(member, axes)
    cells: list[tuple[Member, dict[str, Any]]] = [(member, {})]
    for path in sorted(axes, key=lambda path: (_rank(path), "." in path, path)):
        values = axes[path]
        if path.startswith("optimizer."):
            cells = [(with_optimizer(cell), chosen) for cell, chosen in cells]
        _require_values(path, values)
        if not any(_has(cell, path) for cell, _ in cells):
            raise InputError(f"no component has a field {path!r}; {nearest(path, _paths(cells))}")
        cells = [
            (_replace(cell, path, value), chosen | {path: value}) if _has(cell, path) else (cell, chosen)
            for cell, chosen in cells
            for value in (values if _has(cell, path) else [None])
        ]
    names = ["the cell " + ", ".join(f"{path} {_shown(value)}" for path, value in found.items()) for _, found in cells]
    return check_members([cell for cell, _ in cells], names)


def _require_values(path: str, values: Any) -> None:
    """InputError unless an axis has values, of a whole component its instances."""
    require_sequence(path, values)
    if not len(values):
        raise InputError(f"{path} has no values; give at least one")
    for value in values if path in KINDS else ():
        if path != "optimizer" or value is not None:
            require_component(path, value)


def _shown(value: Any) -> str:
    return type(value).__name__ if dataclasses.is_dataclass(value) else shown(value)


def _rank(path: str) -> int:
    """The place of an axis in the order of a grid."""
    places = {"noise": 2, "noise.corruption": 2, "noise.level": 4, "seed": 5}
    return {"model": 0, "objective": 1}.get(path.split(".")[0], places.get(path, 3))


def _has(member: Member, path: str) -> bool:
    component, _, field = path.partition(".")
    if not field:
        return component == "seed" or component in KINDS
    return component in KINDS and field in components.settings(getattr(member, component))


def _paths(cells: Sequence[tuple[Member, Any]]) -> list[str]:
    found = dict.fromkeys(
        f"{name}.{field}"
        for cell, _ in cells
        for name in KINDS
        for field in components.settings(getattr(with_optimizer(cell), name))
    )
    return ["seed", *KINDS, *found]


def _replace(member: Member, path: str, value: Any) -> Member:
    component, _, field = path.partition(".")
    if field:
        value = components.replace(getattr(member, component), {field: value})
    return member.replace(**{component: value})  # type: ignore[attr-defined]


def group_members(members: Sequence[Member]) -> tuple[Group, ...]:
    """The members of a list by treedef, in the order of their first appearance."""
    by_treedef: dict[Any, list[int]] = {}
    for index, member in enumerate(members):
        by_treedef.setdefault(jax.tree.structure(member), []).append(index)
    return tuple(Group(tuple(found), stack([members[i] for i in found])) for found in by_treedef.values())


@rng.pinned()
def stack(members: Sequence[Member]) -> Member:
    """Canonical members of equal treedef as one, every number with a leading member axis.

    Seeds become uint32, real numbers float32, truth values bool.
    """

    def stacked(*values: Any) -> Any:
        types = {bool: jnp.bool_, int: jnp.uint32, float: jnp.float32}
        return jnp.asarray(np.array(values, types[type(values[0])]))

    return jax.tree.map(stacked, *members)


def labels(members: Sequence[Member]) -> tuple[str, ...]:
    """A short name for each member: its level and seed, after the other fields in which members differ.

    Where the kinds of a component differ, only what is not the kind's default is named beside the kind.
    """
    slots = [slot for slot in KINDS if len({type(getattr(member, slot)) for member in members}) > 1]
    named = [_fields(member, slots) for member in members]
    names = [name for name in dict.fromkeys(itertools.chain(*named)) if name not in ("level", "seed")]
    shown = [name for name in names if len({str(fields.get(name)) for fields in named}) > 1] + ["level", "seed"]
    return tuple(", ".join(_word(name, fields[name]) for name in shown if name in fields) for fields in named)


def _fields(member: Member, brief: Sequence[str]) -> dict[str, Any]:
    """The fields of a member by name; of the slots `brief`, those that are not at their default."""
    found: dict[str, Any] = {}
    for slot, kinds in KINDS.items():
        component = getattr(member, slot)
        found |= {} if kinds is None else {slot: components.kind_of(component, kinds)}
        for name, setting in components.settings(component).items():
            value = getattr(component, name)
            if slot not in brief or value != setting.default:
                found[name] = value
    return found | {"level": format_level(member.noise.level), "seed": member.seed}


def _word(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if name in (*KINDS, "corruption"):
        return str(value)
    return f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name.replace('_', ' ')} {value}"


def default_member(members: Sequence[Member]) -> int:
    """The index of the member nearest level 0.5, one of a fixed level before a blind one, then the lowest seed."""

    def rank(index: int) -> tuple[float, float, int]:
        (low, high), seed = members[index].noise.level, members[index].seed
        return abs((low + high) / 2 - 0.5), high - low, seed

    return min(range(len(members)), key=rank)


def to_dict(member: Member) -> dict[str, Any]:
    """A member as JSON types: every component with its kind and all its values."""
    found = {name: components.to_dict(getattr(member, name), kinds) for name, kinds in KINDS.items()}
    found["noise"]["level"] = list(member.noise.level)
    return {"seed": member.seed} | found


def from_dict(fields: Mapping[str, Any]) -> Member:
    """The inverse of `to_dict`, checked; InputError if a field or a kind is not known, or a value is not allowed."""
    for name in fields:
        if name not in ("seed", *KINDS):
            raise InputError(f"field of a member {name!r} is not known; {nearest(name, ('seed', *KINDS))}")
    made = {
        name: components.make(Noise, fields[name]) if kinds is None else components.from_dict(fields[name], kinds)
        for name, kinds in KINDS.items()
    }
    return check_member(Member(seed=fields["seed"], **made))
