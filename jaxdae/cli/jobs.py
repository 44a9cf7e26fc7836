"""The options by which a process joins others."""

import argparse

from jaxdae import distributed
from jaxdae.cli import options
from jaxdae.errors import InputError


def add_distributed(parser: options.Parser) -> None:
    """Many processes, on one host or several."""
    group = parser.add_argument_group("many processes (docs/clusters.md)")
    joined = "join a job of several processes, as Slurm, Open MPI, Kubernetes or a TPU pod start it, or as these say"
    group.add_argument("--distributed", action="store_true", help=joined)
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where the first process listens")
    group.add_argument("--processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process-id", type=int, metavar="I", help="which this one is, from 0")


def join(arguments: argparse.Namespace) -> None:
    """Joins the job that the options name, if they name one."""
    named = arguments.coordinator, arguments.processes, arguments.process_id
    if arguments.distributed:
        distributed.join(*named)
    elif named != (None, None, None):
        raise InputError("--coordinator, --processes and --process-id are for --distributed; add it")
