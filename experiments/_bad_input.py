"""Command lines that must be refused, over every option of every verb and every kind of file that jaxdae reads.

Each must end with status 2 and one line on stderr, "jaxdae: " and a sentence, and leave its folder as it was. The files
of `make_files` that could execute something would make a file MARKER there.
"""

import argparse
import contextlib
import functools
import io
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from _bad_files import READERS

from jaxdae import cli, components, runs
from jaxdae.cli import options


class Case(NamedTuple):
    """A command line, in the folder of `make_files`, and a part of the sentence that it gets."""

    name: str
    words: tuple[str, ...]
    said: str


class Outcome(NamedTuple):
    """How a command ended."""

    status: int | str
    """The exit status, or the exception that left the command."""
    said: str
    """All of stderr, that of the libraries in C too."""


class Row(NamedTuple):
    """What a case got."""

    case: Case
    status: int | str
    said: str
    ok: bool
    why: str


def outcome(words: tuple[str, ...] | list[str]) -> Outcome:
    """Runs a command line in this process; warnings are printed, as a user sees them."""
    with tempfile.TemporaryFile("w+", buffering=1, errors="backslashreplace") as err, _stderr(err):
        try:
            status: int | str = cli.main(words)
        except BaseException as error:
            status = f"{type(error).__name__}: {error}"
        err.seek(0)
        return Outcome(status, err.read())


@contextlib.contextmanager
def _stderr(file: Any) -> Iterator[None]:
    def show(message: Any, category: Any, *_: Any) -> None:
        print(f"{category.__name__}: {message}", file=file)

    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        with contextlib.redirect_stderr(file), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=ResourceWarning)
            warnings.showwarning = show  # type: ignore[assignment]
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def run_cases(folder: Path, cases: list[Case] | None = None) -> list[Row]:
    """Runs cases (all of them) in a folder that `make_files` has filled."""
    rows = []
    with contextlib.chdir(folder):
        before = _listing()
        for case in all_cases() if cases is None else cases:
            status, said = outcome(case.words)
            after = _listing()
            why = _fault(case, status, said) or _changed(before, after)
            rows.append(Row(case, status, said, not why, why))
            if after != before:
                for path in sorted(after.keys() - before.keys(), reverse=True):  # or the next case would find it
                    os.rmdir(path) if after[path] is True else os.unlink(path)
                before = _listing()
    return rows


def _fault(case: Case, status: int | str, said: str) -> str:
    if status != 2:
        return f"ended with {status!r}"
    if not said.startswith("jaxdae: ") or said.count("\n") != 1 or not said.endswith("\n"):
        return "did not say one sentence"
    return "" if case.said in said else f"did not say {case.said!r}"


def _listing(folder: str = ".") -> dict[str, Any]:
    """All files with their sizes and times, and all folders."""
    found: dict[str, Any] = {}
    for entry in os.scandir(folder):
        stat = entry.stat(follow_symlinks=False)
        found[entry.path] = entry.is_dir() or (stat.st_size, stat.st_mtime_ns)
        found |= _listing(entry.path) if entry.is_dir() else {}
    return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    return f"changed {', '.join(paths)}" if paths else ""


@functools.cache
def parser_of(verb: str) -> options.Parser:
    """The parser that a verb uses."""
    found: list[options.Parser] = []

    def parse(parser: options.Parser, words: Any) -> argparse.Namespace:
        found.append(parser)
        raise SystemExit(0)

    with mock.patch.object(options.Parser, "parse", parse):
        cli.main([verb])
    return found[0]


def all_cases() -> list[Case]:
    """The cases of the options, of what is typed wrong otherwise, and of the files."""
    return [*option_cases(), *_cases("typed", TYPED), *file_cases()]


USUAL = {
    "train": "train --out new --no-progress", "resume": "resume run --no-progress", "evaluate": "evaluate run",
    "plot": "plot run", "denoise": "denoise good.png --run saved --out new", "models": "models",
    "export": "export run --to safetensors --out new", "import": "import good.keras --out new",
    "noisy-set": "noisy-set --out new.npz", "check": "check",
}  # fmt: skip
"""A call of each verb that would succeed (and is never made)."""

