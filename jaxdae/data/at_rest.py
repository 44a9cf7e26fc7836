"""Neighboring frames as pairs of one scene: matched in brightness, and refused if the scene moves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxdae.data import motion
from jaxdae.data.ranges import Pixels
from jaxdae.errors import InputError


def static_targets(
    path: Path,
    inputs: Mapping[str, Pixels],
    targets: Mapping[str, Pixels],
    sequences: Mapping[str, str],
    *,
    allow_motion: bool = False,
) -> tuple[dict[str, Pixels], list[str]]:
    """The next frames as targets, with the mean brightness of their inputs; and what differs, in words.

    Args:
        path: of the frames, for the words.
        inputs: the first frame of each pair, by name.
        targets: the next frame, by the name of the first.
        sequences: the sequence of each first frame.
        allow_motion: leave the targets as they are, and refuse nothing.

    Raises:
        InputError: neighboring frames differ in more than their noise and brightness.
    """
    notes = []
    by_sequence: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name in inputs:
        by_sequence.setdefault((sequences[name], inputs[name].shape), []).append(name)
    largest = motion.Change()
    for names in by_sequence.values():
        change = motion.compare([(_floats(inputs[name]), _floats(targets[name])) for name in names])
        largest = max(largest, change, key=lambda one: abs(one.step))
        if moves := _movement(change, names):
            if not allow_motion:
                raise InputError(
                    f"{path}: the scene is not at rest: {moves}. A network would learn to move it; give frames that "
                    "show the same, or train on these as they are with --allow-motion"
                )
            notes.append(f"{path}: the scene is not at rest: {moves} (--allow-motion)")
    if largest.step:
        notes.append(_brightness(path, largest, allow_motion))
    if allow_motion:
        return dict(targets), notes
    return {name: _matched(inputs[name], target) for name, target in targets.items()}, notes


def _movement(change: motion.Change, names: list[str]) -> str:
    """What moves, in words; empty if nothing does."""
    if change.changed:
        shift = f", much as by a shift of {change.shift:.2g} pixels" if change.shift else ""
        return (
            f"structure changes beyond the noise in {change.changed} of {change.blocks} blocks of "
            f"{motion.BLOCK}x{motion.BLOCK} pixels from {names[change.moved]} to the next frame{shift}"
        )
    if change.shift:
        return f"the picture shifts by {change.shift:.2g} pixels from {names[change.shifted]} to the next frame"
    return ""


def _brightness(path: Path, change: motion.Change, allow_motion: bool) -> str:
    what = "is left as it is (--allow-motion)" if allow_motion else "is taken off the targets"
    return (
        f"{path}: the mean brightness steps by up to {100 * change.step:+.2g} % of black to white from frame to frame "
        f"({abs(change.step) / change.noise:.2g} standard deviations of the noise), which {what}"
    )


def _matched(frame: Pixels, target: Pixels) -> Pixels:
    """The target with the mean brightness of its input; as it is where that is the same."""
    steps = motion.brightness_steps(_floats(frame), _floats(target))
    return _floats(target) - steps.astype(np.float32) if steps.any() else target


def _floats(frame: Pixels) -> Pixels:
    return frame.astype(np.float32) / np.float32(255) if frame.dtype == np.uint8 else frame
