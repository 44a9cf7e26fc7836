"""Value ranges: the stored values that stand for black and white, the same in training as in `jaxdae denoise`.

The range of 8-bit files is that of their type, of arrays of floats from 0 to 1 these. That of all others is measured
once over all that a file holds (frames that are one sequence: over the sequence), never over a part of it, unless one
is given. Both sides of a pair have the range of the input, or their difference would not be noise.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from jaxdae.arguments import is_number
from jaxdae.data.folder import Stored
from jaxdae.data.source import EIGHT_BIT, ValueRange
from jaxdae.errors import InputError, shown

Pixels = UInt8[np.ndarray, "height width channel"] | Float[np.ndarray, "height width channel"]
"""One picture, grey or RGB: 8-bit, or float32 with black at 0 and white at 1, beyond which values may lie."""


def value_type(kind: np.dtype) -> str:
    """The type of stored values by name: uint8, uint16, ..., or float for all of these."""
    return "float" if np.issubdtype(kind, np.floating) else np.dtype(kind).name


def require_range(value_range: Sequence[float]) -> ValueRange:
    """A given range as a pair of floats; InputError unless it is two finite numbers that rise."""
    if isinstance(value_range, str) or not all(is_number(x) for x in value_range) or len(value_range) != 2:
        raise InputError(f"value range {shown(value_range)} is not allowed: give two numbers, the lower first")
    low, high = map(float, value_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"--range {low:g} {high:g} is not allowed; give two numbers, the lower first")
    return low, high


def value_ranges(pictures: Mapping[str, Stored], given: ValueRange | None = None) -> dict[str, ValueRange]:
    """The range of each picture: the given one, or the one of all pictures of its group and type.

    InputError if one is given for several types.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for name, picture in pictures.items():
        groups.setdefault((picture.group, value_type(picture.values.dtype)), []).append(name)
    types = {kind: names[0] for (_, kind), names in groups.items()}
    if given and len(types) > 1:
        shown = " and ".join(f"{kind} ({name})" for kind, name in types.items())
        raise InputError(f"--range is for files of one type, here are {shown}; leave it out, or train them apart")
    found: dict[str, ValueRange] = {}
    for names in groups.values():
        found |= dict.fromkeys(names, given or _range_of([pictures[name] for name in names]))
    return found


def target_ranges(
    inputs: Mapping[str, Stored], targets: Mapping[str, Stored], ranges: Mapping[str, ValueRange]
) -> dict[str, ValueRange]:
    """The range of each target: its input's, or that of its type where neither is measured.

    InputError for a pair of two types of which one is measured.
    """
    found = {}
    for name, target in targets.items():
        kinds = [value_type(picture.values.dtype) for picture in (inputs[name], target)]
        if kinds[0] == kinds[1]:
            found[name] = ranges[name]
        elif all(_fixed(picture) for picture in (inputs[name], target)):
            found[name] = _range_of([target])
        else:
            raise InputError(
                f"the pair {name} has values of type {kinds[0]} and {kinds[1]}, which have no value range in common; "
                "save both in one type"
            )
    return found


def on_unit_scale(picture: Stored, value_range: ValueRange) -> Pixels:
    """A picture with black at 0 and white at 1, values beyond staying beyond; 8-bit where that loses nothing."""
    from jaxdae.data import pictures  # Pillow is not loaded where nothing is read

    if picture.values.dtype == np.uint8 and value_range == EIGHT_BIT and not picture.negative:
        return np.ascontiguousarray(picture.values)
    black, white = value_range[::-1] if picture.negative else value_range
    [floats] = pictures.unit_scale(pictures.Picture((picture.values,), (None,), "", {}, black, white))
    eight_bit = np.round(np.clip(floats, 0, 1) * 255).astype(np.uint8)
    return eight_bit if np.array_equal(eight_bit.astype(np.float32) / 255, floats) else floats


def count_beyond(pictures: Sequence[Pixels]) -> int:
    """How many values are less than black or more than white."""
    floats = [picture for picture in pictures if picture.dtype != np.uint8]
    return sum(int(np.count_nonzero((picture < 0) | (picture > 1))) for picture in floats)


def _fixed(picture: Stored) -> bool:
    return picture.values.dtype in (np.uint8, np.bool_) or picture.unit


def _range_of(pictures: Sequence[Stored]) -> ValueRange:
    from jaxdae.data.pictures import measured

    return (0.0, 1.0) if all(picture.unit for picture in pictures) else measured([p.values for p in pictures])
