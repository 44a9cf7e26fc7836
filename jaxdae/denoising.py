"""Cleaning images of any number and size with a trained denoiser, in bounded memory."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxdae import model as models
from jaxdae import parallel
from jaxdae.config import InputError
from jaxdae.evaluation import in_batches
from jaxdae.runs import Checkpoint, Run

Images = Float[np.ndarray, "image height width channel"]

TILE = 256
"""Larger images are cleaned in tiles of this side (and their surroundings)."""
PIXELS_AT_ONCE = 2**18
"""Pixels that go through the network together."""
PIXELS_ON_DEVICE = 2**24


def denoise(run: Run, noisy: Any, *, member: int | None = None, checkpoint: Checkpoint = "last") -> Images:
    """Removes the noise from images. Adds none.

    Args:
        run: a trained population, or the pretrained denoiser.
        noisy: (image, height, width, channel) floats on the [0, 1] scale; beyond it only if the model was trained
            without clipping.
        member: which model; by default the one nearest level 0.5 with the lowest seed.
        checkpoint: its last parameters, or those of its best epoch.

    Returns:
        The denoised images, of the same shape and scale (which a linear or residual head may leave). A model of one
        channel treats each channel by itself.

    Raises:
        InputError: the images have another shape, type or range, or the model does not exist.
    """
    noisy = np.asarray(noisy)
    params = run.member_params(member, checkpoint)
    if noisy.ndim != 4 or min(noisy.shape) == 0:
        raise InputError(f"images of shape {noisy.shape} cannot be denoised; give (image, height, width, channel)")
    in_range = np.isfinite(noisy).all() if not run.config.clip else noisy.min() >= 0 and noisy.max() <= 1
    if not (np.issubdtype(noisy.dtype, np.floating) and in_range):
        raise InputError(
            f"images must be floats from 0 to 1, got {noisy.dtype} from {noisy.min()} to {noisy.max()}; "
            "divide 8-bit ones by 255"
        )
    count, height, width, channels = noisy.shape
    noisy = noisy.astype(np.float32)
    if run.channels == channels:
        return _denoise_tiled(params, noisy, run.model)
    if run.channels != 1:
        raise InputError(f"the model knows images of {run.channels} channels, got {channels}")
    grey = np.moveaxis(noisy, -1, 1).reshape(count * channels, height, width, 1)
    clean = _denoise_tiled(params, grey, run.model)
    return np.moveaxis(clean.reshape(count, channels, height, width), 1, -1)


def _denoise_tiled(params: Any, noisy: Images, model: models.ConvAutoencoder) -> Images:
    """Cleans tile by tile. Each sees all the pixels that can touch its output, so no seams arise."""
    unit = 2**model.depth
    padded = np.asarray(models.pad_to_multiple(jnp.asarray(noisy), unit))
    clean = np.empty_like(padded)
    for rows, kept_rows in _tiles(padded.shape[1], unit):
        for columns, kept_columns in _tiles(padded.shape[2], unit):
            tile = _denoise_batched(params, padded[:, rows, columns], model)
            inner = tile[:, _shifted(kept_rows, -rows.start), _shifted(kept_columns, -columns.start)]
            clean[:, kept_rows, kept_columns] = inner
    return clean[:, : noisy.shape[1], : noisy.shape[2]]


def _tiles(side: int, unit: int) -> Iterator[tuple[slice, slice]]:
    """Cuts a side into windows of equal size: what to compute and, without the margins, what to keep of it."""
    margin = 4 * unit  # more than the receptive field reaches: 4 unit - 2, from the sum over all layers
    window = min(side, TILE + 2 * margin)
    window -= window % unit
    if window == side:
        yield slice(0, side), slice(0, side)
        return
    for start in [*range(0, side - window, window - 2 * margin), side - window]:
        first, last = start == 0, start + window == side
        yield (
            slice(start, start + window),
            slice(start + (0 if first else margin), start + window - (0 if last else margin)),
        )


def _shifted(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


def _denoise_batched(params: Any, noisy: Images, model: models.ConvAutoencoder) -> Images:
    count, height, width = noisy.shape[:3]
    group = min(count, max(1, PIXELS_ON_DEVICE // (height * width)))
    at_once = max(1, min(parallel.images_at_once(), PIXELS_AT_ONCE // (height * width)))
    padded = np.concatenate([noisy, np.zeros_like(noisy[: -count % group])])  # one compiled shape
    groups = [_compiled(params, padded[i : i + group], model, at_once) for i in range(0, count, group)]
    return np.concatenate(groups)[:count]


@functools.partial(jax.jit, static_argnums=(2, 3))
def _compiled(params: Any, noisy: jax.Array, model: models.ConvAutoencoder, at_once: int) -> jax.Array:
    return in_batches(lambda p, n: models.denoise(p, n, model=model), params, noisy, at_once=at_once)
