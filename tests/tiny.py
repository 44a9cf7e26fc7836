"""A dataset and a configuration so small that whole runs take a moment."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from jaxdae.config import RunConfig
from jaxdae.data import ImageData, load

_DIGITS = load("digits")
DATA = ImageData(_DIGITS.train[:50, 6:22, 6:22], _DIGITS.test[:20, 6:22, 6:22])
"""The middles of 50 and 20 digits, 16x16."""

CONFIG = RunConfig(width=4, depth=1, batch_size=16, chunk_steps=2, epochs=3)
"""Four steps an epoch, the last of two examples, in chunks of two."""


UNEVEN = dataclasses.replace(CONFIG, batch_size=12)
"""Five steps an epoch in three chunks of two, and a batch that eight devices cannot divide evenly."""


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)
