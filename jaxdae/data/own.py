"""One's own pictures as a dataset: whole if they are small and of one size, else by patches; alone or in pairs."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxdae.arguments import require_flag, require_fraction, require_integer, require_path, require_sequence
from jaxdae.components import plain
from jaxdae.data import photographs
from jaxdae.data.at_rest import static_targets
from jaxdae.data.colour import COLOURS, in_colour
from jaxdae.data.datasets import DATASETS, ImageData, load
from jaxdae.data.folder import Found, read_folder
from jaxdae.data.pairs import NEXT, by_time, matched, neighbours, sequences
from jaxdae.data.patches import Patches, fixed_crops, patch_count
from jaxdae.data.picture_files import MAX_PIXELS
from jaxdae.data.ranges import (
    Pixels,
    count_beyond,
    on_unit_scale,
    require_range,
    target_ranges,
    value_ranges,
    value_type,
)
from jaxdae.data.source import EIGHT_BIT, InMemory, Source, ValueRange
from jaxdae.errors import InputError, nearest, require_name, shown

PATCH = 64
_NONE = type(None)
SETTINGS: dict[str, tuple[type, ...]] = {
    "dataset": (str, _NONE), "target": (str, _NONE), "noisy_target": (bool,), "patch": (int,), "colour": (str, _NONE),
    "augment": (bool,), "held_out": (int, float), "coverage": (int,), "value_range": (int, float, _NONE),
    "max_pixels": (int,), "allow_motion": (bool,),
}  # fmt: skip
"""The arguments of `read_own` in the configuration of a run, and their types."""
COMPUTED = ("sha256", "image", "value_type", "shared_range")
"""What is beside them in it."""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnPictures:
    """Pictures in memory, all of one type (8-bit, or float32 with black at 0 and white at 1) and number of channels."""

    train: tuple[Pixels, ...]
    held_out: tuple[Pixels, ...]
    """For validation and evaluation."""
    noisy: tuple[tuple[Pixels, ...], tuple[Pixels, ...]] | None
    """Of pairs, the inputs for both."""
    settings: dict[str, Any]
    """The arguments of `read_own` that give these pictures again."""
    stored: dict[str, Any]
    """`value_type` of the files ("mixed" of several), and `shared_range`, which all
    pictures share, if it is neither given nor that of 8 bits."""
    notes: tuple[str, ...] = ()
    """What was found, in words."""

    @property
    def name(self) -> str:
        """The path of the folder."""
        return self.settings["dataset"]

    @property
    def image(self) -> tuple[int, int, int]:
        """The height, width and channels of an example."""
        height, width, channels = self.train[0].shape
        return (height, width, channels) if self.whole else (self._patch, self._patch, channels)

    @property
    def patches(self) -> int:
        """How many examples an epoch has that covers the pictures once."""
        return len(self.train) if self.whole else sum(patch_count(picture, self._patch) for picture in self.train)

    @property
    def pairs(self) -> str | None:
        """Of pairs, what the targets are: "clean" or "noisy"."""
        return None if self.noisy is None else "noisy" if self.settings["noisy_target"] else "clean"

    @functools.cached_property
    def beyond(self) -> int:
        """How many values are less than black or more than white."""
        return count_beyond(self.every)

    @property
    def every(self) -> list[Pixels]:
        """All pictures, each once."""
        parts = (self.train, self.held_out, *(self.noisy or ()))
        return list({id(picture): picture for part in parts for picture in part}.values())

    @functools.cached_property
    def test(self) -> np.ndarray:
        """Fixed crops of the held-out pictures, as `ImageData.test`: clean if a clean picture is known."""
        crops = self._crops(self.held_out)
        return np.clip(crops, 0, 1) if self.beyond else crops

    @functools.cached_property
    def noisy_test(self) -> np.ndarray | None:
        """What noise is added to: of pairs the inputs for `test`, else, if values lie beyond, the same as they are."""
        if self.noisy:
            return self._crops(self.noisy[1])
        return self._crops(self.held_out) if self.beyond else None

    def sources(self, holdout: int = 0) -> tuple[Source, Source]:
        """What to train and to validate on; InputError for a `holdout`, which would split pictures twice."""
        if holdout:
            raise InputError("holdout is for named datasets; pictures of your own are held out by --held-out")
        how: dict[str, Any] = {
            "value_range": EIGHT_BIT if self.train[0].dtype == np.uint8 else (0.0, 1.0),
            "noisy_target": self.pairs == "noisy", "beyond": self.beyond > 0,
        }  # fmt: skip
        noisy, held = self.noisy or ((), ())
        validation = InMemory(self._crops(self.held_out), noisy=self._crops(held) if held else None, **how)
        coverage = self.settings["coverage"]
        if self.whole and not self.settings["augment"] and coverage == 1:
            return InMemory(np.stack(self.train), noisy=np.stack(noisy) if noisy else None, **how), validation
        augment = self.settings["augment"]
        return Patches.of(self.train, noisy or None, self.image[0], augment, coverage, **how), validation

    def describe(self) -> dict[str, Any]:
        """The entry in a run's configuration."""
        return self.settings | self.stored | {"sha256": self.sha256, "image": list(self.image)}

    @functools.cached_property
    def sha256(self) -> str:
        """The digest of all pixels and shapes, in order, by which a run knows them again."""
        digest = hashlib.sha256()
        for part in (self.train, self.held_out, *(self.noisy or ())):
            for picture in part:
                digest.update(f"{picture.dtype} {picture.shape}".encode())
                digest.update(np.ascontiguousarray(picture).data)
            digest.update(b"end")
        return digest.hexdigest()

    @property
    def _patch(self) -> int:
        return self.settings["patch"]

    @property
    def whole(self) -> bool:
        """Whether the pictures are trained whole, not by patches."""
        return _fit_whole((*self.train, *self.held_out), self._patch)

    def _crops(self, pictures: Sequence[Pixels]) -> np.ndarray:
        return fixed_crops(pictures, *self.image[:2])


