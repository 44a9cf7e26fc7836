"""One's own pictures as a dataset: whole if they are small and of one size, else by patches; alone or in pairs."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdae.data import photographs
from jaxdae.data.datasets import DATASETS, ImageData, load
from jaxdae.data.folder import Found, Pixels, read_folder
from jaxdae.data.patches import Patches, fixed_crops, patch_count
from jaxdae.data.source import EIGHT_BIT, InMemory, Source
from jaxdae.errors import InputError, nearest, require_name

COLOURS = {"grey": 1, "rgb": 3}
PATCH = 64
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as Pillow converts to grey."""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnPictures:
    """Pictures in memory, all of one type (8-bit, or float32 on the [0, 1] scale) and number of channels."""

    train: tuple[Pixels, ...]
    held_out: tuple[Pixels, ...]
    """For validation and evaluation."""
    noisy: tuple[tuple[Pixels, ...], tuple[Pixels, ...]] | None
    """Of pairs, the real noisy pictures for both."""
    settings: dict[str, Any]
    """The arguments of `read_own` that give these pictures again."""
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

    @functools.cached_property
    def test(self) -> np.ndarray:
        """Fixed crops of the held-out pictures, as `ImageData.test`."""
        return fixed_crops(self.held_out, *self.image[:2])

    @functools.cached_property
    def noisy_test(self) -> np.ndarray | None:
        """Of pairs, the real noisy images for `test`."""
        return fixed_crops(self.noisy[1], *self.image[:2]) if self.noisy else None

    def sources(self, holdout: int = 0) -> tuple[Source, Source]:
        """What to train and to validate on; InputError for a `holdout`, which would split pictures twice."""
        if holdout:
            raise InputError("holdout is for named datasets; pictures of your own are held out by --held-out")
        value_range = EIGHT_BIT if self.train[0].dtype == np.uint8 else (0.0, 1.0)
        noisy = self.noisy[0] if self.noisy else None
        validation = InMemory(self.test, value_range, self.noisy_test)
        if self.whole and not self.settings["augment"] and self.settings["coverage"] == 1:
            return InMemory(np.stack(self.train), value_range, None if noisy is None else np.stack(noisy)), validation
        return Patches.of(
            self.train, noisy, self.image[0], self.settings["augment"], value_range, self.settings["coverage"]
        ), validation

    def describe(self) -> dict[str, Any]:
        """The entry in a run's configuration."""
        return self.settings | {"sha256": self.sha256, "image": list(self.image)}

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


Data = ImageData | OwnPictures


def read_own(
    dataset: str | os.PathLike,
    *,
    target: str | os.PathLike | None = None,
    patch: int = PATCH,
    colour: str | None = None,
    augment: bool = False,
    held_out: float = 0.1,
    coverage: int = 1,
    strict: bool = False,
) -> OwnPictures:
    """Reads one's own pictures for training.

    Args:
        dataset: a folder of pictures, .npy and .npz files, or one such file: clean, or noisy if there is a `target`;
            or "photos": the photographs of `photographs.py`, grey unless `colour` says otherwise.
        target: the clean pictures, by equal names.
        patch: the side of patches, in pixels; pictures of one size that are not larger train whole.
        colour: "grey" or "rgb", to which all are converted; by default what they are.
        augment: flip and turn the patches.
        held_out: the fraction of pictures for validation, at least one: the last by sorted name, since neighbours
            are often alike (bursts, frames) and would tell the network the answer.
        coverage: how many times the patches of an epoch cover the area of the pictures.
        strict: refuse files that cannot be read, instead of leaving them out.

    InputError if there is nothing to read, or the pictures, a pair of them and the settings do not fit.
    """
    if colour is not None:
        require_name("colour", colour, COLOURS)
    if patch < 1:
        raise InputError(f"patch {patch} is not allowed: give a number of pixels from 1")
    if coverage < 1:
        raise InputError(f"coverage {coverage} is not allowed: give an integer of at least 1")
    if not 0 < held_out < 1:
        raise InputError(f"held out {held_out:g} is not allowed: give a fraction between 0 and 1")
    embedded = dataset == photographs.NAME
    if embedded and target is not None:
        raise InputError(f"--target {target} is for noisy pictures of your own; the dataset {dataset} is clean")
    path, clean_path = Path(dataset), Path(target) if target is not None else None
    if clean_path and clean_path.resolve() == path.resolve():
        raise InputError(f"--target {target} is the folder of the noisy pictures itself; give that of the clean ones")
    folders = {path: photographs.read_photographs() if embedded else read_folder(path, strict=strict)}
    colour = "grey" if embedded and colour is None else colour
    if clean_path:
        folders[clean_path] = read_folder(clean_path, strict=strict)
    notes = [note for folder, found in folders.items() for note in _notes(folder, found)]
    sides = _paired(folders) if clean_path else [folders[path].pictures]
    colour, sides = _in_colour(path, sides, colour)
    clean, noisy = sides[-1], sides[0] if clean_path else {}
    _require_fit(clean, patch, augment)
    chosen = max(1, round(held_out * len(clean)))
    if chosen >= len(clean):
        raise InputError(
            f"{path} has {len(clean)} pictures, which leaves none to train on; give more, or --held-out less"
        )
    parts = [_divided(side, len(clean) - chosen) for side in (clean, noisy)]
    settings = {
        "dataset": photographs.NAME if embedded else str(path.resolve()),
        "target": clean_path and str(clean_path.resolve()),
        "patch": patch, "colour": colour, "augment": augment, "held_out": held_out,
        "coverage": coverage,
    }  # fmt: skip
    own = OwnPictures(*parts[0], parts[1] if clean_path else None, settings)
    names = list(clean)[-chosen:]
    return dataclasses.replace(own, notes=(*notes, _summary(own, names)))


