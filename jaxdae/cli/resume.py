"""`jaxdae resume`: continue a run."""

from collections.abc import Sequence
from pathlib import Path

from jaxdae import runs
from jaxdae.cli import options
from jaxdae.cli.report import report_run
from jaxdae.runs import folder

DESCRIPTION = """Continue a run that was stopped or killed, bit-for-bit as if it had not been, or train it longer."""


def run(words: Sequence[str]) -> int:
    """Resumes and reports."""
    parser = options.Parser("resume", DESCRIPTION, "run")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--epochs", type=int, metavar="N", help="a new total of epochs (default: the run's own)")
    options.add_progress(parser)
    options.add_data_options(parser)
    arguments = parser.parse(words)
    data = options.load_data(arguments, folder.load_config(arguments.run).source)
    trained = runs.resume(arguments.run, data, epochs=arguments.epochs, progress=arguments.progress)
    return report_run(trained, data)
