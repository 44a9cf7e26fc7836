"""Options of the command line, generated from the fields that components declare."""

import argparse
import logging
import math
import re
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from jaxdae import components, runs
from jaxdae.components import Setting
from jaxdae.data import Data, load, load_again, own
from jaxdae.data.picture_files import MAX_PIXELS
from jaxdae.errors import InputError, nearest, printable
from jaxdae.exchange import packaged
from jaxdae.memory import memory_named
from jaxdae.models.denoiser import Denoiser
from jaxdae.noise import CORRUPTIONS, Noise, format_level, level_range
from jaxdae.runs import Loop, Run, folder
from jaxdae.runs.position import describe_members
from jaxdae.training import Member, grid
from jaxdae.training.member import KINDS, with_optimizer

Result = TypeVar("Result")

_log = logging.getLogger("jaxdae")

COMMON = ("noise-level", "corruption", "seed", "width", "learning-rate")
"""The member options in the first group of the help."""


class _Help(argparse.RawDescriptionHelpFormatter):
    """Names each option once, without its alias."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.option_strings[0] == "-h":
            return super()._format_action_invocation(action)
        values = action.metavar if action.nargs != 0 and action.metavar else ""
        several = " ..." if action.nargs == "+" else ""
        return f"{action.option_strings[0]} {values}{several}".rstrip()


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError with one sentence."""

    def __init__(self, verb: str, description: str, *positional: str) -> None:
        """A parser for one verb, whose usage line names the positional arguments."""
        super().__init__(
            prog=f"jaxdae {verb}",
            description=description,
            usage=f"jaxdae {verb} [options]" + "".join(f" {name.upper()}" for name in positional),
            allow_abbrev=False,
            formatter_class=_Help,
        )

    def error(self, message: str) -> NoReturn:
        """Raises InputError."""
        raise InputError(f"{message}; {self.prog} --help lists the options")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses all arguments; an unknown one is named with the nearest known."""
        for position, word in enumerate(arguments):
            if re.fullmatch("(--[^=]*=)?", word):  # which would stand for the default, or for this folder
                before = word or [self.prog, *arguments][position]
                raise InputError(f"an empty word after {before!r} is not allowed; is a variable of the shell not set?")
        parsed, unknown = self.parse_known_args(arguments)
        for word in unknown:
            if word.startswith("--"):
                known = [option for action in self._actions for option in action.option_strings]
                hint = nearest(word.split("=")[0], known)
                hint = hint if "did you" in hint else f"see {self.prog} --help"
                raise InputError(f"unknown option {word}; {hint}")
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}")
        return parsed


def add_data_options(parser: Parser) -> None:
    """Where datasets lie."""
    group = parser.add_argument_group("data")
    by_hand = "files downloaded by hand, in DIR/<dataset>/ (default: $JAXDAE_MANUAL_DIR)"
    group.add_argument("--manual-dir", type=Path, metavar="DIR", help=by_hand)
    downloads = "where downloads are kept (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)"
    group.add_argument("--data-dir", type=Path, metavar="DIR", help=downloads)


def load_data(arguments: argparse.Namespace, source: dict[str, Any]) -> Data:
    """The dataset of a run, by its entry in the configuration."""
    with memory_named(source.get("dataset")):
        return load_again(source, manual_dir=arguments.manual_dir, data_dir=arguments.data_dir)


def add_denoiser_data(parser: Parser) -> None:
    """The images for a denoiser that is no run, which has its own."""
    help = "images for a saved denoiser or a file of Keras; a run has its own"
    parser.add_argument("--dataset", metavar="NAME", help=help)


def load_denoiser_data(arguments: argparse.Namespace) -> tuple[Denoiser, Data] | None:
    """The denoiser that was named and the images that were, if it is no run; InputError if one of them is missing."""
    if not packaged.is_denoiser(arguments.run):
        if arguments.dataset is not None:
            raise InputError(
                f"--dataset is for a saved denoiser or file of Keras, not for {arguments.run}; leave it out"
            )
        return None
    if arguments.dataset is None:
        raise InputError(f"{arguments.run} is no run, which would know its images; name them with --dataset mnist")
    denoiser, _, _ = load_denoiser(arguments.run, arguments.member, arguments.weights)
    return denoiser, load(arguments.dataset, manual_dir=arguments.manual_dir, data_dir=arguments.data_dir)


def load_run(arguments: argparse.Namespace, *, without_data: bool = False) -> tuple[Run, Any]:
    """The run that was named, and its images; if they may be missing and their folder is gone, None."""
    run = runs.load_run(arguments.run)
    source = run.config.source
    if without_data and "patch" in source and not own.is_here(source):
        return run, None
    data = load_data(arguments, source)
    folder.check_source(arguments.run, source, data)
    return run, data


def add_own_options(parser: Parser) -> None:
    """How pictures of one's own are read."""
    add = parser.add_argument_group("training on pictures of your own (--dataset FOLDER)").add_argument
    add("--target", metavar="FOLDER|next", help="if the pictures of --dataset are noisy, their targets by equal names: "
        "clean, or with --objectives noise2noise other noisy ones; next: each frame's next one")  # fmt: skip
    add("--allow-motion", action="store_true", default=None, help="with --target next, train on the frames as they "
        "are, even if the scene moves (else refused) or its brightness steps (else matched)")  # fmt: skip
    add("--patch", type=int, metavar="N", help="side of the patches, for pictures of unequal sizes or larger ones "
        f"(default: {own.PATCH})")  # fmt: skip
    add("--augment", action="store_true", default=None, help="flip and turn the patches")
    add("--coverage", type=int, metavar="N", help="how many times the patches of an epoch cover the area of the "
        "pictures (default: 1, or more for a small set)")  # fmt: skip
    add("--colour", metavar="grey|rgb", help="convert all pictures (default: as they are)")
    add("--range", dest="value_range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="stored values of black and "
        "white (default: those of 8 bits, else measured over each whole file)")  # fmt: skip
    add("--held-out", type=float, metavar="X", help="fraction of the pictures for validation, the last by name "
        "(default: 0.1)")  # fmt: skip
    add("--max-pixels", type=int, metavar="N", help=f"leave out larger files (default: {MAX_PIXELS})")
    add(
        "--strict", action="store_true", default=None, help="refuse pictures that cannot be read, do not leave them out"
    )


