"""Photographs with noise as 8-bit files hold them, rounded and clipped to 0..255, through denoisers."""

import concurrent.futures
import functools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import jaxdae
from jaxdae import metrics

KEYS = ["set", "picture", "level", "denoiser"]
COLUMNS = [*KEYS, "psnr", "ssim", "clipped"]
"""Of the table: `clipped` is the share of the noisy picture's values that are 0 or 255."""
DENOISERS = ("noisy", "bm3d", "photos")
BLACK_SIDE = 256


class Job(NamedTuple):
    """One noisy picture through one denoiser."""

    of: str
    """The set of the picture."""
    picture: str
    level: int
    """Of 255; a denoiser that takes it is told."""
    denoiser: str
    clean: np.ndarray
    """(height, width, 1), on the [0, 1] scale."""
    noisy: np.ndarray
    """The same with noise, not clipped."""

    @property
    def keys(self) -> tuple[str, str, int, str]:
        """What names the row of the table."""
        return self.of, self.picture, self.level, self.denoiser


def stored(noisy: np.ndarray) -> np.ndarray:
    """The 8-bit values of a picture on the [0, 1] scale."""
    return np.clip(np.round(255 * noisy), 0, 255).astype(np.uint8)


def measure(jobs: Sequence[Job], path: Path) -> pd.DataFrame:
    """The scores of all jobs, on all cores; each row is added to the table in `path` as it is ready.

    Jobs whose row is in the table already are passed over, so that a stopped measurement continues.
    """
    done = _read(path)
    missing = [job for job in jobs if job.keys not in done]
    done_before = pd.DataFrame([[*keys, *values] for keys, values in done.items()], columns=COLUMNS)
    done_before.to_csv(path, index=False)
    with path.open("a") as table:
        for job, scores in _measured(missing):
            done[job.keys] = scores
            print(*job.keys, *scores, sep=",", file=table, flush=True)
    rows = [[*job.keys, *done[job.keys]] for job in jobs]
    ordered = pd.DataFrame(rows, columns=COLUMNS)
    ordered.to_csv(path, index=False)
    return ordered


def black_means(level: int, noise: np.ndarray) -> dict[str, float]:
    """What denoisers leave of a black picture whose file holds noise of a level: the mean, on the [0, 1] scale.

    Args:
        level: of the noise, of 255.
        noise: (height, width, 1), of this level on the [0, 1] scale.
    """
    pixels = stored(noise) / 255
    return {name: float(np.mean(denoised(name, pixels, level))) for name in DENOISERS}


def denoised(name: str, noisy: np.ndarray, level: int) -> np.ndarray:
    """A picture (height, width, 1) on the [0, 1] scale through a denoiser, clamped to [0, 1]."""
    if name == "noisy":
        return noisy
    if name == "bm3d":
        import bm3d

        return np.clip(bm3d.bm3d(noisy[..., 0], level / 255).reshape(noisy.shape), 0, 1)
    network = _network(name)
    return np.clip(network(noisy[None].astype(np.float32), mirrored=True)[0], 0, 1)


def _read(path: Path) -> dict[tuple, tuple]:
    """The complete rows of a table, by their keys."""
    if not path.exists():
        return {}
    table = pd.read_csv(path).dropna()
    scores = table[COLUMNS[len(KEYS) :]].itertuples(index=False, name=None)
    return dict(zip(table[KEYS].itertuples(index=False, name=None), scores, strict=True))


def _measured(jobs: Sequence[Job]) -> Iterator[tuple[Job, tuple[float, ...]]]:
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        yield from zip(jobs, pool.map(_scores, jobs), strict=True)


def _scores(job: Job) -> tuple[float, ...]:
    """PSNR, SSIM and the clipped share of a job."""
    values = stored(job.noisy)
    output = denoised(job.denoiser, values / 255, job.level)
    pair = output[None].astype(np.float32), job.clean[None].astype(np.float32)
    scores: dict[str, Any] = metrics.score(*pair)
    clipped = np.mean((values == 0) | (values == 255))
    return float(scores["psnr"][0]), float(scores["ssim"][0]), float(clipped)


@functools.cache
def _network(name: str) -> jaxdae.Denoiser:
    """A packaged denoiser."""
    return jaxdae.load_denoiser(name)
