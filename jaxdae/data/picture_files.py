"""Which picture files are taken, and where their results go."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxdae.errors import InputError
from jaxdae.paths import exists_at_all, require_regular_file, special_kind

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".pbm", ".pnm",
)  # fmt: skip
MAX_PIXELS = 500_000_000
"""Of a file, over all pages, unless more are allowed."""
COMPARISON = ".compare"
"""What is appended to the name of a result for its comparison, before another suffix."""


class TooManyPixels(InputError):
    """A picture has more pixels than are allowed."""


def require_pixels(path: Path, pixels: int, most: float) -> None:
    """TooManyPixels if a picture has too many pixels, over all pages."""
    if pixels > most:
        raise too_large(path, most)


def too_large(path: Path, most: float) -> TooManyPixels:
    """The error of a picture that has too many pixels."""
    return TooManyPixels(f"{path} has more than {most} pixels; raise --max-pixels")


def hidden(path: Path) -> bool:
    """Whether a path below a folder is hidden (`._x.png`) or what an archive of macOS leaves behind."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def is_comparison(path: Path) -> bool:
    """Whether a name is one of those that `denoise --compare` makes of a picture's, as x.png.compare.png."""
    name = Path(path.stem)
    return name.suffix == COMPARISON and Path(name.stem).suffix.lower() in SUFFIXES


def comparisons(target: Path) -> tuple[Path, Path]:
    """The comparison of a result: of one page, or of several."""
    return tuple(target.with_name(f"{target.name}{COMPARISON}{suffix}") for suffix in (".png", ".tif"))  # type: ignore


def find(inputs: Sequence[Path], out: Path, *, existing: bool = False, compare: bool = False) -> dict[Path, Path]:
    """The pictures in files and folders, each with the path of its result; folders keep their order below `out`.

    With `existing`, results may exist; with `compare`, they are written with comparisons.

    InputError if an input does not exist or is no picture, a folder has none, or a result would replace a file.
    """
    if files := [path for path in (out, *out.parents) if path.exists() and not path.is_dir()]:
        below = "" if files[0] == out else f" lies below {files[0]}, which"
        raise InputError(f"--out {out}{below} is a file; choose a folder")
    targets: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            if out.resolve() == given.resolve():
                raise InputError(f"--out {out} is the folder of the pictures themselves; choose another one")
            inside = [path for path in _files(given, out) if _is_picture(path, given)]
            if not inside:
                raise InputError(f"{given} holds no picture; known: {', '.join(SUFFIXES)}")
            targets |= {path: out / path.relative_to(given) for path in inside}
        elif not given.exists():
            raise InputError(f"{given} does not exist")
        elif special_kind(given):
            require_regular_file(given)
        elif given.suffix.lower() not in SUFFIXES:
            raise InputError(f"{given} is not a picture that can be written back; known: {', '.join(SUFFIXES)}")
        else:
            targets[given] = out / given.name
    owner: dict[Path, Path] = {}
    for source, target in targets.items():
        for result in (target, *(comparisons(target) if compare else ())):
            if result in owner:
                raise InputError(f"{owner[result]} and {source} would both become {result}; denoise them apart")
            if exists_at_all(result) and not existing:
                raise InputError(
                    f"{result} exists already; choose another folder with --out, or --skip-existing or --overwrite"
                )
            owner[result] = source
    return targets


def passed_over(inputs: Sequence[Path], out: Path) -> str:
    """A sentence on the files of other kinds in folders, hidden ones too; empty if there are none."""
    others = Counter(
        _kind_of(path, given)
        for given in inputs
        if given.is_dir()
        for path in _files(given, out)
        if not _is_picture(path, given) and not is_comparison(path)
    )
    count = sum(others.values())
    verb = "file of another kind was" if count == 1 else "files of other kinds were"
    return f"{count} {verb} passed over: {', '.join(sorted(others))}" if count else ""


def _files(folder: Path, out: Path) -> list[Path]:
    """All files below a folder, broken links too, but not the results in it, by resolved paths."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    results = out.resolve()
    if not results.is_relative_to(folder.resolve()):
        return files
    return [path for path in files if not path.parent.resolve().is_relative_to(results)]


def _is_picture(path: Path, folder: Path) -> bool:
    if hidden(path.relative_to(folder)) or is_comparison(path) or special_kind(path):
        return False
    return path.suffix.lower() in SUFFIXES


def _kind_of(path: Path, folder: Path) -> str:
    """What a file is called that is passed over."""
    if hidden(path.relative_to(folder)):
        return "hidden"
    return special_kind(path) or path.suffix.lower() or path.name
