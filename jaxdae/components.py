"""How a component declares its fields: structure or number, the allowed values, a line of help.

A component (noise, model, objective, optimizer) is a frozen dataclass, registered as a pytree: numbers are leaves, so
one compiled program serves all their values; everything else is structure, a part of the treedef. Bounds and help are
metadata of the fields. `checked` and the command line read them; nothing else lists a component's fields.
"""

import dataclasses
import math
import numbers
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jaxdae.errors import InputError, require_name, shown


class Setting(NamedTuple):
    """A declared field of a component."""

    name: str
    type: type
    """bool, int, float, str, or a type with a check of its own."""
    default: Any
    """None if the field may be None."""
    help: str
    flag: str
    """The field's name on the command line, in the singular."""
    choices: Collection[str] | None
    low: float
    above: bool
    """Whether `low` itself is excluded."""
    below: float
    each: str | None = None
    """The field that says how many values make a tuple of them; one value stands for as many equal ones."""
    unset: str = ""
    """What None stands for, in words."""

    def checked(self, value: Any) -> Any:
        """The value in its canonical type; InputError if it has another type or is out of bounds."""
        words = self.name.replace("_", " ")
        value = plain(value)
        if self.each and isinstance(value, (list, tuple)):
            return tuple(map(self.checked, value))
        if value is None and self.default is None:
            return None
        if self.choices is not None:
            require_name(words, value, self.choices)
        elif self.type is bool and not isinstance(value, bool):
            raise InputError(f"{words} {shown(value)} is neither true nor false")
        elif isinstance(self.default, str) and not isinstance(value, str):
            raise InputError(f"{words} {shown(value)} is not text")
        if self.type not in (int, float):
            return value
        kind = numbers.Integral if self.type is int else numbers.Real  # NumPy's scalars too
        typed = isinstance(value, kind) and not isinstance(value, bool)
        # No number that is not finite lies between; math.isfinite would fail for an integer of 400 digits.
        if not (typed and self.low <= value < self.below) or (self.above and value == self.low):
            what = f"{'an integer' if self.type is int else 'a number'} {'above' if self.above else 'of at least'}"
            most = f" and below {self.below:g}" if math.isfinite(self.below) else ""
            raise InputError(f"{words} {shown(value)} is not allowed: give {what} {self.low:g}{most}")
        return self.type(value)


def structure(
    default: Any,
    help: str,
    *,
    choices: Collection[str] | None = None,
    at_least: int = 0,
    below: float = math.inf,
    each: str | None = None,
    unset: str = "",
) -> Any:
    """A field that is a part of the treedef: a name, a switch or a size, or a tuple of sizes (`each`)."""
    kind = str if default is None else type(default)
    setting = Setting("", kind, default, help, "", choices, at_least, False, below, each, unset)
    return dataclasses.field(default=default, metadata={"pytree_node": False, "setting": setting})


def number(
    default: Any, help: str, *, above: float | None = None, below: float = math.inf, type: type = float, flag: str = ""
) -> Any:
    """A leaf: a real number, of at least 0 or above a bound; or a truth value that need not be compiled in."""
    setting = Setting("", type, default, help, flag, None, above or 0.0, above is not None, below)
    return dataclasses.field(default=default, metadata={"pytree_node": True, "setting": setting})


def settings(component: Any) -> dict[str, Setting]:
    """The declared fields of a component, or of its class, by name; InputError if it is something else."""
    if not dataclasses.is_dataclass(component):
        raise InputError(f"{shown(component)} is not a component (noise, model, objective or optimizer)")
    fields = [f for f in dataclasses.fields(component) if "setting" in f.metadata or f.name not in ("parent", "name")]
    for field in fields:
        if "setting" not in field.metadata:
            kind = getattr(component, "__name__", type(component).__name__)
            raise InputError(f"declare the field {field.name} of {kind} by structure() or number()")
    declared = {field.name: field.metadata["setting"] for field in fields}
    return {name: s._replace(name=name, flag=s.flag or name.replace("_", "-")) for name, s in declared.items()}


def checked(component: Any) -> Any:
    """The component with every field checked and in its canonical type; InputError if a value is not allowed."""
    if isinstance(component, type):
        raise InputError(f"{component.__name__} is a class; give an instance, {component.__name__}()")
    declared = settings(component)
    values = {name: setting.checked(getattr(component, name)) for name, setting in declared.items()}
    for name, each in ((name, setting.each) for name, setting in declared.items() if setting.each):
        if isinstance(values[name], tuple) and len(values[name]) != values[each]:
            raise InputError(f"{name} {values[name]} has {len(values[name])} values, but {each} is {values[each]}")
    return replace(component, values)


def replace(component: Any, values: Mapping[str, Any]) -> Any:
    """The component with other values of some fields."""
    return type(component)(**({name: getattr(component, name) for name in settings(component)} | dict(values)))


def to_dict(component: Any, kinds: Mapping[str, type] | None = None) -> dict[str, Any]:
    """The fields of a component by name, JSON types, and its `kind` where there are several."""
    kind = {} if kinds is None else {"kind": kind_of(component, kinds)}
    return kind | {name: plain(getattr(component, name)) for name in settings(component)}


def plain(value: Any) -> Any:
    """A value without the types of NumPy: its scalars and 0-d arrays become Python's, in tuples and lists too."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        items = [plain(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    is_scalar = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if is_scalar else value


def from_dict(fields: Mapping[str, Any], kinds: Mapping[str, type]) -> Any:
    """The inverse of `to_dict` with kinds; InputError if the kind or a field is not known."""
    values = dict(fields)
    kind = values.pop("kind", None)
    require_name("kind", kind, kinds)
    return make(kinds[kind], values)


def make(component: type, values: Mapping[str, Any]) -> Any:
    """A component of those values; InputError if a field is not known."""
    for name in values:
        require_name(f"field of {component.__name__}", name, settings(component))
    return component(**with_tuples(values))


def with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values read from JSON, which has lists only."""
    return {name: _with_tuples(value) for name, value in values.items()}


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def kind_of(component: Any, kinds: Mapping[str, type]) -> str:
    """The name under which the class of a component is registered; its class's name if it is not."""
    return next((name for name, kind in kinds.items() if kind is type(component)), type(component).__name__)
