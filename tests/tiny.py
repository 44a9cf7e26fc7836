"""A dataset and a member so small that whole runs take a moment."""

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from jaxdae.data import ImageData, load
from jaxdae.models import ConvAutoencoder, initialize
from jaxdae.training import Member

_DIGITS = load("digits")
DATA = ImageData(_DIGITS.train[:50, 6:22, 6:22], _DIGITS.test[:20, 6:22, 6:22])
"""The middles of 50 and 20 digits, 16x16."""

MEMBER = Member(model=ConvAutoencoder(width=4, depth=1))
"""The smallest network; its level 0.5 is the pair (0.5, 0.5), so it is canonical."""

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
