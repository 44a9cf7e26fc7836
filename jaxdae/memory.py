"""How much memory is left, and errors that name what it was too small for."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from jaxdae.errors import InputError

_GROUPS = Path("/sys/fs/cgroup")
_GROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""The limit of a control group and what it uses, in versions 2 and 1."""


def available_memory() -> int | None:
    """Bytes that this process can still take of machine, container and `ulimit`; None if unknown."""
    known = [*_of_machine(), *_of_groups(), *_of_process()]
    return max(0, min(known)) if known else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory is too small."""
    # jaxlib says RESOURCE_EXHAUSTED where an array is made, INTERNAL where one that failed is used.
    if isinstance(error, MemoryError):
        return True
    return re.search("RESOURCE_EXHAUSTED|Out of memory", str(error)) is not None


@contextlib.contextmanager
def memory_named(data: object) -> Iterator[None]:
    """InputError, which names the data, where the memory is too small for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise too_large_for_memory(data) from None


def too_large_for_memory(data: object, reason: str = "") -> InputError:
    """The error of images that are too large, with a reason in brackets."""
    what = f"the images of {data} are too large for the memory"
    return InputError(f"{what}{reason}; give fewer or smaller ones")


def gigabytes(count: float) -> str:
    """A number of bytes in words."""
    return f"{count / 1e9:.2g} GB"


def _of_machine() -> Iterator[int]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield 1024 * int(line.split()[1])
                return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups() -> Iterator[int]:
    """What the control group of this process, and those above it, leave."""
    homes = [_GROUPS]
    with contextlib.suppress(OSError):
        own = re.search(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)
        for part in own[1].split("/") if own else ():
            homes += [homes[-1] / part] if part else []
    for home in homes:
        for limit, used in _GROUP_FILES:
            with contextlib.suppress(OSError, ValueError):  # without a limit, the file says "max"
                taken = int((home / used).read_text()) - _cached(home)
                yield int((home / limit).read_text()) - taken


def _cached(home: Path) -> int:
    """Bytes of files that the system drops when the memory is wanted otherwise."""
    try:
        statistics = (home / "memory.stat").read_text()
    except OSError:
        return 0
    cached = re.search(r"^inactive_file (\d+)$", statistics, re.MULTILINE)
    return int(cached[1]) if cached else 0


def _of_process() -> Iterator[int]:
    """What `ulimit -v` leaves."""
    if sys.platform == "win32":
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        yield limit - pages * os.sysconf("SC_PAGE_SIZE")
