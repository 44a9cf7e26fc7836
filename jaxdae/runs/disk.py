"""Disks that are full, read-only or out of reach while a run is written."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from jaxdae.errors import CannotWrite
from jaxdae.runs import checkpoints, folder


@contextlib.contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Raises CannotWrite, which says what is saved, where a file of a run folder cannot be written."""
    try:
        yield
    except Exception as error:
        # Orbax passes on the ValueError of TensorStore, which has the number of the system's error in its words.
        number = re.search(r"os_error_code='(\d+)'", str(error))
        if not isinstance(error, OSError) and not number:
            raise
        reason = os.strerror(int(number[1])) if number else str(error)
        newest = checkpoints.newest_step(path / folder.CHECKPOINTS)
        saved = "no checkpoint was saved yet" if newest is None else f"checkpoint {newest}, the newest, is whole"
        raise CannotWrite(
            f"{path} cannot be written ({reason}); {saved}; mend this and continue with `jaxdae resume {path}`"
        ) from error