def load_dataset(arguments: argparse.Namespace, dataset: str, members: Sequence[Member]) -> Data:
    """The dataset for some members to train on, by name or path; InputError for an option that a named one has not."""
    names = (
        "target", "patch", "augment", "coverage", "colour", "held_out", "value_range", "max_pixels", "allow_motion",
        "strict",
    )  # fmt: skip
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    if own.is_own(dataset):
        kinds = {getattr(member.objective, "pairs", None) for member in members}
        if "target" in given and kinds == {"clean", "noisy"}:
            raise InputError("--target is clean for supervised and noisy for noise2noise; train them in two runs")
        with memory_named(dataset):
            return own.read_own(dataset, **given, noisy_target="target" in given and kinds == {"noisy"})
    if given:
        flag = next(iter(given)).removeprefix("value_").replace("_", "-")
        raise InputError(f"--{flag} is for pictures of your own (--dataset FOLDER), "
                         f"not for {dataset}; leave it out")  # fmt: skip
    return load(dataset, manual_dir=arguments.manual_dir, data_dir=arguments.data_dir)


def add_member_choice(parser: Parser) -> None:
    """Which member of a run, with which weights."""
    index = "its index, from 0 (default: the one nearest noise level 0.5 with the lowest seed)"
    parser.add_argument("--member", type=int, metavar="N", help=index)
    epoch = "after the last epoch, or after the one with the lowest validation loss (default: last)"
    parser.add_argument("--weights", default="last", metavar="last|best", help=epoch)


def chosen_members(run: Run, member: int | None, weights: Any) -> list[int]:
    """The member that was named, or all that have such weights; the others are warned of."""
    trained = run.trained_members(weights)
    if member is not None or not trained:
        return [run.index(member)]
    if left := set(range(len(run.members))) - set(trained):
        verb = "has" if len(left) == 1 else "have"
        state = "not begun to train" if weights == "last" else "not been validated"
        _log.warning(f"left out: {describe_members(left)}, which {verb} {state}")
    return trained


