"""`jaxdae evaluate`: a table of metrics."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxdae import distributed, evaluation, parallel
from jaxdae.cli import jobs, options
from jaxdae.cli.report import print_scores
from jaxdae.errors import printable
from jaxdae.models.denoiser import Denoiser
from jaxdae.runs.below_input import below_identity, describe_below

DESCRIPTION = """Measure every member of a run on the test images, and the noisy images themselves (identity).

Each member is measured with the corruption and clipping of its training, all on the same noise. The BCE of noisy
images that are clipped is made by the bound of 1e-7 on brightness, more than by the noise: judge them by PSNR."""


def run(words: Sequence[str]) -> int:
    """Evaluates and prints."""
    parser = options.Parser("evaluate", DESCRIPTION, "run")
    parser.add_argument("run", type=Path, help="the run folder, one of a saved denoiser, or a file of Keras")
    options.add_denoiser_data(parser)
    help = "noise levels (default: those of the training)"
    parser.add_argument("--test-levels", "--test-level", type=float, nargs="+", metavar="LEVEL", help=help)
    options.add_noise_scale(parser)
    parser.add_argument("--test-corruption", metavar="NAME", help="measure all members with this corruption")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options.add_member_choice(parser)
    options.add_data_options(parser)
    jobs.add_distributed(parser)
    arguments = parser.parse(words)
    jobs.join(arguments)
    denoisers: Sequence[Denoiser]
    members, seed = [0], 0
    if alone := options.load_denoiser_data(arguments):
        denoisers, data = [alone[0]], alone[1]
    else:
        trained, data = options.load_run(arguments)
        members = options.chosen_members(trained, arguments.member, arguments.weights)
        denoisers, seed = trained.select(members, arguments.weights), trained.loop.evaluation_seed
    own = [arguments.test_corruption] if arguments.test_corruption else [d.about.noise.corruption for d in denoisers]
    levels = arguments.test_levels and options.on_unit_scale(arguments.test_levels, arguments.noise_scale, own)
    rows = evaluation.evaluate(
        denoisers, data.test, levels,
        corruption=arguments.test_corruption, noisy=data.noisy_test,
        noisy_target=data.pairs == "noisy",
        seed=seed, mesh=parallel.data_mesh(),
    )  # fmt: skip
    if not distributed.is_first():
        return 0
    origins = {i: denoiser.about.origin for i, denoiser in zip(members, denoisers, strict=True)}
    for row in rows:
        if row["member"] != "identity":
            row["member"] = members[row["member"]]  # the rows count the denoisers
    if arguments.json:
        print(json.dumps([row | {"origin": origins.get(row["member"])} for row in rows], indent=1))
    else:
        for index in dict.fromkeys(row["member"] for row in rows if row["member"] != "identity"):
            print(printable(origins[index]))
        print_scores(rows, data)
    trained_levels = {i: denoiser.about.noise.level for i, denoiser in zip(members, denoisers, strict=True)}
    below = [] if arguments.test_corruption else below_identity(rows, trained_levels)
    if below:
        print(f"warning: {describe_below(below)}", file=sys.stderr)
    return 0