LEVEL = "is neither a number (0.5) nor a range (0:1)"
RANGES: dict[str, dict[str, str]] = {
    "--seeds": {"-1": "seed -1 is not an integer", "9" * 400: "is not an integer"},
    "--seed": {"-1": "seed -1 is not an integer", "4294967296": "from 0 to 4294967295"},
    "--member": {"-1": "member -1 does not exist", "9": "member 9 does not exist; this run has members 0 to 0"},
    "--images": {"0": "images 0 is not allowed", "9" * 30: "is not allowed"},
    "--max-pixels": {"0": "--max-pixels 0 is not allowed", "100": "has more than 100 pixels"},
    "--log-pictures": {"-1": "log pictures every -1 epochs is not allowed"},
    "--patch": {"0": "patch 0 is not allowed"},
    "--coverage": {"0": "coverage 0 is not allowed"},
    "--held-out": {"0": "held out 0 is not allowed", "nan": "held out nan", "1": "held out 1 is not allowed"},
    "--noise-scale": {"nan": "noise scale nan is not allowed", "0": "noise scale 0", "inf": "noise scale inf"},
    "--add-noise": {"nan": "nan is out of range", "6": "gaussian takes 0 to 5", "-1": "out of range"},
    "--test-levels": {"nan": "nan is out of range", "inf": "inf is out of range", "-1": "out of range"},
    "--noise-levels": {"x": LEVEL, "1:0": "noise level 1:0 is out of range", "nan": "out of range", "0:1:2": LEVEL},
    "--noise-level": {"nan": "noise level", "x": "'x'", "-1": "noise level"},
    "--range": {"x 1": "invalid float value: 'x'", "1 0": "--range 1 0 is not allowed", "nan 1": "--range nan 1",
                "0 inf": "--range 0 inf is not allowed", "0": "expected 2 arguments"},
    "--processes": {"0": "0 processes are not allowed"}, "--process-id": {"-1": "process id -1 is not one"},
    "--coordinator": {"nowhere": "coordinator 'nowhere' has no port"},
    "--out": {}, "--run": {"gone": "gone is no run folder"}, "--reference": {"gone": "--reference gone does not exist"},
    "--target": {"gone": "--target is for pictures of your own"}, "--colour": {"grye": "did you mean grey?"},
    "--layer": {"encodr_0": "layer 'encodr_0' is not known"}, "--to": {"onx": "did you mean onnx?"},
    "--manual-dir": {"gone": "the manual folder gone does not exist"},
    "--data-dir": {"downloads": "delete this download"},
    "--dataset": {"mnits": "dataset 'mnits' is not known; did you mean mnist"},
}  # fmt: skip
"""Bad values of options beside those that their type refuses, and what is said of them."""
OUT = {
    "train": {"good.png": "exists and is not a run folder", "run": "already holds a run", "pictures": "not a run"},
    "resume": {"new": "--dataset and --out are for saved denoisers"},
    "denoise": {"good.png": "--out good.png is a file", "taken": "taken/good.png exists already"},
    "export": {"good.png": "good.png is a file and none", "a.onnx": "is a file's name of the format onnx",
               "saved": "exists; choose another --out", "good.png/x": "good.png"},
    "import": {"saved": "exists; choose another folder", "good.png": "good.png", "good.png/x": "good.png"},
    "noisy-set": {"new.png": "must end in .npz", "good.png/x.npz": "good.png cannot be used: File exists",
                  "folder.npz": "folder.npz"},
}  # fmt: skip
WITH = {
    "--patch": "--dataset pictures", "--coverage": "--dataset pictures", "--held-out": "--dataset pictures",
    "--colour": "--dataset pictures", "--manual-dir": "--dataset mnist", "--data-dir": "--dataset mnist --manual-dir .",
    "--processes": "--distributed --coordinator a:1 --process-id 0", "--coordinator": "--distributed --processes 1 "
    "--process-id 0", "--process-id": "--distributed --coordinator a:1 --processes 1", "--reference": "--overwrite",
    "train --range": "--dataset pictures", "train --max-pixels": "--dataset pictures",
}  # fmt: skip
"""What else must be said for an option to matter."""


def option_cases() -> list[Case]:
    """Bad values of every option of every verb, as its parser and the components declare it."""
    cases = []
    for verb in cli.VERBS:
        for action in parser_of(verb)._actions:
            if not action.option_strings or action.dest == "help":
                continue
            flag = action.option_strings[0]
            for value, said, *more in _bad_values(verb, action, flag):
                given = [f"{flag}={value}"] if action.nargs == 0 else [flag, *(value.split(" ") if value else [""])]
                words = (*_usual(verb, flag), *more, *given)
                cases.append(Case(f"{verb} {flag} {value[:20]}", words, said))
            if action.nargs not in (0, "*"):
                cases.append(Case(f"{verb} {flag} without a value", (*_usual(verb, flag), flag), "expected"))
            if action.nargs != 0:
                empty = f"an empty word after {flag!r} is not allowed"
                cases.append(Case(f"{verb} {flag} of an empty word", (*_usual(verb, flag), flag, ""), empty))
    return cases


