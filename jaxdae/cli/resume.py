"""`jaxdae resume`: continue a run."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from jaxdae import distributed, runs
from jaxdae.cli import jobs, options
from jaxdae.cli.report import report_run
from jaxdae.errors import InputError, printable
from jaxdae.exchange import packaged
from jaxdae.models import MODELS
from jaxdae.runs import folder
from jaxdae.training import Member

DESCRIPTION = """Continue a run that was stopped or killed, bit-for-bit as if it had not been, or train it longer.

A saved or imported denoiser trains further in a new run, with a fresh optimizer:

  jaxdae resume runs/mine --dataset mnist --epochs 5"""


def run(words: Sequence[str]) -> int:
    """Resumes and reports."""
    parser = options.Parser("resume", DESCRIPTION, "run")
    parser.add_argument("run", type=Path, help="the run folder, one of a saved denoiser, or a file of Keras")
    parser.add_argument("--epochs", type=int, metavar="N", help="a new total of epochs (default: the run's own)")
    options.add_denoiser_data(parser)
    out = "folder of the new run of a saved denoiser (default: RUN-trained)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=out)
    options.add_progress(parser)
    options.add_data_options(parser)
    jobs.add_distributed(parser)
    arguments = parser.parse(words)
    jobs.join(arguments)
    if packaged.is_denoiser(arguments.run):
        return _train_further(arguments)
    if arguments.dataset is not None or arguments.out is not None:
        raise InputError("--dataset and --out are for saved denoisers; a run has its own images and folder")
    data = options.load_data(arguments, folder.load_config(arguments.run).source)
    trained = runs.resume(arguments.run, data, epochs=arguments.epochs, progress=arguments.progress)
    return report_run(trained, data) if distributed.is_first() else 0


def _train_further(arguments: argparse.Namespace) -> int:
    """Trains a denoiser that is no run from its parameters."""
    arguments.member, arguments.weights = None, "last"
    found = options.load_denoiser_data(arguments)
    assert found
    denoiser, data = found
    if type(denoiser.module) not in MODELS.values():
        known = ", ".join(MODELS)
        raise InputError(f"{arguments.run} is none of jaxdae's own networks ({known}), which alone can be trained")
    path = packaged.folder_of(arguments.run)
    out = arguments.out or path.with_name(f"{path.stem if path.is_file() else path.name}-trained")
    denoiser.check_shape(data.test.shape)
    member = Member(noise=denoiser.about.noise, model=denoiser.module)
    print(f"{printable(denoiser.about.origin)}\ntrains further in {printable(out)} with a fresh optimizer")
    epochs = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    trained = runs.train(member, data, out=out, progress=arguments.progress, initial=denoiser.params, **epochs)
    return report_run(trained, data) if distributed.is_first() else 0
