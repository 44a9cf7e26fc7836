"""A dataset and a member so small that whole runs take a moment."""

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from jaxdae.data import ImageData, load
from jaxdae.models import ConvAutoencoder, initialize
from jaxdae.training import Member, check_member

_DIGITS = load("digits")
DATA = ImageData(_DIGITS.train[:50, 6:22, 6:22], _DIGITS.test[:20, 6:22, 6:22])
"""The middles of 50 and 20 digits, 16x16."""

MEMBER = check_member(Member(model=ConvAutoencoder(width=4, depth=1)))
"""The smallest network."""

LOOP = {"batch_size": 16, "chunk_steps": 2, "epochs": 3}
"""Arguments of `train`: four steps an epoch, the last of two examples, in chunks of two."""


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def random_images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


def random_params(model, channels: int = 1, seed: int = 0):
    """Kernels as large as initial ones, and biases that are not zero; nothing is compiled."""
    shapes = jax.eval_shape(lambda: initialize(jax.random.key(0), model, channels))
    draw = np.random.default_rng(seed).normal
    return jax.tree.map(lambda leaf: np.float32(draw(0, leaf.size**-0.5, leaf.shape)), shapes)


def lively_params(model, channels=1, positive=False):
    """Kernels under which signals keep their size through relus; positive ones let every signal through."""
    shapes = jax.eval_shape(lambda: initialize(jax.random.key(0), model, channels))
    draw = np.random.default_rng(0).normal
    params = jax.tree.map(lambda x: np.float32(draw(0, (2 / max(np.prod(x.shape[:-1]), 20)) ** 0.5, x.shape)), shapes)
    return jax.tree.map(np.abs, params) if positive else params


def assert_same_denoiser(a, b):
    assert (a.module, a.about) == (b.module, b.about)
    assert jax.tree.structure(a.params) == jax.tree.structure(b.params)
    for x, y in zip(*map(jax.tree.leaves, (a.params, b.params)), strict=True):
        np.testing.assert_array_equal(x, y)