def _usual(verb: str, flag: str) -> list[str]:
    usual = USUAL[verb].split()
    if verb in ("resume", "evaluate", "plot") and flag in ("--dataset", "--manual-dir", "--data-dir"):
        usual[1] = "saved"
    if verb == "denoise" and flag in ("--member", "--weights"):
        usual[3] = "run"
    if (verb, flag) == ("import", "--models"):
        usual[1] = "good.weights.h5"
    return usual + WITH.get(f"{verb} {flag}", WITH.get(flag, "")).split()


def _bad_values(verb: str, action: argparse.Action, flag: str) -> Iterator[tuple[str, ...]]:
    """Values, what is said of them, and the words that they need beside."""
    kind = action.type
    if action.nargs == 0:
        yield "x", "ignored explicit argument 'x'"
        return
    if kind in (int, float):
        for value in ("x", "1.5", "nan", "1e3") if kind is int else ("x", "1,5"):
            more = " 1" if action.nargs == 2 else ""
            yield value + more, f"invalid {kind.__name__} value: '{value}'"
    elif kind in (options._sizes, options._truth, options._scale):
        yield "x", "'x' is n"
    slot = action.dest.split(".")[0]
    declared: Any = options._fields(slot).get(action.dest, ()) if "." in action.dest else ()
    if not declared and action.dest in LOOP:
        declared = [("", LOOP[action.dest])]
    for component, setting in declared:
        for value, said in _out_of_bounds(setting):
            yield value, said, *((f"--{slot}s", component) if component else ())
    known = RANGES.get(flag, {}) | (OUT[verb] if flag == "--out" else {})
    if not declared and not known and kind is not options._truth:
        known = {"nonsens": "'nonsens' is not known"}
    yield from known.items()


LOOP = components.settings(runs.Loop)


def _out_of_bounds(setting: Any) -> Iterator[tuple[str, str]]:
    if setting.choices is not None:
        yield "nonsens", "'nonsens' is not known"
    elif setting.type in (int, float):
        low = setting.low if setting.above else setting.low - 1
        more = ["nan", "inf"] * (setting.type is float) + ([f"{setting.below:.0f}"] if setting.below < math.inf else [])
        for value in (f"{low:g}", *more):
            yield value, "is not allowed: give"