def load_denoiser(path: Path, member: int | None, weights: Any) -> tuple[Denoiser, Run | None, Path]:
    """The denoiser of a run's member, of a saved one's folder or by a packaged one's name; its run; its folder."""
    path = packaged.folder_of(path)
    if not packaged.is_denoiser(path):
        run = runs.load_run(path)
        return run.select([run.index(member)], weights)[0], run, path
    if member is not None or weights != "last":
        raise InputError(f"--member and --weights choose a denoiser of a run; {path} is none, leave them out")
    return packaged.load_denoiser(path), None, path


def print_lines(lines: Generator[str, None, Result]) -> Result:
    """Prints lines, names in them escaped, above a progress bar if there is one; what the generator returns."""
    while True:
        try:
            tqdm.write(printable(next(lines)))
        except StopIteration as end:
            return end.value


def add_noise_scale(group: Any) -> None:
    """The scale on which noise levels are typed."""
    help = "what white is on the scale of the noise levels given: 255 for 8-bit images (default: 1)"
    group.add_argument("--noise-scale", type=_scale, default=1.0, metavar="X", help=help)


def _scale(word: str) -> float:
    """A scale, checked even where no level is typed on it."""
    try:
        scale = float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is no number") from None
    if not 0 < scale < math.inf:
        raise argparse.ArgumentTypeError(f"noise scale {word} is not allowed: give the value of white, such as 255")
    return scale


def on_unit_scale(levels: Sequence[Any], scale: float, corruptions: Sequence[str]) -> list[Any]:
    """Noise levels that were typed on a scale, on [0, 1]; InputError where a level is not a brightness."""
    if scale == 1:
        return list(levels)
    for name in corruptions:
        if name in CORRUPTIONS and not CORRUPTIONS[name].scaled:
            raise InputError(f"a level of {name} ({CORRUPTIONS[name].unit}) has no scale; leave --noise-scale out")
    ends = [tuple(end / scale for end in level_range(level)) for level in levels]
    return [low if low == high else (low, high) for low, high in ends]


def add_progress(parser: Any) -> None:
    """Whether a progress bar is shown."""
    shown = {"default": True, "help": "show a progress bar (default: shown)"}
    parser.add_argument("--progress", action=argparse.BooleanOptionalAction, **shown)


def add_loop_options(common: Any, group: Any) -> None:
    """The fields of `Loop`: those that most people need, and the rest."""
    for name, setting in components.settings(Loop).items():
        target = common if name in ("epochs", "batch_size") else group
        default = f"{setting.default}, or the preset's" if target is common else setting.default
        target.add_argument(
            f"--{setting.flag}", type=setting.type, metavar="N", help=f"{setting.help} (default: {default})"
        )


def loop_values(arguments: argparse.Namespace) -> dict[str, Any]:
    """The loop options that were given."""
    given = {name: getattr(arguments, name) for name in components.settings(Loop)}
    return {name: value for name, value in given.items() if value is not None}


def add_member_options(parser: Parser, common: Any) -> None:
    """An option for every field of every component that a member can have; each takes several values for a grid."""
    seeds = "of the initial weights, the order of the examples and the noise (default: 0)"
    common.add_argument(*_flags("seed"), dest="seed", nargs="+", type=int, metavar="N", help=seeds)
    add_noise_scale(common)
    for slot, kinds in KINDS.items():
        group = parser.add_argument_group(slot)
        if kinds is not None:
            default = "the model's" if slot == "optimizer" else next(iter(kinds))
            names = f"{' or '.join(kinds)} (default: {default})"
            group.add_argument(*_flags(slot), dest=slot, nargs="+", metavar="NAME", help=names)
        for path, settings in _fields(slot).items():
            try:
                _add_field(common if settings[0][1].flag in COMMON else group, path, settings)
            except argparse.ArgumentError as error:
                raise InputError(f"field {path} needs another name, its option is taken ({error})") from None


def _fields(slot: str) -> dict[str, list[tuple[str, Setting]]]:
    """The fields of all components that can stand in a slot: (kind, setting) by the field's path."""
    kinds = KINDS[slot] or {"": Noise}
    found: dict[str, list[tuple[str, Setting]]] = {}
    for kind, component in kinds.items():
        for name, setting in components.settings(component).items():
            found.setdefault(f"{slot}.{name}", []).append((kind, setting))
    return found


