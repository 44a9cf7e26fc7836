"""The classical denoisers that stand in every comparison, measured on all cores."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdae
from jaxdae import baselines, evaluation, noise

BASELINES = ("median", "gaussian", "wiener", "tv", "nlm", "wavelet", "linear_mmse")
TEST_IMAGES = 1_000
"""The first test images: all of them would take hours."""

Scores = dict[str, Any]


def require_installed(names: Sequence[str]) -> None:
    """Raises InputError unless all baselines are known and could be used."""
    for name in names:
        baselines.require_installed(name)


def image_counts(data: jaxdae.ImageData) -> list[int]:
    """Over how many of the first test images statistics are made: as many as the baselines see, and all."""
    return sorted({min(TEST_IMAGES, len(data.test)), len(data.test)})


def baseline_scores(
    names: Sequence[str], data: jaxdae.ImageData, tests: Sequence[tuple[jaxdae.RunConfig, float]]
) -> list[dict[str, Scores]]:
    """What every baseline, raw and "with curve", scores in every test: the noise of a configuration, at a level.

    Each is tuned on training images with noise of that kind and level. Identity has no rows here.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers: there is one for every core
    clean, test_images = (images.astype(np.float32) / 255 for images in (data.train, data.test[:TEST_IMAGES]))
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    found = []
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        for config, level in tests:
            drawn = _training_noise(clean, level, config)
            noisy = np.asarray(evaluation.noisy_examples(data.test[: len(test_images)], level, config=config))
            futures = [pool.submit(_measure, name, _some(name, clean), _some(name, drawn), noisy, test_images)
                       for name in names if name != "identity"]  # fmt: skip
            found.append({label: scores for future in futures for label, scores in future.result().items()})
    return found


def _training_noise(clean: np.ndarray, level: float, config: jaxdae.RunConfig) -> np.ndarray:
    index, seed = jnp.arange(len(clean)), jnp.uint32(0)
    drawn = noise.corrupt_examples(
        seed, jnp.asarray(clean), index, level, level, corruption=config.corruption, clip=config.clip
    )
    return np.asarray(drawn)


def _some(name: str, images: np.ndarray) -> np.ndarray:
    """Only linear MMSE is fitted on more than the tuning images."""
    return images if name == "linear_mmse" else images[: baselines.TUNING_IMAGES]


def _measure(
    name: str, clean: np.ndarray, drawn: np.ndarray, noisy: np.ndarray, test_images: np.ndarray
) -> dict[str, Scores]:
    raw, calibrated = (baselines.apply(baseline, noisy) for baseline in baselines.fit(name, clean, drawn))
    labels = {name: raw, f"{name}, with curve": calibrated}
    return {label: jax.device_get(evaluation.score_images(image, test_images)) for label, image in labels.items()}