TYPED = {
    "trian": "verb 'trian' is not known; did you mean train?", "--epochs 3": "verb '--epochs' is not known",
    "train --resume run": "train has no option --resume", "train --resume=run": "train has no option --resume",
    "train --overwrite --out good.png": "is not a run folder", f"train --width {'9' * 400}": "width 999",
    "train --noise-levls 1": "unknown option --noise-levls; did you mean --noise-levels",
    "train more": "unexpected argument 'more'", "train -x": "unexpected argument '-x'", "models digits": "unexpected",
    "check 3": "unexpected argument '3'", "evaluate run --width 3": "unknown option --width; see jaxdae evaluate",
    "evaluate": "are required: run", "plot": "are required: run", "resume": "are required: run",
    "export run": "are required: --to, --out", "denoise": "are required: pictures, --out", "import": "file, --out",
    "noisy-set": "are required: --out",
    "train --optimizer sgd --rho 0.9": "--rho belongs to the optimizer adadelta, not to sgd; leave it out",
    "train --noise-levels 0.5 9": "noise level 9 is out of range", "train --depth 2 --width 8,4,2": "has 3 values",
    "train --noise-level 25": "(--noise-scale 255)", "train --members-at-once 2": "does not divide a group of 1",
    "train --holdout 5000": "leaves nothing of 1500", "train --augment": "--augment is for pictures of your own",
    "train --range 0 1": "--range is for pictures of your own", "train --strict": "--strict is for pictures",
    "train --allow-motion": "--allow-motion is for pictures of your own",
    "train --dataset pictures --allow-motion": "--allow-motion is for frames of a sequence",
    "train --objective noise2noise": "clip", "train --log nonsens": "'nonsens' is not known",
    "train --dataset photos --target next": "--target next is for noisy pictures of your own",
    "train --dataset pictures --target pictures": "is the folder of the noisy pictures itself",
    "train --dataset pictures --target nothing": "nothing holds no picture",
    "train --dataset pictures --patch 99": "less than a patch", "train --dataset ./gone": "gone does not exist",
    "train --dataset pictures --held-out 0.9": "leaves none to train on", "train --dataset good.png": "leaves none",
    "train --dataset nothing/": "holds no picture", "train --dataset text.txt": "text.txt is no picture",
    "train --dataset pictures --holdout 1": "are held out by --held-out",
    "train --dataset pictures --coverage 99999999999999999999": "coverage",
    "train --overwrite --out pictures": "is not a run folder", "train --processes 2": "are for --distributed; add it",
    "train --distributed --processes 2": "go together", "resume run --process-id 1": "are for --distributed; add it",
    "resume run --dataset digits": "are for saved denoisers", "resume saved": "name them with --dataset",
    "resume saved --dataset digits --epochs 0": "epochs 0 is not allowed", "resume run --epochs 0": "0",
    "resume wide.keras --dataset digits": "none of jaxdae's own networks", "evaluate digits": "with --dataset mnist",
    "evaluate run --dataset digits": "--dataset is for a saved denoiser", "evaluate gone": "gone is no run folder",
    "evaluate saved --dataset digits --member 0": "--member and --weights choose a denoiser of a run",
    "evaluate run --test-corruption masking --test-levels 2": "masking takes 0 to 1",
    "evaluate run --test-corruption masking --test-levels 2 --noise-scale 255": "has no scale",
    "plot run --layer gone": "'gone' is not known", "plot digits --dataset digits --noise-level 9": "out of range",
    "evaluate runs/no-checkpoint": "holds no checkpoint yet", "plot runs/no-checkpoint": "holds no checkpoint yet",
    "export runs/no-checkpoint --to onnx --out new": "holds no checkpoint yet",
    "denoise good.png --run runs/no-checkpoint --out new": "holds no checkpoint yet",
    "denoise gone.png --out new": "gone.png does not exist", "denoise text.txt --out new": "text.txt is not a picture",
    "denoise nothing --out new": "nothing holds no picture", "denoise good.png --out new --member 0": "with --run",
    "denoise pictures --out pictures": "is the folder of the pictures themselves",
    "denoise good.png ./good.png pictures/../good.png --out new": "would both become",
    "denoise good.png --out new --skip-existing --overwrite": "exclude each other",
    "denoise good.png --out new --run run --noise-level auto": "takes no noise level",
    "denoise good.png --out new --run run --noise-level 0.5": "takes no noise level; leave",
    "denoise good.png --out good.png/x": "--out good.png/x lies below good.png, which is a file",
    "denoise good.png --out new --reference nothing": "needs a clean",
    "denoise good.png --out new --reference pictures/a.png": "has other pages, sizes or channels",
    "denoise a\nb.png --out new": "a\\nb.png does not exist", f"denoise {'a' * 300}.png --out new": "too long",
    "denoise pictures/a.png/b.png --out new": "does not exist",
    "import good.keras --out new --models dncnn": "leave --models out", "import gone.h5 --out new": "does not exist",
    "import good.keras --out new --corruption masking --noise-level 2": "masking takes 0 to 1",
    "evaluate ": "an empty word after 'jaxdae evaluate'", "train --dataset=": "an empty word after '--dataset='",
    "evaluate gone\x1b[2J": r"gone\x1b[2J is no run folder", "plot run --noise-level nan": "noise level nan is out of",
    "import good.png --out new": "good.png is no file of Keras", "import saved --out new": "saved is a folder",
    "export digits --to onnx keras --out a.onnx": "give a folder", "export gone --to onnx --out new": "gone is no",
    "export photos --to keras --out new": "take onnx", "export digits --to safetensors --out a.safetensors": "several",
    "noisy-set --out new.npz --noise-level 25": "(--noise-scale 255)",
    "noisy-set --out new.npz --corruption poisson --noise-scale 255": "has no scale",
}  # fmt: skip
"""What is typed wrong otherwise: words that do not go together, names of files that are none."""


def _cases(group: str, said: dict[str, str]) -> list[Case]:
    return [Case(f"{group}: {line[:60]!r}", tuple(line.split(" ")), sentence) for line, sentence in said.items()]


def file_cases() -> list[Case]:
    """Every bad file, by every verb that reads its kind."""
    return [
        Case(call.format(name), tuple(call.format(name).split()), said)
        for files, calls in READERS.values()
        for call in calls
        for name, said in files.items()
    ]