def load_again(source: dict[str, Any], *, manual_dir: Path | None = None, data_dir: Path | None = None) -> Data:
    """The dataset of a run, by its entry in the configuration; InputError if it cannot be found.

    A named one is looked for as `load` does.
    """
    if source["dataset"] is None:
        raise InputError("this run was trained on images given from Python; use it from there, with data=")
    if "patch" not in source:
        return load(source["dataset"], manual_dir=manual_dir, data_dir=data_dir)
    return read_own(**{name: value for name, value in source.items() if name not in ("sha256", "image")})


def is_here(source: dict[str, Any]) -> bool:
    """Whether the pictures of a run, by its entry in the configuration, are still where they were."""
    return source["dataset"] == photographs.NAME or Path(source["dataset"]).exists()


def is_own(dataset: str) -> bool:
    """Whether a dataset is for `read_own`: a path, or photographs; InputError if it is not known."""
    if dataset in DATASETS:
        return False
    if dataset == photographs.NAME:
        return True
    if not Path(dataset).exists() and not any(mark in dataset for mark in ("/", os.sep, ".")):
        raise InputError(f"dataset {dataset!r} is not known; {nearest(dataset, (*DATASETS, photographs.NAME))}")
    return True


def _notes(path: Path, found: Found) -> list[str]:
    notes = [f"left out: {sentence}" for sentence in found.broken.values()]
    if count := found.passed_over:
        notes.append(f"{path}: {count} file{'s are' if count > 1 else ' is'} no picture and passed over")
    return notes


def _paired(folders: dict[Path, Found]) -> list[dict[str, Pixels]]:
    """The noisy and the clean pictures of equal names, less those of which one is broken."""
    (path, target), broken = folders, {name for found in folders.values() for name in found.broken}
    noisy, clean = (
        {name: picture for name, picture in found.pictures.items() if name.split(":")[0] not in broken}
        for found in folders.values()
    )
    for name in sorted(noisy.keys() ^ clean.keys()):
        has, lacks = (path, target) if name in noisy else (target, path)
        raise InputError(f"{has / name} has no pair of that name in {lacks}; add it, or take the picture away")
    for name, picture in noisy.items():
        if picture.shape[:2] != clean[name].shape[:2]:
            sizes = " and ".join(_size(p) for p in (picture, clean[name]))
            raise InputError(f"the pair {name} has unequal sizes, {sizes} pixels; both must show the same")
    if not noisy:
        raise InputError(f"{path} and {target} have no pair of pictures that can be read; mend or replace them")
    return [noisy, clean]


def _in_colour(path: Path, sides: list[dict[str, Pixels]], colour: str | None) -> tuple[str, list[dict[str, Pixels]]]:
    """All pictures in one colour, by default their own, and in one type."""
    by_channels = {picture.shape[-1]: name for side in sides for name, picture in side.items()}
    if colour is None and len(by_channels) > 1:
        raise InputError(
            f"{path} has grey pictures ({by_channels[1]}) and colour ones ({by_channels[3]}); "
            "give --colour grey or --colour rgb"
        )
    colour = colour or next(name for name, channels in COLOURS.items() if channels in by_channels)
    eight_bit = all(picture.dtype == np.uint8 for side in sides for picture in side.values())
    return colour, [{name: _converted(p, COLOURS[colour], eight_bit) for name, p in side.items()} for side in sides]


def _converted(picture: Pixels, channels: int, eight_bit: bool) -> Pixels:
    if picture.shape[-1] > channels:
        grey = picture.astype(np.float32) @ LUMA[:, None]
        picture = np.round(grey).astype(np.uint8) if picture.dtype == np.uint8 else np.minimum(grey, 1)
    elif picture.shape[-1] < channels:
        picture = np.repeat(picture, channels, axis=-1)
    return picture if eight_bit or picture.dtype != np.uint8 else picture.astype(np.float32) / 255


def _divided(pictures: dict[str, Pixels], training: int) -> tuple[tuple[Pixels, ...], tuple[Pixels, ...]]:
    """The pictures to train on and those held out."""
    every = tuple(pictures.values())
    return every[:training], every[training:]


def _fit_whole(pictures: Sequence[Pixels], patch: int) -> bool:
    shapes = {picture.shape for picture in pictures}
    return len(shapes) == 1 and max(next(iter(shapes))[:2]) <= patch


def _require_fit(pictures: dict[str, Pixels], patch: int, augment: bool) -> None:
    if _fit_whole(list(pictures.values()), patch):
        first = next(iter(pictures.values()))
        if augment and first.shape[0] != first.shape[1]:
            least = min(first.shape[:2])
            raise InputError(f"pictures of {_size(first)} pixels cannot be turned whole; give --patch {least} or less")
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
    examples = sum(patch_count(picture, height) for picture in own.train) if patches else len(own.train)
    examples *= own.settings["coverage"]
    shown = held_out[0] if len(held_out) == 1 else f"{held_out[0]} to {held_out[-1]}"
    pairs = " pairs of" if own.noisy else ""
    return (
        f"{own.name}:{pairs} {own.settings['colour']} pictures, {len(own.train)} to train on ({examples} examples an "
        f"epoch, {patches}{height}x{width}), {len(held_out)} held out ({shown}; {len(own.test)} fixed crops)"
    )


def _size(picture: Pixels) -> str:
    return f"{picture.shape[0]}x{picture.shape[1]}"
