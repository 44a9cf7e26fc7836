"""Where the log of a run goes: metrics.jsonl, which is the truth, and other writers beside it.

A writer is a class (`Writer`) and a line in `WRITERS`. Only metrics.jsonl is ever read back. A writer that fails during
a training is warned of and left out from there on; if metrics.jsonl cannot be written, the training ends.
"""

import functools
import importlib.util
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from jaxdae.arguments import is_integer, require_names
from jaxdae.errors import InputError, printable, require_name, shown
from jaxdae.paths import require_no_link, require_regular_file
from jaxdae.runs import folder
from jaxdae.runs.files import write_text
from jaxdae.runs.folder import Config
from jaxdae.runs.tensorboard import TensorBoard
from jaxdae.runs.wandb import WeightsAndBiases

_log = logging.getLogger("jaxdae")
_TRUTH = folder.METRICS
_SETTINGS = "writers.json"


class CannotStart(InputError):
    """A writer cannot be made; nothing has been trained."""


class Writer(Protocol):
    """One place that the log of a run goes to, made before the training by `Kind(path, config, epochs)`.

    `path` is a folder for its files below the run's, `config` what is trained, and `epochs` how many are finished: 0,
    or more where a run is resumed. What a writer has of later ones will come again and must not be there twice.
    """

    def scalars(self, lines: Sequence[dict[str, Any]]) -> None:
        """The lines of metrics.jsonl of one finished epoch, one for each member; None where a number is not finite."""

    def picture(self, epoch: int, member: int, picture: Float[np.ndarray, "height width channel"]) -> None:
        """Some validation images of a member: noisy, denoised and clean in three rows, grey or RGB on [0, 1]."""

    def close(self) -> None:
        """The training has ended, or was stopped."""


Kind = Callable[[Path, Config, int], Writer]
"""A class of writers. It may have `package`, which must be installed, `extra`, by which jaxdae installs it, and
`shows_pictures`, False where pictures need not be made for it."""


class _Quiet:
    """A writer that writes nothing."""

    shows_pictures = False

    def __init__(self, path: Path, config: Config, epochs: int) -> None:
        self.path = path

    def scalars(self, lines: Sequence[dict[str, Any]]) -> None:
        pass

    def picture(self, epoch: int, member: int, picture: np.ndarray) -> None:
        pass

    def close(self) -> None:
        pass


class _JsonLines(_Quiet):
    def scalars(self, lines: Sequence[dict[str, Any]]) -> None:
        folder.append_history(self.path, lines)


class Terminal(_Quiet):
    """A line for each member and epoch, above the progress bar."""

    def scalars(self, lines: Sequence[dict[str, Any]]) -> None:
        """Prints them."""
        for line in lines:
            tqdm.write("  ".join(f"{name} {'-' if value is None else value}" for name, value in line.items()))


WRITERS: dict[str, Kind] = {"terminal": Terminal, "tensorboard": TensorBoard, "wandb": WeightsAndBiases}


class Log:
    """The writers of one run, while it trains."""

    def __init__(self, writers: dict[str, Writer], pictures_every: int) -> None:
        """Writers by name; `pictures_every` epochs they get pictures (0: never)."""
        self._writers, self._pictures_every = writers, pictures_every
        self._failed: dict[str, str] = {}

    def finish_epoch(
        self, lines: Sequence[dict[str, Any]], pictures: Callable[[], Iterable[tuple[int, np.ndarray]]]
    ) -> None:
        """Writes the lines of an epoch, and in some epochs a picture for each member (index, picture)."""
        epoch = lines[0]["epoch"]
        for name in list(self._writers):
            self._try(name, epoch, lambda writer: writer.scalars(lines))
        shown = [name for name, writer in self._writers.items() if getattr(writer, "shows_pictures", True)]
        if shown and self._pictures_every and epoch % self._pictures_every == 0:
            for member, picture in pictures():
                for name in shown:
                    self._try(name, epoch, functools.partial(_show, epoch, member, picture))

    def close(self) -> None:
        """Closes the writers and says again which have not got everything."""
        for name in list(self._writers):
            self._try(name, None, lambda writer: writer.close())
        for name, since in self._failed.items():
            _log.warning(f"the log {name} is not complete: it failed {since}; {_TRUTH} has everything")

    def _try(self, name: str, epoch: int | None, call: Callable[[Writer], None]) -> None:
        if name not in self._writers:
            return
        try:
            call(self._writers[name])
        except Exception as error:
            if name == _TRUTH:
                raise
            del self._writers[name]
            self._failed[name] = "when it was closed" if epoch is None else f"in epoch {epoch}"
            reason = printable(f"{type(error).__name__}: {error}")
            _log.warning(f"the log {name} failed {self._failed[name]} ({reason}); training continues without it")


def _show(epoch: int, member: int, picture: np.ndarray, writer: Writer) -> None:
    writer.picture(epoch, member, picture)


def check_writers(names: Sequence[Any], pictures_every: int = 1) -> None:
    """Raises InputError for a writer that is not known, or whose package is not installed."""
    if not is_integer(pictures_every) or pictures_every < 0:
        words = f"log pictures every {shown(pictures_every)} epochs"
        raise InputError(f"{words} is not allowed: give an integer of at least 0")
    require_names("log", names)
    for name in names:
        if callable(name):
            continue
        require_name("log", name, WRITERS)
        package = getattr(WRITERS[name], "package", None)
        if package and importlib.util.find_spec(package) is None:
            extra = getattr(WRITERS[name], "extra", name)
            raise InputError(
                f"the log {name} needs the package {package}, which is not installed: pip install 'jaxdae[{extra}]'"
            )


def open_log(path: Path | None, config: Config, names: Sequence[str | Kind], pictures_every: int, epochs: int) -> Log:
    """The log of a run with so many finished epochs; without a folder it writes nothing.

    CannotStart if a writer cannot be made. Settings are kept in the folder for `resume`; a writer of one's own, which
    has no name, is not.
    """
    if path is None:
        return Log({}, 0)
    home = path / folder.LOGS
    if names:
        home.mkdir(exist_ok=True)
        known = [name for name in names if isinstance(name, str)]
        write_text(home / _SETTINGS, json.dumps({"log": known, "log_pictures": pictures_every}) + "\n")
    made: dict[str, Writer] = {_TRUTH: _JsonLines(path, config, epochs)}
    for name, label in _labelled(names):
        kind = WRITERS[name] if isinstance(name, str) else name
        try:
            require_no_link(home / label, "log")
            made[label] = kind(home / label, config, epochs)
        except Exception as error:
            Log(made, 0).close()
            raise CannotStart(f"the log {label} cannot be started: {error}") from error
    return Log(made, pictures_every)


def _labelled(names: Sequence[str | Kind]) -> Iterator[tuple[str | Kind, str]]:
    for name in dict.fromkeys(names):
        yield name, name if isinstance(name, str) else getattr(name, "__name__", type(name).__name__)


def saved_settings(path: Path) -> tuple[tuple[str, ...], int]:
    """The writers of a run folder, and every how many epochs they get pictures; InputError if damaged."""
    settings = path / folder.LOGS / _SETTINGS
    require_regular_file(settings)
    if not settings.exists():
        return (), 1
    try:
        fields = json.loads(settings.read_text())
        names, pictures_every = tuple(fields["log"]), fields["log_pictures"]
        check_writers(names, pictures_every)
        return names, pictures_every
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{settings}: {error}; without this file the run continues with {_TRUTH} alone") from None
