"""Which picture files are taken, and where their results go."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxdae.errors import InputError

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm",
)  # fmt: skip


def require_pixels(path: Path, pixels: int, most: int) -> None:
    """InputError if a picture has too many pixels, over all pages."""
    if pixels > most:
        raise InputError(f"{path} has more than {most} pixels; raise --max-pixels")


def find(inputs: Sequence[Path], out: Path, *, existing: bool = False) -> dict[Path, Path]:
    """The pictures in files and folders, each with the path of its result; folders keep their order below `out`.

    With `existing`, results may exist.

    InputError if an input does not exist or is no picture, a folder has none, or a result would replace a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; choose a folder")
    targets: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            if out.resolve() == given.resolve():
                raise InputError(f"--out {out} is the folder of the pictures themselves; choose another one")
            inside = sorted(p for p in given.rglob("*") if p.suffix.lower() in SUFFIXES and out not in p.parents)
            if not inside:
                raise InputError(f"{given} holds no picture; known: {', '.join(SUFFIXES)}")
            targets |= {path: out / path.relative_to(given) for path in inside}
        elif not given.exists():
            raise InputError(f"{given} does not exist")
        elif given.suffix.lower() not in SUFFIXES:
            raise InputError(f"{given} is not a picture that can be written back; known: {', '.join(SUFFIXES)}")
        else:
            targets[given] = out / given.name
    owner: dict[Path, Path] = {}
    for source, target in targets.items():
        if target in owner:
            raise InputError(f"{owner[target]} and {source} would both become {target}; denoise them apart")
        if target.exists() and not existing:
            raise InputError(
                f"{target} exists already; choose another folder with --out, or --skip-existing or --overwrite"
            )
        owner[target] = source
    return targets


def passed_over(inputs: Sequence[Path], out: Path) -> str:
    """A sentence on the files of other kinds in folders; empty if there are none."""
    others = Counter(
        path.suffix.lower() or path.name
        for given in inputs
        if given.is_dir()
        for path in given.rglob("*")
        if path.is_file() and path.suffix.lower() not in SUFFIXES and out not in path.parents
    )
    count = sum(others.values())
    verb = "file of another kind was" if count == 1 else "files of other kinds were"
    return f"{count} {verb} passed over: {', '.join(sorted(others))}" if count else ""
