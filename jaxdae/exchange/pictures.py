"""Picture files through a denoiser: names, sizes, pages, types and formats stay."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from tqdm import tqdm

from jaxdae import distributed, metrics
from jaxdae.data import picture_files, pictures
from jaxdae.data.ranges import require_range, value_type
from jaxdae.data.source import EIGHT_BIT
from jaxdae.errors import InputError, printable
from jaxdae.evaluation.noise_level import combine
from jaxdae.exchange import levels, packaged
from jaxdae.models.denoiser import Denoiser
from jaxdae.noise import check_noise, noisy_examples
from jaxdae.paths import require_regular_file
from jaxdae.runs.files import atomic


@dataclasses.dataclass(frozen=True)
class Options:
    """How picture files are read, denoised and written."""

    level: float | Literal["auto"] | None = None
    """The noise level of the pictures on the [0, 1] scale, for a denoiser that takes it; "auto": estimated for each."""
    invert: bool = False
    """Denoise the negative."""
    add_noise: float | None = None
    """Add the denoiser's own kind of noise at this level first."""
    value_range: tuple[float, float] | None = None
    """The stored values of black and white; None: measured, as `pictures.read` does."""
    max_pixels: int = picture_files.MAX_PIXELS
    """Larger files are refused."""
    skip_existing: bool = False
    """Leave out files whose result exists."""
    overwrite: bool = False
    """Replace results that exist."""
    compare: bool = False
    """Write noisy and denoised side by side too, as NAME.compare.png, or, of several pages, as NAME.compare.tif."""
    fit: bool = False
    """Take the packaged denoiser that fits each file."""
    reference: Path | None = None
    """A clean picture, or a folder of those with the names of the results."""
    share: tuple[int, int] = (0, 1)
    """Which of how many parts of the files is denoised: with (0, 2) the first, third, fifth ..."""


def denoise_pictures(
    denoisers: Denoiser | Sequence[Denoiser], inputs: Sequence[Path], out: Path, options: Options = Options()
) -> Generator[str, None, list[str]]:
    """Denoises picture files and those in folders; yields lines to print: what is used, then each path once written.

    Args:
        denoisers: of grey pictures (colour ones are denoised channel by channel) or of colour ones (grey ones are
            denoised as colour, then averaged). Of several, which take no level, each file has the one whose training
            level is nearest to its own, which is estimated (`level="auto"`).
        inputs: files and folders.
        out: the folder of the results.
        options: how.

    Returns:
        A sentence for each picture that could not be denoised; the others are written.

    Raises:
        InputError: an option or the only picture cannot be used; before anything is written.
    """
    existing = options.skip_existing or options.overwrite
    targets = picture_files.find(inputs, out, existing=existing, compare=options.compare)
    denoisers = denoisers if isinstance(denoisers, Sequence) else [denoisers]
    _check(denoisers, options)
    passed_over = picture_files.passed_over(inputs, out)
    if passed_over:
        _warn(passed_over)
    several = f"the nearest by its noise level of {len(denoisers)} members"
    if options.fit:
        several = f"the packaged one that fits: digits up to {packaged.SMALL}x{packaged.SMALL} pixels, else photos"
    yield f"denoising with {denoisers[0].about.origin if len(denoisers) == 1 else several}"
    if options.value_range is None and (said := _range_of_training(denoisers[0])):
        yield said
    failed, skipped, count = [], 0, len(targets)
    part, parts = options.share
    if parts > 1:
        distributed.any_of(False)  # all have seen which results there are, before one writes
    mine = list(enumerate(targets.items()))[part::parts]
    for index, (path, target) in tqdm(mine, unit="file", disable=None, leave=False):
        if options.skip_existing and target.exists():
            skipped += 1
            continue
        try:
            scores = _denoise_file(denoisers, path, target, target.relative_to(out), options, (index, count))
        except (InputError, MemoryError) as error:
            if count == 1:
                raise
            failed.append(str(error) if isinstance(error, InputError) else f"{path}: the memory is too small for it")
            continue
        except OSError as error:  # a full disk, most likely: what comes after would fail as well
            stopped = f"{target} cannot be written: {error.strerror or f'is the disk full? ({error})'}"
            if count == 1:
                raise InputError(stopped) from None
            left = sum(later > index for later, _ in mine)
            failed.append(f"{stopped}; the {left} pictures after it were not tried (--skip-existing continues)")
            break
        yield str(target)
        yield from scores
    if skipped:
        yield f"{skipped} results existed already and were left as they are"
    return failed