def _add_field(group: Any, path: str, settings: list[tuple[str, Setting]]) -> None:
    setting = settings[0][1]
    texts = _by_value(settings, len(KINDS[path.split(".")[0]] or [""]), lambda setting: setting.help)
    defaults = _by_value(settings, len(settings), _default)
    choices = "" if setting.choices is None else f": {', '.join(setting.choices)}"
    text = f"{texts}{choices} (default: {defaults})".replace("%", "%%")
    if setting.type is bool:
        group.add_argument(f"--{setting.flag}", dest=path, nargs="*", type=_truth, metavar="true|false", help=text)
        group.add_argument(f"--no-{setting.flag}", dest=path, action="store_const", const=[False],
                           help=argparse.SUPPRESS)  # fmt: skip
        return
    kind: Any = _sizes if setting.each else setting.type if setting.type in (int, float) else str
    metavar = {int: "N", float: "X"}.get(setting.type, "LEVEL" if setting.type is tuple else "NAME")
    metavar = "N[,N]" if setting.each else metavar
    group.add_argument(*_flags(setting.flag), dest=path, nargs="+", type=kind, metavar=metavar, help=text)


def _by_value(settings: list[tuple[str, Setting]], everyone: int, shown: Callable[[Setting], str]) -> str:
    """What is shown of the settings of one name: once, if it is the same for all kinds, else with the kinds' names."""
    kinds: dict[str, list[str]] = {}
    for kind, setting in settings:
        kinds.setdefault(shown(setting), []).append(kind)
    if len(kinds) == 1 and len(settings) == everyone:
        return next(iter(kinds))
    return "; ".join(f"{'/'.join(named)}: {text}" for text, named in kinds.items())


def _default(setting: Setting) -> str:
    default = setting.default
    if isinstance(default, tuple):
        return format_level(default)
    if default is None or isinstance(default, bool):
        return setting.unset or str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _sizes(word: str) -> int | tuple[int, ...]:
    try:
        sizes = tuple(map(int, word.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither a size (32) nor one for each stage (32,16)") from None
    return sizes[0] if len(sizes) == 1 else sizes


def _flags(singular: str) -> tuple[str, str]:
    """An option in the plural, since several values make a grid; the singular is an alias."""
    return f"--{singular}{'es' if singular.endswith('s') else 's'}", f"--{singular}"


def _truth(word: str) -> bool:
    if word not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{word!r} is neither true nor false")
    return word == "true"


def members_of(arguments: argparse.Namespace, base: Member) -> tuple[Member, ...]:
    """The grid of the options that were given, over a member that has the rest; InputError for one that fits none."""
    axes: dict[str, Sequence[Any]] = {} if arguments.seed is None else {"seed": arguments.seed}
    for slot, kinds in KINDS.items():
        models = axes.get("model", [base.model])
        chosen = [getattr(with_optimizer(base.replace(model=model)), slot) for model in models]  # type: ignore[attr-defined]
        if kinds is not None and (names := getattr(arguments, slot)) is not None:
            chosen = [_component(name, slot, kinds, chosen[0]) for name in names]
            axes[slot] = chosen
        for path, settings in _fields(slot).items():
            values = getattr(arguments, path)
            if values is None:
                continue
            field = path.split(".")[1]
            if not any(field in components.settings(component) for component in chosen):
                whose, own = ", ".join(kind for kind, _ in settings), components.kind_of(chosen[0], kinds or {})
                raise InputError(f"--{settings[0][1].flag} belongs to the {slot} {whose}, not to {own}; leave it out")
            axes[path] = values or [True]
    if levels := axes.get("noise.level"):
        corruptions = axes.get("noise.corruption", [base.noise.corruption])
        axes["noise.level"] = on_unit_scale(levels, arguments.noise_scale, corruptions)
    return grid(base, axes)


def _component(name: str, slot: str, kinds: dict[str, type], base: Any) -> Any:
    """A component by name: the base's own, or one with its defaults."""
    if name not in kinds:
        raise InputError(f"{slot} {name!r} is not known; {nearest(name, kinds)}")
    return base if type(base) is kinds[name] else kinds[name]()
