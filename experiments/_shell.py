"""What every script does around its experiment: options, CPU devices, one-sentence errors, resuming, strips."""

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
import tyro

import jaxdae
from jaxdae.data import Data
from jaxdae.data.own import is_own
from jaxdae.devices import cores_as_devices
from jaxdae.runs import folder

STRIP = "strip.npz"
"""The images of a results folder's figures, to draw them without the checkpoints."""


@dataclasses.dataclass(frozen=True)
class Options:
    """The options that all scripts have."""

    dataset: str = "mnist"
    """Dataset."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    out: Path = Path("results")
    """Results folder: table, figures and README."""
    redraw: bool = False
    """Draw the figures and write the README again from the files in --out, without training."""

    def load(self) -> jaxdae.ImageData:
        """The images."""
        return jaxdae.load(self.dataset, manual_dir=self.manual_dir)


@dataclasses.dataclass(frozen=True)
class OwnOptions(Options):
    """The options of scripts that take pictures of one's own too."""

    dataset: str = "mnist"
    """Dataset: a name, or a folder of pictures (or one file of several)."""
    patch: int | None = None
    """Of own pictures: side of the patches (64)."""
    augment: bool = False
    """Of own pictures: flip and turn the patches."""
    colour: str | None = None
    """Of own pictures: convert all to grey or rgb."""
    held_out: float | None = None
    """Of own pictures: fraction that is measured and not trained on (0.1)."""
    range: tuple[float, float] | None = None
    """Of own pictures: the stored values of black and white."""

    @property
    def own(self) -> bool:
        """Whether the dataset is pictures of one's own."""
        return is_own(self.dataset)

    def load_any(self) -> Data:
        """The images; InputError for an option that a named dataset has not."""
        chosen: dict[str, Any] = {"patch": self.patch, "augment": self.augment or None, "colour": self.colour,
                  "held_out": self.held_out, "value_range": self.range}  # fmt: skip
        given = {name: value for name, value in chosen.items() if value is not None}
        if self.own:
            data = jaxdae.read_own(self.dataset, **given)
            print(*data.notes, sep="\n")
            return data
        if given:
            name = next(iter(given)).removeprefix("value_").replace("_", "-")
            raise jaxdae.InputError(f"--{name} is for pictures of your own, not for {self.dataset}; leave it out")
        return self.load()


def run_script(
    options: type[Options], description: str | None, experiment: Callable[[Any], None], publish: Callable[[Any], None]
) -> NoReturn:
    """Runs an experiment, which writes data into its results folder, then draws and describes them.

    Ends the process, with status 2 and one sentence on an InputError.
    """
    chosen = tyro.cli(options, description=description)
    cores_as_devices()
    jax.config.update("jax_num_cpu_devices", int(os.environ["JAX_NUM_CPU_DEVICES"]))  # JAX has read its environment
    try:
        if not chosen.redraw:
            experiment(chosen)
        publish(chosen)
    except jaxdae.InputError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(0)


class Training(NamedTuple):
    """A run of an experiment."""

    members: tuple[jaxdae.Member, ...]
    """Canonical, as `grid` makes them."""
    data: Data
    path: Path
    """The run folder."""
    epochs: int
    batch_size: int
    holdout: int = 0


def train_or_resume(trainings: Sequence[Training]) -> list[jaxdae.Run]:
    """Trains every run, or resumes the one in its folder; looks at all folders first.

    Raises:
        InputError: a folder holds a run of other settings or on other images, or a loss was not finite.
    """
    for training in trainings:
        require_same_settings(training)
    return [_train_or_resume(training) for training in trainings]


def require_same_settings(training: Training) -> None:
    """Raises InputError if the folder holds a run that is not this one; a constant schedule can take more epochs."""
    if not (training.path / folder.CONFIG).exists():
        return
    saved = folder.load_config(training.path)
    wanted = folder.Loop(training.epochs, training.batch_size, training.holdout)
    constant = all(member.optimizer.schedule == "constant" for member in training.members)
    if constant and training.epochs > saved.loop.epochs:
        wanted = dataclasses.replace(wanted, epochs=saved.loop.epochs)
    if (saved.members, saved.loop) != (training.members, wanted):
        raise jaxdae.InputError(
            f"{training.path} was trained with other settings; remove it, or choose another run folder"
        )


def _train_or_resume(training: Training) -> jaxdae.Run:
    members, data, path, epochs, batch_size, holdout = training
    if (path / folder.CONFIG).exists():
        run = jaxdae.resume(path, data, epochs=epochs, progress=True)
    else:
        run = jaxdae.train(
            members, data, epochs=epochs, batch_size=batch_size, holdout=holdout, out=path, progress=True
        )
    if run.diverged:
        raise jaxdae.InputError(f"the loss of members {run.diverged} in {path} was not finite; choose other settings")
    return run


def member_indices(members: Sequence[jaxdae.Member], name: Callable[[jaxdae.Member], str]) -> dict[str, list[int]]:
    """The indices of the members that share a name, by name."""
    named: dict[str, list[int]] = {}
    for index, member in enumerate(members):
        named.setdefault(name(member), []).append(index)
    return named


def save_strip(out: Path, images: dict[str, Any], **arrays: Any) -> None:
    """Keeps images of figures: lists of them on the [0, 1] scale, as 8-bit; other arrays as they are."""
    stored = {name: as_shown(np.stack(batches)) for name, batches in images.items()}
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / STRIP, **(stored | arrays))


def as_shown(images: np.ndarray) -> np.ndarray:
    """Images on the [0, 1] scale as 8-bit ones, clamped; grey ones without their channel."""
    shown = np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)
    return shown[..., 0] if shown.shape[-1] == 1 else shown


def load_strip(out: Path) -> dict[str, np.ndarray]:
    """The images of a results folder's figures.

    Raises:
        InputError: there are none.
    """
    try:
        with np.load(out / STRIP) as arrays:
            return dict(arrays)
    except (OSError, ValueError):
        raise jaxdae.InputError(f"{out} holds no readable {STRIP}; run the experiment without --redraw") from None
