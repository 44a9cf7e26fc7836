"""Picture files through a denoiser: names, sizes and formats stay."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxdae.data import pictures
from jaxdae.errors import InputError
from jaxdae.models.denoiser import Denoiser
from jaxdae.noise import check_noise, noisy_examples
from jaxdae.runs.files import atomic


def denoise_pictures(
    denoiser: Denoiser,
    inputs: Sequence[Path],
    out: Path,
    *,
    level: float | None = None,
    invert: bool = False,
    add_noise: float | None = None,
) -> Iterator[str]:
    """Denoises picture files and those in folders; yields lines to print: what is used, then each path once written.

    Args:
        denoiser: of grey pictures (colour ones are denoised channel by channel) or of colour ones.
        inputs: files and folders.
        out: the folder of the results.
        level: the noise level of the pictures, for a denoiser that takes it.
        invert: denoise the negative.
        add_noise: add the denoiser's own kind of noise at this level first.

    Raises:
        InputError: a picture or the level cannot be used; before anything is written.
    """
    targets = pictures.find(inputs, out)
    added = 0.0 if add_noise is None else add_noise
    noise = check_noise(denoiser.about.noise.replace(level=added, clip=True))  # type: ignore[attr-defined]
    denoiser.check_level(level)
    channels = {path: pictures.read(path).pixels.shape[-1] for path in targets}  # all can be read
    for path, count in channels.items():
        if denoiser.about.channels not in (1, count):
            raise InputError(f"{path} has {count} channels, but this denoiser takes {denoiser.about.channels}")
    yield f"denoising with {denoiser.about.origin}"
    if denoiser.about.channels == 1 and max(channels.values()) > 1:
        yield "the denoiser takes grey images: colour pictures are denoised channel by channel"
    for index, path in enumerate(targets):
        picture = pictures.read(path)
        if picture.pixels.mean() > 0.5 and not invert:
            print(f"{path} is mostly bright, the model was trained on white on black: try --invert", file=sys.stderr)
        pixels = 1 - picture.pixels if invert else picture.pixels
        if add_noise is not None:
            pixels = np.asarray(noisy_examples(pixels[None], noise, index=np.array([index])))[0]
        clean = _each_channel(denoiser, pixels, level)
        with atomic(targets[path]) as temporary:
            pictures.write(temporary, picture, 1 - clean if invert else clean)
        yield str(targets[path])


def _each_channel(denoiser: Denoiser, pixels: np.ndarray, level: float | None) -> np.ndarray:
    if denoiser.about.channels == pixels.shape[-1]:
        return denoiser(pixels[None], level)[0]
    return np.moveaxis(denoiser(np.moveaxis(pixels, -1, 0)[..., None], level)[..., 0], 0, -1)