Data = ImageData | OwnPictures


def read_own(
    dataset: str | os.PathLike,
    *,
    target: str | os.PathLike | None = None,
    noisy_target: bool = False,
    patch: int = PATCH,
    colour: str | None = None,
    augment: bool = False,
    held_out: float = 0.1,
    coverage: int = 1,
    value_range: Sequence[float] | None = None,
    max_pixels: int = MAX_PIXELS,
    allow_motion: bool = False,
    strict: bool = False,
) -> OwnPictures:
    """Reads one's own pictures for training.

    Args:
        dataset: a folder of pictures, arrays (.npy, .npz) and IDX files, or one such file: clean, or noisy if there is
            a `target`; or "photos", the embedded photographs, grey unless `colour` says otherwise.
        target: of pairs, a folder (or file) with the pictures of equal names; "next": the next frame of a sequence
            (a file of several frames, or the files of a folder by sorted name), which is noisy.
        noisy_target: the target is another noisy picture of the same scene, not a clean one (`Noise2Noise`).
        patch: the side of patches, in pixels; pictures of one size that are not larger train whole.
        colour: "grey" or "rgb", to which all are converted; by default what they are.
        augment: flip and turn the patches.
        held_out: the fraction of pictures for validation, at least one (of a sequence two): the last by sorted name,
            since neighbours are often alike (bursts, frames) and would tell the network the answer.
        coverage: how many times the patches of an epoch cover the area of the pictures.
        value_range: the stored values of black and white; by default those of 8 bits, else measured (`data.ranges`).
        max_pixels: of a file, over all pages; larger ones count as those that cannot be read.
        allow_motion: of a `target` "next", take frames as they are, even if the scene moves or its brightness steps;
            by default the first is refused, and the steps are taken off the targets.
        strict: refuse files that cannot be read, instead of leaving them out.

    InputError if there is nothing to read, or the pictures, a pair of them and the settings do not fit.
    """
    require_path("dataset", dataset, "; images in memory are given as ImageData(train, test)")
    if target is not None:
        require_path("target", target)
    for name, flag in (
        ("noisy_target", noisy_target),
        ("augment", augment),
        ("allow_motion", allow_motion),
        ("strict", strict),
    ):
        require_flag(name, flag)
    if colour is not None:
        require_name("colour", colour, COLOURS)
    require_integer("patch", patch, 1)
    require_integer("coverage", coverage, 1)
    require_integer("max_pixels", max_pixels)
    if max_pixels < 1:
        raise InputError(f"--max-pixels {max_pixels} is not allowed; give an integer of at least 1")
    require_fraction("held out", held_out)
    if value_range is not None:
        require_sequence("value_range", value_range)
    if allow_motion and target != NEXT:
        raise InputError("--allow-motion is for frames of a sequence (--target next); leave it out")
    given = None if value_range is None else require_range(value_range)
    path = Path(dataset)
    clean_path = None if target in (None, NEXT) else Path(target)
    if clean_path and clean_path.resolve() == path.resolve():
        raise InputError(f"--target {target} is the folder of the noisy pictures itself; give that of the targets")
    embedded = dataset == photographs.NAME
    if embedded and target is not None:
        raise InputError(f"--target {target} is for noisy pictures of your own; the dataset {dataset} is clean")
    read = functools.partial(read_folder, strict=strict, max_pixels=max_pixels)
    found = photographs.read_photographs() if embedded else read(path)
    colour = "grey" if embedded and colour is None else colour
    frames: Literal["static", "moving"] | None = None
    if target == NEXT:
        frames = "moving" if allow_motion else "static"
    pictures, sides, chosen, notes = _sides(path, found, clean_path, frames, given, held_out, read)
    colour, sides = in_colour(path, sides, colour)
    targets = sides[-1]
    _require_fit(targets, patch, "turned" if augment else "repeated" if coverage > 1 else "")
    if chosen >= len(targets):
        raise InputError(
            f"{path} has {len(targets)} pictures, which leaves none to train on; give more, or --held-out less"
        )
    settings = {
        "dataset": photographs.NAME if embedded else str(path.resolve()),
        "target": NEXT if target == NEXT else clean_path and str(clean_path.resolve()),
        "noisy_target": bool(noisy_target) or target == NEXT, "patch": int(patch), "colour": colour,
        "augment": bool(augment), "held_out": plain(held_out), "value_range": given and list(given),
        "coverage": int(coverage),
        "allow_motion": bool(allow_motion),
    }  # fmt: skip
    if max_pixels != MAX_PIXELS:
        settings["max_pixels"] = max_pixels
    parts = [_divided(side, len(targets) - chosen) for side in sides]
    own = OwnPictures(*parts[-1], parts[0] if target is not None else None, settings, pictures)
    return dataclasses.replace(own, notes=(*notes, _summary(own, list(targets)[-chosen:]), *_of_values(own)))


