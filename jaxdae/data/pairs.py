"""Pairs of pictures: a noisy one with the clean or another noisy one of its name, or with the next frame."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from jaxdae.data.folder import Found, Stored
from jaxdae.data.ranges import Pixels
from jaxdae.errors import InputError

NEXT = "next"
"""As a target: the next frame of the same sequence."""


def matched(path: Path, inputs: Found, target: Path, targets: Found) -> tuple[dict[str, Stored], dict[str, Stored]]:
    """The pictures of equal names in two folders, or of two files, less the pairs of which one is broken.

    InputError if a picture has no pair, the two of a pair have unequal sizes, or none is left.
    """
    broken = {name for found in (inputs, targets) for name in found.broken}
    sides = [
        {name: picture for name, picture in found.pictures.items() if picture.group not in broken}
        for found in (inputs, targets)
    ]
    if path.is_file() and target.is_file():  # whose own names may differ
        sides = [{name.removeprefix(p.group).lstrip(":") or path.name: p for name, p in side.items()} for side in sides]
    first, second = sides
    for name in sorted(first.keys() ^ second.keys()):
        has, lacks = (path, target) if name in first else (target, path)
        raise InputError(
            f"{name if has.is_file() else has / name} has no pair of that name in {lacks}; "
            "add it, or take the picture away"
        )
    for name, picture in first.items():
        require_equal_sizes(f"the pair {name} has", picture, second[name])
    if not first:
        raise InputError(f"{path} and {target} have no pair of pictures that can be read; mend or replace them")
    return first, second


def sequences(pictures: Mapping[str, Stored]) -> dict[str, Stored]:
    """The pictures with their sequence as the group: a file of several frames, or the single-frame files of a folder.

    They are ordered sequence by sequence.
    """
    frames = Counter(picture.group for picture in pictures.values())
    regrouped: dict[str, dict[str, Stored]] = {}
    for name, picture in pictures.items():
        single = frames[picture.group] == 1
        group = f"{PurePosixPath(picture.group).parent}/" if single else picture.group
        regrouped.setdefault(group, {})[name] = dataclasses.replace(picture, group=group)
    return {name: picture for sequence in regrouped.values() for name, picture in sequence.items()}


def by_time(
    path: Path, pictures: Mapping[str, Stored], *, channels: bool = False
) -> tuple[dict[str, Stored], list[str]]:
    """The frames of `sequences`, of which those of each channel or slice of a TIFF file are one; what was assumed.

    InputError for a file of the channels of one picture, unless `channels` may be taken for frames.
    """
    divided: dict[str, dict[str, Stored]] = {}
    notes: list[str] = []
    for group, count in Counter(picture.group for picture in pictures.values()).items():
        names = [name for name, picture in pictures.items() if picture.group == group]
        file = path if path.is_file() else path / group
        keys = [""] * count
        if file.is_file() and _is_tiff(file):
            from jaxdae.data import tiff_axes  # tifffile is not loaded where nothing is read

            sequences, assumed = tiff_axes.page_sequences(file, count, channels=channels)
            notes += [assumed] if assumed else []
            keys = ["".join(f":{number}" for number in sequence) for sequence in sequences]
            apart = len(set(keys))
            keys = keys if apart > 1 else [""] * count
            notes += [f"{file}: {apart} sequences of frames (channels, slices), paired each by itself"] * (apart > 1)
        for name, key in zip(names, keys, strict=True):
            sequence = f"{group}{key}"
            divided.setdefault(sequence, {})[name] = dataclasses.replace(pictures[name], group=sequence)
    return {name: picture for sequence in divided.values() for name, picture in sequence.items()}, notes


def _is_tiff(file: Path) -> bool:
    from jaxdae.data.tiff import SIGNATURES

    with file.open("rb") as opened:
        return opened.read(4) in SIGNATURES


def neighbours(
    path: Path, pictures: Mapping[str, Stored], scaled: Mapping[str, Pixels], held_out: float
) -> tuple[dict[str, Pixels], dict[str, Pixels], int]:
    """Every frame and the next one of its sequence, by the name of the first; and how many of these pairs are held out.

    The last frames are held out, at least two; no pair has a frame on either side of that cut. InputError if a sequence
    has one frame only, two neighbours have unequal sizes, or no pair is left to train on.
    """
    names = list(pictures)
    for sequence, count in Counter(picture.group for picture in pictures.values()).items():
        if count < 2:
            [name] = [name for name in names if pictures[name].group == sequence]
            raise InputError(f"{name} has no next frame; a sequence has at least two, in one file or one folder")
    cut = len(names) - max(2, round(held_out * len(names)))
    together = [
        (position, first, second)
        for position, (first, second) in enumerate(itertools.pairwise(names))
        if pictures[first].group == pictures[second].group and position + 1 != cut
    ]
    for _, first, second in together:
        require_equal_sizes(f"the frames {first} and {second} have", pictures[first], pictures[second])
    chosen = sum(position >= cut for position, _, _ in together)
    if chosen == len(together):
        raise InputError(
            f"{path} has {len(names)} frames, which leaves no two neighbours to train on beside the held out ones; "
            "give more, or --held-out less"
        )
    inputs = {first: scaled[first] for _, first, _ in together}
    return inputs, {first: scaled[second] for _, first, second in together}, chosen


def require_equal_sizes(whose: str, one: Stored, other: Stored) -> None:
    """InputError, which begins with `whose`, unless two pictures have equal heights and widths."""
    if one.values.shape[:2] != other.values.shape[:2]:
        sizes = " and ".join(f"{p.values.shape[0]}x{p.values.shape[1]}" for p in (one, other))
        raise InputError(f"{whose} unequal sizes, {sizes} pixels; both must show the same")