def _check(denoisers: Sequence[Denoiser], options: Options) -> None:
    denoiser = denoisers[0]
    if options.level == "auto":
        levels.check_auto(denoisers[:1] if options.fit else denoisers)
    else:
        denoiser.check_level(options.level)
    added = 0.0 if options.add_noise is None else options.add_noise
    check_noise(denoiser.about.noise.replace(level=added))  # type: ignore[attr-defined]
    if options.skip_existing and options.overwrite:
        raise InputError("--skip-existing and --overwrite exclude each other; give one of them")
    if options.max_pixels < 1:
        raise InputError(f"--max-pixels {options.max_pixels} is not allowed; give an integer of at least 1")
    if options.value_range is not None:
        require_range(options.value_range)
    if options.reference is not None and not options.reference.exists():
        raise InputError(f"--reference {options.reference} does not exist; give a clean picture or a folder of them")
    if options.reference is not None:
        require_regular_file(options.reference)


def _range_of_training(denoiser: Denoiser) -> str:
    """What stands for black and white by default, where a training has set it; else empty."""
    about = denoiser.about
    if about.value_range is None or (about.value_range, about.value_type) == (EIGHT_BIT, "uint8"):
        return ""
    low, high = about.value_range
    return f"in {about.value_type} files {low:g} and {high:g} stand for black and white, as in training (--range)"


def _denoise_file(
    denoisers: Sequence[Denoiser], path: Path, target: Path, name: Path, options: Options, place: tuple[int, int]
) -> list[str]:
    """Writes one result; lines of its noise level and scores."""
    picture = pictures.read(path, options.value_range, options.max_pixels)
    denoiser = packaged.fitting(denoisers, picture.pages) if options.fit else denoisers[0]
    about = denoiser.about
    if options.value_range is None and about.value_range and value_type(picture.pages[0].dtype) == about.value_type:
        picture = pictures.in_range(picture, about.value_range)
    given = pictures.unit_scale(picture)
    clean = _reference(picture, name, options) if options.reference else None
    if about.channels == 1 and given[0].shape[-1] > 1:
        _warn(f"{path} is in colour, the denoiser takes grey images: denoised channel by channel")
    taken, excesses = [], []
    for number, page in enumerate(given):
        index = np.array([place[0] + number * place[1]])  # another draw for each page of each file
        page, excess = _taken_page(denoiser, page, options, index)
        taken.append(page)
        excesses.append(excess)
    found = levels.estimate_pages(taken) if about.noise.corruption == "gaussian" else {}
    if options.fit and (said := packaged.misfit(denoiser, combine(list(found.values())))):
        _warn(f"{path}: {said}")
    scores, level = [f"  with {denoiser.about.origin}"] if options.fit else [], options.level
    if level == "auto":
        level = levels.level_of_file(path, found)
        if said := levels.dependence(found):
            print(f"{path}: {said}", file=sys.stderr)
        denoiser = levels.nearest_denoiser(denoisers, level)
        scores.append(levels.said(level, denoiser, len(denoisers) > 1))
    told = level if len(denoisers) == 1 else None
    results = [_each_channel(denoiser, page, told) for page in taken]
    if clipped := levels.clipping_doubt(about.noise, taken, found):
        print(f"{path}: {clipped}", file=sys.stderr)
    if doubt := levels.doubt(taken, results, found):
        bright = np.mean([page.mean() for page in given]) > 0.5 and not options.invert
        hint = "; if it was trained on white on black, try --invert" if bright else ""
        _warn(f"{path}: {doubt}{hint}")
    noisy, denoised = (
        [_given_page(page, excess, options) for page, excess in zip(pages, excesses, strict=True)]
        for pages in (taken, results)
    )
    _say_what_is_kept(path, picture, excesses)
    scores += _scores(noisy, denoised, clean) if clean else []
    if options.compare:
        _write_comparison(target, noisy, denoised)
    _write(target, picture, denoised)
    return scores


def _say_what_is_kept(path: Path, picture: pictures.Picture, excesses: Sequence[np.ndarray | None]) -> None:
    beyond = sum(int(np.count_nonzero(excess)) for excess in excesses if excess is not None)
    if beyond:
        _warn(
            f"{path}: {beyond} values lie beyond {picture.black:g} and {picture.white:g}, "
            "more than the denoiser takes; what exceeds them is kept unchanged (--range LOW HIGH sets them)"
        )
    for note in filter(None, (*picture.notes, pictures.left_as_they_are(picture))):
        _warn(f"{path}: {note}")


