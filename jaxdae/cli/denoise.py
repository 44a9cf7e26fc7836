"""`jaxdae denoise`: picture files."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxdae import runs
from jaxdae.cli import jobs, options
from jaxdae.data.picture_files import MAX_PIXELS
from jaxdae.errors import InputError, printable
from jaxdae.exchange import load_denoiser
from jaxdae.exchange.packaged import PACKAGED, is_denoiser
from jaxdae.exchange.pictures import Options, denoise_pictures
from jaxdae.models.denoiser import Denoiser
from jaxdae.training import Member

DESCRIPTION = """Remove the noise from pictures (PNG, JPEG, TIFF, BMP, WebP, GIF, PBM, PGM, PPM).

Names, sizes, pages, types and formats stay. Files that cannot be denoised are named at the end (exit status 1).
No noise is added unless you ask for it. Of several processes (--distributed) each takes its part of the files."""


def run(words: Sequence[str]) -> int:
    """Denoises and names the files."""
    parser = options.Parser("denoise", DESCRIPTION, "pictures")
    add = parser.add_argument
    add("pictures", type=Path, nargs="+", help="files and folders")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    from_run = "run, folder of a saved denoiser, or name of a packaged one (default: the packaged one that fits)"
    add("--run", type=Path, metavar="RUN", help=from_run)
    add("--invert", action="store_true", help="denoise the negative: for dark writing on a bright ground")
    add(
        "--noise-level",
        type=_level,
        metavar="LEVEL|auto",
        help="of the pictures, for a denoiser that takes it (default: auto, estimated for each file); auto with a run "
        "that has a member for each level and no --member: the nearest",
    )
    add("--add-noise", type=float, metavar="LEVEL", help="add noise first, to see the denoiser at work")
    add(
        "--range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="stored values of black and white (default: those of 8 bits, else measured over the whole file)",
    )
    add(
        "--compare",
        action="store_true",
        help="also write noisy | denoised side by side, as NAME.compare.png (several pages: .tif)",
    )
    add(
        "--reference", type=Path, metavar="CLEAN", help="clean picture, or folder with equal names: print PSNR and SSIM"
    )
    add("--skip-existing", action="store_true", help="leave out pictures whose result exists: continues a stopped call")
    add("--overwrite", action="store_true", help="replace results that exist")
    add("--max-pixels", type=int, default=MAX_PIXELS, metavar="N", help="refuse larger files (default: %(default)s)")
    options.add_noise_scale(parser)
    options.add_member_choice(parser)
    jobs.add_distributed(parser)
    arguments = parser.parse(words)
    jobs.join(arguments)
    if not arguments.run and (arguments.member is not None or arguments.weights != "last"):
        raise InputError("--member and --weights choose a denoiser of a run; name the run with --run")
    auto = arguments.noise_level == "auto"
    denoisers = _denoisers(arguments, auto)
    level, added = (
        given and options.on_unit_scale([given], arguments.noise_scale, [denoisers[0].about.noise.corruption])[0]
        for given in (None if auto else arguments.noise_level, arguments.add_noise)
    )
    if level is None and not auto and denoisers[0].takes_level:
        level = "auto" if added is None else added
    how = Options(
        level="auto" if auto else level, invert=arguments.invert, add_noise=added,
        value_range=arguments.range and tuple(arguments.range),
        max_pixels=arguments.max_pixels, skip_existing=arguments.skip_existing, overwrite=arguments.overwrite,
        compare=arguments.compare, reference=arguments.reference, fit=not arguments.run,
        share=(jax.process_index(), jax.process_count()) if arguments.distributed else (0, 1),
    )  # fmt: skip
    try:
        failed = options.print_lines(denoise_pictures(denoisers, arguments.pictures, arguments.out, how))
    except KeyboardInterrupt:
        print("\nstopped; the same call with --skip-existing continues", file=sys.stderr)
        return 130
    if failed:
        print(f"{len(failed)} {'pictures' if failed[1:] else 'picture'} could not be denoised:", file=sys.stderr)
        for sentence in failed:
            print(f"  {printable(sentence)}", file=sys.stderr)
    return 1 if failed else 0


def _level(word: str) -> float | str:
    if word == "auto":
        return word
    try:
        return float(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither a number nor auto") from None


def _denoisers(arguments: argparse.Namespace, auto: bool) -> list[Denoiser]:
    """The denoiser that was chosen, or those of which each picture's noise level chooses."""
    if not arguments.run:
        return [load_denoiser(name) for name in PACKAGED]
    if is_denoiser(arguments.run):
        return [options.load_denoiser(arguments.run, arguments.member, arguments.weights)[0]]
    trained = runs.load_run(arguments.run)
    first = trained.index(arguments.member)
    if auto and arguments.member is None and not trained.select([first])[0].takes_level:
        candidates = options.chosen_members(trained, None, arguments.weights)
        found = [i for i in candidates if _is_specific(trained.members[i])]
        if len({trained.members[i].noise.level for i in found}) > 1:
            return trained.select(found, arguments.weights)
    return trained.select([first], arguments.weights)


def _is_specific(member: Member) -> bool:
    """Whether a member has one level of Gaussian noise, and is not told it."""
    low, high = member.noise.level
    return low == high and member.noise.corruption == "gaussian" and not getattr(member.model, "level_input", False)
