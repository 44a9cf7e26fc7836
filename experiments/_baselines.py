"""The classical denoisers of `_filters`, fitted and measured on all cores."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Sequence

import _filters
import jax
import jax.numpy as jnp
import numpy as np
from _tables import Scores, one_seed

import jaxdae
from jaxdae import metrics, rng
from jaxdae.data import Data
from jaxdae.data.patches import fixed_crops
from jaxdae.data.source import to_unit
from jaxdae.noise import check_noise, corrupt_batch

BASELINES = ("median", "gaussian", "wiener", "tv", "nlm", "wavelet", "linear_mmse")
TEST_IMAGES = 1_000
"""Baselines are measured on the first test images: all of them would take hours."""


def require_installed(names: Sequence[str]) -> None:
    """Raises InputError unless all baselines are known and can be used."""
    for name in names:
        _filters.require_installed(name)


def usable(names: Sequence[str], data: Data) -> list[str]:
    """The baselines that the data allows, and a sentence on the one that it does not.

    Linear MMSE is a matrix of all pixels by all pixels, fitted on whole images beyond the tuning ones.
    """
    if isinstance(data, jaxdae.ImageData) or (data.whole and len(data.train) > _filters.TUNING_IMAGES):
        return list(names)
    if "linear_mmse" in names:
        print(f"linear_mmse is left out: it is fitted on more than {_filters.TUNING_IMAGES} whole pictures")
    return [name for name in names if name != "linear_mmse"]


def image_counts(data: Data) -> list[int]:
    """The numbers of first test images for statistics: as many as for the baselines, and all."""
    return sorted({min(TEST_IMAGES, len(data.test)), len(data.test)})


def baseline_scores(names: Sequence[str], data: Data, tests: Sequence[jaxdae.Noise]) -> list[dict[str, Scores]]:
    """For every test noise, the scores of every baseline, raw and calibrated.

    Each is tuned on training images with that noise. The identity has no rows here.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers, one for every core
    train = training_images(data)
    clean, test_images = (np.asarray(to_unit(images)) for images in (train, data.test[:TEST_IMAGES]))
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    found = []
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        for noise in tests:
            train_noisy = np.asarray(training_noise(noise, train))
            test_noisy = np.asarray(jaxdae.noisy_examples(data.test[:TEST_IMAGES], noise))
            futures = [
                pool.submit(_measure, name, _share(name, clean), _share(name, train_noisy), test_noisy, test_images)
                for name in names
                if name != "identity"
            ]
            found.append({label: scores for future in futures for label, scores in future.result().items()})
    return found


def training_images(data: Data) -> np.ndarray:
    """What baselines are tuned and fitted on: the training images, of own pictures fixed crops of them."""
    if isinstance(data, jaxdae.ImageData):
        return data.train
    crops = fixed_crops(data.train, *data.image[:2])
    return np.clip(crops, 0, 1) if data.beyond else crops


def training_noise(noise: jaxdae.Noise, images: np.ndarray) -> jax.Array:
    """Training images made noisy once, with the draws of seed 0.

    Raises:
        InputError: the noise is not allowed.
    """
    return _training_noise(check_noise(noise), images)


@rng.pinned()
@jax.jit
def _training_noise(noise: jaxdae.Noise, images: jax.Array) -> jax.Array:
    draws = rng.Draws(jnp.uint32(0), jnp.uint32(rng.ONCE), jnp.arange(len(images)))
    return corrupt_batch(noise, draws, to_unit(images))[0]


def _share(name: str, images: np.ndarray) -> np.ndarray:
    """The training images of a baseline: only linear MMSE is fitted on more than the tuning images."""
    return images if name == "linear_mmse" else images[: _filters.TUNING_IMAGES]


def _measure(
    name: str, clean: np.ndarray, train_noisy: np.ndarray, test_noisy: np.ndarray, test_images: np.ndarray
) -> dict[str, Scores]:
    raw, calibrated = (_filters.apply(fitted, test_noisy) for fitted in _filters.fit(name, clean, train_noisy))
    labels = {name: raw, f"{name}, calibrated": calibrated}
    return {label: one_seed(jax.device_get(metrics.score(image, test_images))) for label, image in labels.items()}