def _warn(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _write_comparison(target: Path, noisy: list[np.ndarray], denoised: list[np.ndarray]) -> None:
    sides = [_side_by_side(*pair) for pair in zip(noisy, denoised, strict=True)]
    one, several = picture_files.comparisons(target)
    more: dict[str, Any] = {"append_images": sides[1:], "compression": "tiff_adobe_deflate"}
    with atomic(several if sides[1:] else one) as temporary:
        sides[0].save(temporary, save_all=bool(sides[1:]), **more)


def _write(target: Path, picture: pictures.Picture, pages: list[np.ndarray]) -> None:
    try:
        with atomic(target) as temporary:
            pictures.write(temporary, picture, pages)
    except (InputError, OSError, MemoryError):
        raise
    except Exception as error:  # the libraries read some files that they do not write
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{target} cannot be written as the file was: {reason[:200]}") from None


def _taken_page(
    denoiser: Denoiser, page: np.ndarray, options: Options, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """A page as the denoiser takes it, with the noise that is to be added, and what it cannot take of it."""
    given = 1 - page if options.invert else page
    # No copies where nothing lies beyond: a page of 100 megapixels is 0.4 GB.
    inside = not denoiser.about.noise.clip or (given.min() >= 0 and given.max() <= 1)
    taken = given if inside else np.clip(given, 0, 1)
    excess = None if inside else given - taken
    if options.add_noise is not None:
        noise = check_noise(denoiser.about.noise.replace(level=options.add_noise, clip=True))  # type: ignore[attr-defined]
        taken = np.asarray(noisy_examples(np.clip(taken, 0, 1)[None], noise, index=index))[0]
    return taken, excess


def _given_page(page: np.ndarray, excess: np.ndarray | None, options: Options) -> np.ndarray:
    """A page as it was given again."""
    if excess is not None:  # kept beside what the network sees, so that bright stars and hot spots do not flatten
        page = page + excess
    return 1 - page if options.invert else page


def _reference(picture: pictures.Picture, name: Path, options: Options) -> list[np.ndarray]:
    """The clean pages on the scale of the noisy picture."""
    reference = options.reference
    assert reference is not None
    file = reference / name if reference.is_dir() else reference
    if not file.exists():
        raise InputError(f"{file} does not exist; --reference needs a clean picture of every name")
    clean = pictures.read(file, None, options.max_pixels)
    if [page.shape for page in clean.pages] != [page.shape for page in picture.pages]:
        raise InputError(f"{file} has other pages, sizes or channels than the noisy picture; give its clean version")
    return pictures.unit_scale(dataclasses.replace(clean, black=picture.black, white=picture.white))


def _scores(noisy: list[np.ndarray], denoised: list[np.ndarray], clean: list[np.ndarray]) -> list[str]:
    lines = []
    for name, pages in (("noisy", noisy), ("denoised", denoised)):
        scores = [
            metrics.score(np.clip(page, 0, 1)[None], np.clip(c, 0, 1)[None])
            for page, c in zip(pages, clean, strict=True)
        ]
        psnr = float(np.mean([score["psnr"] for score in scores]))
        ssim = [float(score["ssim"][0]) for score in scores if "ssim" in score]
        lines.append(f"  {name}: PSNR {psnr:.2f} dB" + (f", SSIM {np.mean(ssim):.4f}" if ssim else ""))
    return lines


def _side_by_side(noisy: np.ndarray, denoised: np.ndarray) -> Image.Image:
    values = np.round(np.clip(np.concatenate([noisy, denoised], axis=1), 0, 1) * 255).astype(np.uint8)
    if values.shape[-1] not in (1, 3):  # below one another
        values = np.concatenate([values[..., [channel]] for channel in range(values.shape[-1])])
    return Image.fromarray(values[..., 0] if values.shape[-1] == 1 else values)


def _each_channel(denoiser: Denoiser, pixels: np.ndarray, level: float | None) -> np.ndarray:
    channels = pixels.shape[-1]
    if denoiser.about.channels == channels:
        return _whole(denoiser, pixels[None], level)[0]
    if denoiser.about.channels == 1:
        return np.moveaxis(_whole(denoiser, np.moveaxis(pixels, -1, 0)[..., None], level)[..., 0], 0, -1)
    if channels == 1:
        colour = np.repeat(pixels, denoiser.about.channels, axis=-1)
        return _whole(denoiser, colour[None], level)[0].mean(axis=-1, keepdims=True)
    raise InputError(f"a picture of {channels} channels cannot go through a denoiser of {denoiser.about.channels}")


def _whole(denoiser: Denoiser, images: np.ndarray, level: float | None) -> np.ndarray:
    """Denoises images that go on as their mirror image, so that bright ones get no dark frame.

    Those of the size that the network was trained on are left alone: it has learnt what their borders look like.
    """
    about = denoiser.about
    mirrored = about.size is None and about.trained_on != images.shape[1:3]
    with _tile_bar() as show:
        return denoiser(images, level, mirrored=mirrored, progress=show)


@contextlib.contextmanager
def _tile_bar() -> Iterator[Callable[[int, int], None]]:
    """A function that shows how many tiles of how many are done, for pictures that take long."""
    with tqdm(unit="tile", disable=None, leave=False, delay=2) as bar:

        def show(done: int, of: int) -> None:
            bar.total = of
            bar.update(done - bar.n)

        yield show