def load_again(source: dict[str, Any], *, manual_dir: Path | None = None, data_dir: Path | None = None) -> Data:
    """The dataset of a run, by its entry in the configuration; InputError if it cannot be found.

    A named one is looked for as `load` does.
    """
    if not isinstance(source, dict):
        raise InputError(f"{shown(source)} is not the configuration of a run's images; give Run.config.source")
    _require_settings(source)
    if source["dataset"] is None:
        raise InputError("this run was trained on images given from Python; use it from there, with data=")
    if "patch" not in source:
        return load(source["dataset"], manual_dir=manual_dir, data_dir=data_dir)
    as_it_was = {"allow_motion": True} if source.get("target") == NEXT else {}  # before there was a check
    return read_own(**as_it_was | {name: value for name, value in source.items() if name not in COMPUTED})


def _require_settings(source: dict[str, Any]) -> None:
    """InputError unless the entry in a configuration, which anyone can write, has the arguments of `read_own`."""
    for name in ("dataset", *source):
        require_name("setting of a run's images", name, (*SETTINGS, *COMPUTED))
        if name not in source:
            raise InputError(f"the configuration of a run does not say its {name}; bring it back from a copy")
        value = source[name]
        values = [value]
        if name == "value_range" and value is not None:
            values = value if isinstance(value, list) and len(value) == 2 else [()]
        if name not in COMPUTED and not all(type(x) in SETTINGS[name] for x in values):
            raise InputError(
                f"{name} {value!r} in the configuration of a run is not allowed; bring it back from a copy"
            )


def is_here(source: dict[str, Any]) -> bool:
    """Whether the pictures of a run, by its entry in the configuration, are still where they were."""
    _require_settings(source)
    paths = [source["dataset"], source.get("target")]
    return all(path in (None, NEXT, photographs.NAME) or Path(path).exists() for path in paths)


def is_own(dataset: str) -> bool:
    """Whether a dataset is for `read_own`: a path, or the photographs; InputError if it is not known."""
    if dataset in DATASETS:
        return False
    if dataset == photographs.NAME:
        return True
    if not dataset or (not Path(dataset).exists() and not any(mark in dataset for mark in ("/", os.sep, "."))):
        raise InputError(f"dataset {dataset!r} is not known; {nearest(dataset, (*DATASETS, photographs.NAME))}")
    return True


def _notes(path: Path, found: Found) -> list[str]:
    notes = [f"left out: {sentence}" for sentence in found.broken.values()]
    if count := found.passed_over:
        notes.append(f"{path}: {count} file{'s are' if count > 1 else ' is'} no picture and passed over")
    return notes


