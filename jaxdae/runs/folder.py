"""A run's folder on disk: its configuration and its log.

config.json      {schema, prng, source, loop, members}: everything needed to run it again
metrics.jsonl    a line for each member and epoch
.lock            the process that trains it now (`jaxdae.runs.lock`)
checkpoints/     Orbax (`jaxdae.runs.checkpoints`)
figures/
logs/            what other writers write (`jaxdae.runs.writers`)
"""

import dataclasses
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from jaxdae import components, distributed, rng
from jaxdae.components import structure
from jaxdae.data import Data
from jaxdae.data.source import EIGHT_BIT, ValueRange
from jaxdae.errors import InputError, printable
from jaxdae.parallel import Population
from jaxdae.paths import NO_LINK, require_no_link, require_regular_file
from jaxdae.runs.files import is_temporary, remove_temporary, sealed, unsealed, write_text
from jaxdae.training import member as members_module
from jaxdae.training.member import Member

CONFIG, METRICS, CHECKPOINTS, FIGURES, LOGS = "config.json", "metrics.jsonl", "checkpoints", "figures", "logs"
LOCK = ".lock"
SCHEMA = 2

_MEND_LOG = "bring it back from a copy, or move it away to go on without its lines"
_log = logging.getLogger("jaxdae")


@dataclasses.dataclass(frozen=True)
class Loop:
    """What a run does with its members and data."""

    epochs: int = structure(10, "passes over the training images, in all", at_least=1)
    batch_size: int = structure(128, "images per optimizer step", at_least=1)
    holdout: int = structure(0, "validate on the last N training images, left out of training; 0: on the test images")
    evaluation_seed: int = structure(0, "seed of the noise of validation and evaluation, the same for every member")
    chunk_steps: int = structure(32, "most optimizer steps between looks at the clock, keyboard and loss", at_least=1)
    members_at_once: int = structure(
        0, "with vmap or products, members that step together, a divisor of every group's size; 0: all"
    )
    population: str = structure(
        "map",
        "members of one structure step in turn (map) or together (see docs/options.md)",
        choices=get_args(Population.__annotations__["way"]),
    )
    divide: str = structure(
        "batches",
        "each device takes its share of every batch, or its own members with their whole batches",
        choices=("batches", "members"),
    )
    keep: int = structure(2, "checkpoints kept: the newest N", at_least=1)

    @property
    def ways(self) -> Population:
        """How the members of a group go through a program."""
        return Population(self.population, self.members_at_once, self.divide == "members")  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that a run depends on."""

    members: tuple[Member, ...]
    loop: Loop
    source: dict[str, Any]
    """`dataset` (a name, a path, or None for images given from Python), `sha256`, `image` (height, width, channels) of
    an example; for a path, how its pictures are read too."""

    @property
    def stored_values(self) -> tuple[ValueRange | None, str]:
        """The stored values of black and white (None: measured of each file), and the type that they hold for."""
        kind, given = self.source.get("value_type", "uint8"), self.source.get("value_range")
        low, high = given or EIGHT_BIT
        return (low, high) if given or kind == "uint8" else None, kind


def check_loop(loop: Loop, members: Sequence[Member]) -> Loop:
    """The loop's settings in their canonical form; InputError if one is not allowed."""
    loop = components.checked(loop)
    if loop.members_at_once > 1 and loop.population == "map":
        loop = dataclasses.replace(loop, population="vmap")
    if loop.evaluation_seed >= 2**32:
        raise InputError(f"evaluation seed {loop.evaluation_seed} is not an integer from 0 to 4294967295")
    for group in members_module.group_members(members) if loop.members_at_once else ():
        count = len(group.indices)
        if count % loop.members_at_once:
            divisors = ", ".join(str(n) for n in range(1, count + 1) if count % n == 0)
            raise InputError(
                f"members at once {loop.members_at_once} does not divide a group of {count}; take {divisors}"
            )
    return loop


def as_json(config: Config) -> dict[str, Any]:
    """The configuration of a run as JSON holds it."""
    return {
        "schema": SCHEMA,
        "prng": rng.PRNG,
        "source": config.source,
        "loop": components.to_dict(config.loop),
        "members": [members_module.to_dict(member) for member in config.members],
    }


def write_config(path: Path, config: Config) -> None:
    """Writes the configuration of a run."""
    write_text(path / CONFIG, sealed(as_json(config)))


def require_shared(path: Path) -> None:
    """Raises InputError in all processes unless all see what the first writes into a folder."""
    probe = path / distributed.of_first(f".{os.getpid()}-{secrets.token_hex(8)}")
    distributed.by_first(lambda: write_text(probe, ""))
    try:
        unseen = distributed.any_of(not probe.exists())
    finally:
        if distributed.is_first():
            probe.unlink(missing_ok=True)
    if unseen:
        raise InputError(f"{path} is not one folder for all processes; give a folder on a file system that they share")


