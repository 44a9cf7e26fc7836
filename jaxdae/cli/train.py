"""`jaxdae train`: members to a run folder."""

from collections.abc import Sequence
from pathlib import Path

from jaxdae import distributed, runs
from jaxdae.cli import jobs, options, small_set
from jaxdae.cli.report import report_run
from jaxdae.errors import InputError, printable, require_name
from jaxdae.runs import writers
from jaxdae.training import PRESETS, Member
from jaxdae.training.presets import Preset

DESCRIPTION = """Train one denoiser, or many in one run: an option with several values makes a grid.

  jaxdae train --noise-levels 0.25 0.5 0:1 --seeds 0 1       six members
  jaxdae train --preset classic --out runs/classic           the classic experiment on MNIST"""


def run(words: Sequence[str]) -> int:
    """Trains and reports."""
    if any(word.split("=")[0] == "--resume" for word in words):
        raise InputError("train has no option --resume; `jaxdae resume RUN` continues a run")
    arguments = _parser().parse(words)
    jobs.join(arguments)
    if arguments.preset is not None:
        require_name("preset", arguments.preset, PRESETS)
    preset = PRESETS[arguments.preset] if arguments.preset else Preset(Member(), "digits", epochs=10, batch_size=128)
    base = preset.member
    if arguments.target is not None:  # the noise of pairs is real: none is added unless a level is given
        noisy = "noise2noise" in (arguments.objective or ())  # which clipping would bias
        clip = False if noisy else base.noise.clip
        base = base.replace(noise=base.noise.replace(level=0.0, clip=clip))  # type: ignore[attr-defined]
    members = options.members_of(arguments, base)
    loop = {"epochs": preset.epochs, "batch_size": preset.batch_size} | options.loop_values(arguments)
    dataset = preset.dataset if arguments.dataset is None else arguments.dataset
    out = arguments.out or Path("runs") / Path(dataset).resolve().name
    writers.check_writers(arguments.log, arguments.log_pictures)
    distributed.by_first(lambda: runs.folder.require_room(out, arguments.overwrite))  # before pictures are read
    data = options.load_dataset(arguments, dataset, members)
    training = small_set.adapt(small_set.Training(members, data, loop), arguments)
    for note in (*data.notes, *training.notes) if distributed.is_first() else ():
        print(printable(note))
    trained = runs.train(
        training.members, training.data, out=out, overwrite=arguments.overwrite, progress=arguments.progress,
        log=arguments.log, log_pictures=arguments.log_pictures,
        on_estimate=small_set.print_seconds if training.notes else None, **training.loop,
    )  # fmt: skip
    return report_run(trained, data) if distributed.is_first() else 0


def _parser() -> options.Parser:
    parser = options.Parser("train", DESCRIPTION)
    common = parser.add_argument_group("what most people need")
    common.add_argument(
        "--dataset",
        metavar="NAME|FOLDER",
        help="digits (embedded), mnist, fashion_mnist, kmnist, or a folder of pictures (default: digits)",
    )
    common.add_argument(
        "--preset",
        metavar="NAME",
        help="settings to start from: classic, fast (its quality in three epochs), or unet (the best denoiser)",
    )
    options.add_member_options(parser, common)
    loop = parser.add_argument_group("loop")
    options.add_loop_options(common, loop)
    options.add_progress(loop)
    names = f"log to {', '.join(writers.WRITERS)} too; metrics.jsonl is always written"
    loop.add_argument("--log", nargs="+", default=(), metavar="NAME", help=names)
    every = "with --log, denoised validation images every N epochs; 0: never (default: %(default)s)"
    loop.add_argument("--log-pictures", type=int, default=1, metavar="N", help=every)
    common.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/<dataset>)")
    common.add_argument("--overwrite", action="store_true", help="replace the run that is in the folder")
    options.add_own_options(parser)
    options.add_data_options(parser)
    jobs.add_distributed(parser)
    return parser
