"""The flags that a user gives to XLA, which ends the process at one that it does not know."""

import importlib.util
import mmap
from pathlib import Path

from jaxdae.errors import InputError

LIBRARY = "libjax_common.so"
"""The file of jaxlib in which every flag of XLA stands by its name."""


def require_known_flags(flags: str, library: Path | None = None) -> None:
    """InputError if XLA does not know a flag in XLA_FLAGS: its name is nowhere in `library`.

    A missing library, or the name of a file with flags, is left to XLA.
    """
    names = [word[2:].split("=")[0] for word in flags.split() if word.startswith("--")]
    library = library or _installed_library()
    if not names or library is None:
        return
    read = mmap.ACCESS_READ
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=read) as content:
        unknown = [name for name in names if content.find(name.encode()) < 0]
    if unknown:
        way_out = "correct or unset this variable"
        raise InputError(f"--{unknown[0]} in XLA_FLAGS is not a flag that XLA knows; {way_out}")


def _installed_library() -> Path | None:
    spec = importlib.util.find_spec("jaxlib")  # imports nothing
    folders = spec.submodule_search_locations if spec else None
    paths = [Path(folder) / LIBRARY for folder in folders or ()]
    return next((path for path in paths if path.is_file()), None)
