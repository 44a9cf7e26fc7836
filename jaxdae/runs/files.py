"""Files that are written whole or not at all, and JSON that carries its own digest."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxdae.errors import InputError
from jaxdae.paths import NO_LINK, require_regular_file

_DIGEST = "sha256"
_TEMPORARY = re.compile(r"\.(\d+)-.+")


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which takes its place if all goes well; if not, nothing is left of it.

    It keeps the suffix, by which libraries choose a format. An OSError names `path` (that of a full disk names none).
    The temporary file is there from the start, empty and with the permissions of the umask. No link
    is followed: one at `path` is replaced. InputError if `path` is a named pipe, socket or device.
    """
    require_regular_file(path)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    with make_folder(path.parent):
        try:
            _make_file(temporary)
            yield temporary
            temporary.replace(path)
        except BaseException as error:
            if isinstance(error, OSError) and error.errno and not error.filename:
                error.filename = str(path)
            temporary.unlink(missing_ok=True)
            raise


def _make_file(path: Path) -> None:
    """Makes an empty file, in place of a file or a link, which is not followed."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o666))


@contextlib.contextmanager
def make_folder(path: Path) -> Iterator[None]:
    """Makes a folder and those above it; what is still empty after a failure is removed again."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # another has put something there
            for folder in made:
                folder.rmdir()
        raise


@contextlib.contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, whose files move into `folder` if all goes well; if not, nothing is left of them.

    No link is followed. InputError if `folder` is a file, or one of its files a named pipe, socket or device.
    """
    is_new = not folder.exists()
    if not is_new and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose a folder")
    temporary = folder / f".{os.getpid()}-new"
    temporary.mkdir(parents=True)
    try:
        yield temporary
        paths = sorted(temporary.iterdir())
        for path in paths:
            require_regular_file(folder / path.name)
        for path in paths:
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def is_temporary(path: Path) -> bool:
    """Whether a file is one that `atomic` writes to; a killed process leaves it."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_temporary(folder: Path) -> None:
    """Removes the files of `atomic` that killed processes left in a folder."""
    for path in folder.glob(".*"):
        if (found := _TEMPORARY.fullmatch(path.name)) and not _is_another_process(int(found[1])):
            path.unlink(missing_ok=True)


def _is_another_process(number: int) -> bool:
    """Whether a process of that number lives and is not this one."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return number != os.getpid()


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with atomic(path) as temporary:
        temporary.write_text(text)


def sealed(fields: Mapping[str, Any]) -> str:
    """The text of a JSON object with the digest of its fields, by which `unsealed` notices any change."""
    return json.dumps({**fields, _DIGEST: _digest(fields)}, indent=1) + "\n"


def unsealed(text: str) -> dict[str, Any]:
    """The fields of such a text, or of one without a digest, as former versions wrote; InputError if they changed."""
    try:
        fields = json.loads(text)
    except RecursionError:
        raise InputError("it is nested too deeply") from None
    if not isinstance(fields, dict):
        raise InputError("it is no JSON object")
    digest = fields.pop(_DIGEST, None)
    if digest is not None and digest != _digest(fields):
        raise InputError(
            f"it has changed since it was written; bring it back from a copy, or delete its {_DIGEST} if you changed it"
        )
    return fields


def _digest(fields: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
