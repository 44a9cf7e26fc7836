"""`jaxdae denoise`: picture files."""

from collections.abc import Sequence
from pathlib import Path

from jaxdae import runs
from jaxdae.cli import options
from jaxdae.errors import InputError
from jaxdae.exchange import load_denoiser
from jaxdae.exchange.pictures import denoise_pictures

DESCRIPTION = """Remove the noise from pictures (PNG, JPEG, TIFF).

Names, sizes and formats stay. No noise is added unless you ask for it."""


def run(words: Sequence[str]) -> int:
    """Denoises and names the files."""
    parser = options.Parser("denoise", DESCRIPTION, "pictures")
    add = parser.add_argument
    add("pictures", type=Path, nargs="+", help="files and folders")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add("--run", type=Path, metavar="RUN", help="the run to use (default: the packaged denoiser of MNIST digits)")
    add("--invert", action="store_true", help="denoise the negative: for dark writing on a bright ground")
    add("--noise-level", type=float, metavar="LEVEL", help="of the pictures, for a denoiser that takes it")
    add("--add-noise", type=float, metavar="LEVEL", help="add noise first, to see the denoiser at work")
    options.add_noise_scale(parser)
    options.add_member_choice(parser)
    arguments = parser.parse(words)
    if not arguments.run and (arguments.member is not None or arguments.weights != "last"):
        raise InputError("--member and --weights choose a denoiser of a run; name the run with --run")
    if arguments.run:
        trained = runs.load_run(arguments.run)
        [denoiser] = trained.select([trained.index(arguments.member)], arguments.weights)
    else:
        denoiser = load_denoiser("digits")
    level, added = (
        given and options.on_unit_scale([given], arguments.noise_scale, [denoiser.about.noise.corruption])[0]
        for given in (arguments.noise_level, arguments.add_noise)
    )
    if level is None and denoiser.takes_level:
        level = added
    for line in denoise_pictures(
        denoiser, arguments.pictures, arguments.out,
        level=level, invert=arguments.invert, add_noise=added,
    ):  # fmt: skip
        print(line)
    return 0