def _sides(
    path: Path,
    found: Found,
    target: Path | None,
    frames: Literal["static", "moving"] | None,
    given: ValueRange | None,
    held_out: float,
    read: Callable[[Path], Found],
) -> tuple[dict[str, Any], list[dict[str, Pixels]], int, list[str]]:
    """How pictures are stored; inputs and, of pairs, targets, on the unit scale; how many are held out; what to say."""
    notes, inputs, targets = _notes(path, found), found.pictures, None
    if target is not None:
        others = read(target)
        notes += _notes(target, others)
        inputs, targets = matched(path, found, target, others)
    inputs = sequences(inputs) if frames else inputs
    ranges = value_ranges(inputs, given)
    types = {value_type(picture.values.dtype) for picture in inputs.values()}
    shared = set(ranges.values()) if types.isdisjoint(("uint8", "bool")) and not given else set()
    stored = {
        "value_type": types.pop() if len(types) == 1 else "mixed",
        "shared_range": list(shared.pop()) if len(shared) == 1 else None,
    }
    scaled = {name: on_unit_scale(picture, ranges[name]) for name, picture in inputs.items()}
    if frames:
        moving = frames == "moving"
        inputs, assumed = by_time(path, inputs, channels=moving)
        first, second, chosen = neighbours(path, inputs, scaled, held_out)
        groups = {name: inputs[name].group for name in first}
        second, changes = static_targets(path, first, second, groups, allow_motion=moving)
        return stored, [first, second], chosen, [*notes, *assumed, *changes]
    sides = [scaled]
    if targets is not None:
        theirs = target_ranges(inputs, targets, ranges)
        sides.append({name: on_unit_scale(picture, theirs[name]) for name, picture in targets.items()})
    return stored, sides, max(1, round(held_out * len(inputs))), notes


def _divided(pictures: dict[str, Pixels], training: int) -> tuple[tuple[Pixels, ...], tuple[Pixels, ...]]:
    """The pictures to train on and those held out."""
    every = tuple(pictures.values())
    return every[:training], every[training:]


def _fit_whole(pictures: Sequence[Pixels], patch: int) -> bool:
    shapes = {picture.shape for picture in pictures}
    return len(shapes) == 1 and max(next(iter(shapes))[:2]) <= patch


def _require_fit(pictures: dict[str, Pixels], patch: int, change: str) -> None:
    """InputError for a picture smaller than a patch, or pictures of two sides of which whole ones are to change."""
    if _fit_whole(list(pictures.values()), patch):
        first = next(iter(pictures.values()))
        if change and first.shape[0] != first.shape[1]:
            least = min(first.shape[:2])
            raise InputError(
                f"pictures of {_size(first)} pixels cannot be {change} whole; give --patch {least} or less"
            )
        return
    name, smallest = min(pictures.items(), key=lambda item: min(item[1].shape[:2]))
    if (least := min(smallest.shape[:2])) < patch:
        raise InputError(
            f"{name} has {_size(smallest)} pixels, less than a patch of {patch}x{patch}; "
            f"give --patch {least} or less, or take it away"
        )


def _summary(own: OwnPictures, held_out: Sequence[str]) -> str:
    height, width, _ = own.image
    patches = "" if own.whole else "patches of "
    examples = own.patches * own.settings["coverage"]
    shown = held_out[0] if len(held_out) == 1 else f"{held_out[0]} to {held_out[-1]}"
    pairs = {None: "", "clean": " pairs of", "noisy": " pairs of two noisy"}[own.pairs]
    pairs = " neighbouring frames as pairs of" if own.settings["target"] == NEXT else pairs
    return (
        f"{own.name}:{pairs} {own.settings['colour']} pictures, {len(own.train)} to train on ({examples} examples an "
        f"epoch, {patches}{height}x{width}), {len(held_out)} held out ({shown}; {len(own.test)} fixed crops)"
    )


def _of_values(own: OwnPictures) -> list[str]:
    """What stands for black and white, unless it is that of 8 bits, and what lies beyond."""
    shared, notes = own.settings["value_range"] or own.stored["shared_range"], []
    if shared:
        notes.append(f"{own.name}: {shared[0]:g} and {shared[1]:g} stand for black and white")
    elif own.stored["value_type"] != "uint8":
        from jaxdae.data.pictures import PERCENTILES  # Pillow is not loaded where nothing is read

        low, high = PERCENTILES
        notes.append(
            f"{own.name}: the {low} and {high} % percentiles of each file of more than 8 bits stand for black and white"
        )
    if own.beyond:
        values = sum(picture.size for picture in own.every)
        notes.append(
            f"{own.name}: {own.beyond} of {values} values lie beyond black and white; they are kept where noise is not "
            "clipped (--no-clip), and clipped where it is"
        )
    return notes


def _size(picture: Pixels) -> str:
    return f"{picture.shape[0]}x{picture.shape[1]}"
