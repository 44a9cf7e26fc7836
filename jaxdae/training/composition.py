"""What a member is composed of, and sentences for what cannot be a part of one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jaxdae.arguments import is_number
from jaxdae.errors import InputError, shown
from jaxdae.models import MODELS
from jaxdae.noise import Noise
from jaxdae.objectives import OBJECTIVES
from jaxdae.training.optimizers import OPTIMIZERS

KINDS: dict[str, dict[str, type] | None] = {
    "noise": None,
    "model": MODELS,
    "objective": OBJECTIVES,
    "optimizer": OPTIMIZERS,
}
"""The components of a member, and what they can be; `Noise` is the only noise."""

CONTRACTS = {
    "noise": ("corruption", "level"),
    "model": ("prediction", "multiple", "reach"),
    "objective": ("loss", "check"),
    "optimizer": ("schedule", "transformation"),
}
"""What a component has to say."""


def require_component(slot: str, component: Any) -> None:
    """Raises InputError, which says the way out, unless a value can be a component of a member."""
    name = f"Member.{slot}"
    if isinstance(component, type):
        raise InputError(f"{name}: {component.__name__} is a class; give an instance, {component.__name__}()")
    for other, kinds in KINDS.items():
        if other != slot and type(component) in _classes(kinds):
            raise InputError(f"{name} is {shown(component)}; did you swap {slot} and {other}?")
    if not dataclasses.is_dataclass(component):
        raise InputError(f"{name} is {shown(component)}, which is not a component; give {_example(slot, component)}")
    for field in CONTRACTS[slot]:
        # Of the class first: a property may compute for long with a value that is not checked yet.
        if not (hasattr(type(component), field) or hasattr(component, field)):
            kind = type(component).__name__
            raise InputError(
                f"{name} cannot be {shown(component)}: {kind} does not say its {field} (docs/extending.md)"
            )


def require_member(name: str, member: Any) -> None:
    """Raises InputError unless a value is one member by its parts, whatever they are."""
    if isinstance(member, type):
        raise InputError(f"{name} is the class {member.__name__}; give an instance, Member(...)")
    if isinstance(member, str):
        raise InputError(f"{name} is {shown(member)}; give a Member, of a preset PRESETS['classic'].member")
    if hasattr(member, "member"):
        raise InputError(f"{name} is {shown(member)}; give its .member")
    if isinstance(member, (list, tuple)):
        raise InputError(f"{name} is {shown(member)}, not a Member; give one Member here")
    if not all(hasattr(member, field) for field in ("seed", *KINDS)):
        raise InputError(f"{name} is {shown(member)}, not a Member; give Member(model=..., noise=...)")


def require_members(members: Any) -> None:
    """Raises InputError unless a value is a list of members."""
    if isinstance(members, (str, type)) or hasattr(members, "member") or not hasattr(members, "__iter__"):
        require_member("members", members)
    if isinstance(members, (Mapping, set, frozenset)) or hasattr(members, "dtype"):
        raise InputError(f"members is {shown(members)}; give a Member or a list of them")


def require_axes(member: Any, axes: Any) -> None:
    """Raises InputError unless values can be the arguments of `grid`."""
    if isinstance(member, Mapping) and not isinstance(axes, Mapping):
        raise InputError(f"member is {shown(member)} and axes is {shown(axes)}; did you swap member and axes?")
    require_member("member", member)
    if not isinstance(axes, Mapping):
        raise InputError(f"axes is {shown(axes)}; give a dict of paths and lists, such as {{'seed': [0, 1]}}")
    for path in axes:
        if not isinstance(path, str):
            raise InputError(f"axes has the key {shown(path)}; give the path of a field as text, such as 'noise.level'")
    for slot in KINDS:
        if slot != "optimizer" or member.optimizer is not None:
            require_component(slot, getattr(member, slot))


def _classes(kinds: Mapping[str, type] | None) -> Sequence[type]:
    return [Noise] if kinds is None else list(kinds.values())


def _example(slot: str, component: Any) -> str:
    """How to write the component that is probably meant."""
    if slot == "noise":
        given = is_number(component) or isinstance(component, (tuple, list))
        return f"Noise(level={shown(component)})" if given else "Noise(level=0.5)"
    kinds = KINDS[slot] or {}
    kind = kinds.get(component) if isinstance(component, str) else None
    return f"{(kind or next(iter(kinds.values()))).__name__}()"