def load_config(path: Path) -> Config:
    """The configuration of a run folder, checked; InputError if there is none, or a damaged or older one."""
    require_regular_file(path / CONFIG)
    try:
        fields = unsealed((path / CONFIG).read_text())
        if (fields.get("schema"), fields.get("prng")) != (SCHEMA, rng.PRNG):
            raise InputError(
                f"it was made by another version of jaxdae (schema {SCHEMA} and generator {rng.PRNG} are supported); "
                "use that version, or train it again"
            )
        members = members_module.check_members([members_module.from_dict(member) for member in fields["members"]])
        source = dict(fields["source"])
        height, width, channels = source["image"]
        if not all(type(size) is int and size > 0 for size in (height, width, channels)) or "sha256" not in source:
            raise InputError(f"its source is not that of images: {source}"[:200])
        return Config(members, check_loop(components.make(Loop, fields["loop"]), members), source)
    except (FileNotFoundError, NotADirectoryError):
        wanted = f"{path} is no run folder (it has no {CONFIG}); `jaxdae train --out {path}` makes one"
        raise InputError(wanted) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path / CONFIG} cannot be read: {reason}") from None


def check_source(path: Path, source: dict[str, Any], data: Data) -> None:
    """Raises InputError unless images are those of a run."""
    if source["sha256"] == data.sha256:
        return
    if "patch" in source:
        raise InputError(f"{source['dataset']} has changed since {path} was trained on it; restore it, or train again")
    raise InputError(f"{path} was trained on other images than these; from Python, give its own with data=")


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, less a last one that a crash cut short (said); InputError if another is damaged."""
    log = path / METRICS
    require_regular_file(log)
    if not log.exists():
        return []
    try:
        whole, _, half = log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        if any(not {"epoch", "member"} <= line.keys() for line in lines):
            raise ValueError("a line has no epoch and member")
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{log} is damaged ({error}); {_MEND_LOG}") from None
    if half:
        _log.warning(f"the last line of {printable(log)} was cut short, as by a crash, and is left out")
    return lines


def mark_of(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a checkpoint keeps of the log, by which `check_history` knows it again."""
    return {"lines": len(history), "sha256": hashlib.sha256(_text(history).encode()).hexdigest()}


def check_history(path: Path, history: Sequence[dict[str, Any]], mark: Mapping[str, Any] | None) -> None:
    """Raises InputError if the first lines of a log are not those that a checkpoint marked; warns if all are gone."""
    if not mark or mark == mark_of(history[: mark["lines"]]):
        return
    log = path / METRICS
    if history:
        raise InputError(f"{log} is damaged (it is not as it was when the checkpoint was saved); {_MEND_LOG}")
    _log.warning(f"{printable(log)} is gone; the run is whole, but not the curves of its first {mark['lines']} lines")


def cut_history(path: Path, history: Sequence[dict[str, Any]], epochs: float) -> list[dict[str, Any]]:
    """A log less its lines after the epochs that a checkpoint holds, which are warned of.

    A process that was killed wrote them before it could save the epoch, or a newer checkpoint is
    damaged or gone.
    """
    kept = [line for line in history if line["epoch"] <= epochs]
    if len(kept) < len(history):
        newest = max(line["epoch"] for line in history)
        _log.warning(
            f"{printable(path / METRICS)} goes on to epoch {newest}, but the newest whole checkpoint is of "
            f"epoch {epochs}: the later lines are left out (a resumed run trains those epochs again)"
        )
    return kept


def append_history(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Adds lines to a run's log."""
    log = path / METRICS
    require_no_link(log, "log")
    require_regular_file(log)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NO_LINK
    with open(os.open(log, flags, 0o666), "a") as file:
        file.write(_text(lines))


def write_history(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Replaces a run's log."""
    write_text(path / METRICS, _text(lines))


def _text(lines: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def require_room(path: Path, overwrite: bool) -> None:
    """Raises InputError if a folder is in use, and not to be overwritten or not a run."""
    ours = path.is_dir() and ((path / CONFIG).exists() or all(_is_left_of_a_start(file) for file in path.iterdir()))
    if path.exists() and not ours:
        raise InputError(f"{path} exists and is not a run folder; choose another one with --out")
    if (path / CONFIG).exists() and not overwrite:
        raise InputError(
            f"{path} already holds a run; continue it with `jaxdae resume {path}` or replace it with --overwrite"
        )


def _is_left_of_a_start(path: Path) -> bool:
    """Whether a process that was killed before it wrote its configuration can have left a file."""
    return path.name == LOCK or is_temporary(path)


def remove_half_written(path: Path) -> None:
    """Removes what killed processes left half written in a folder; nothing beyond a link."""
    for home in (path, path / FIGURES, path / LOGS):
        if home == path or not home.is_symlink():
            remove_temporary(home)


def make_room(path: Path) -> None:
    """Makes a folder, without the run that it may hold; of links in it, what they lead to stays."""
    path.mkdir(parents=True, exist_ok=True)
    remove_half_written(path)
    for name in (CHECKPOINTS, FIGURES, LOGS):
        if (path / name).is_symlink():
            (path / name).unlink()
        else:
            shutil.rmtree(path / name, ignore_errors=True)
    for name in (METRICS, CONFIG):
        (path / name).unlink(missing_ok=True)


def require_own_folders(path: Path) -> None:
    """InputError if a folder of a run is a link, through which other files would change."""
    for name in (CHECKPOINTS, FIGURES, LOGS):
        require_no_link(path / name, name)
    for step in (path / CHECKPOINTS).glob("*"):
        require_no_link(step, "checkpoint")
