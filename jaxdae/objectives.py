"""Objectives: what a network is trained to do with an example.

An objective is a component with three pure functions: `example` makes one training example by its named draws,
`losses` compares a batch of them with the network's predictions, `check` refuses combinations that cannot work. Each
image's loss is its (weighted) mean over pixels and channels; the step averages over images.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxdae import metrics
from jaxdae.components import structure
from jaxdae.data.source import Sample
from jaxdae.errors import InputError
from jaxdae.models.prediction import Prediction
from jaxdae.noise import Noise
from jaxdae.rng import Draws
from jaxdae.types import Image, Images, PerImage, Scalar

Predict = Callable[[Any, Any], Prediction]
"""(input images, their noise levels) -> what the network predicts."""


class Example(NamedTuple):
    """One training example, or a batch of them."""

    input: Image | Images
    """The network's input."""
    target: Image | Images
    """Compared with the prediction; on the [0, 1] scale if the loss is BCE."""
    weight: Image | Images | None
    """Weight of every pixel's loss; None for equal ones."""
    level: Scalar | PerImage
    """The noise level of the input."""


@struct.dataclass
class Supervised:
    """The target is the clean image."""

    loss: str = structure("bce", "binary cross-entropy (of logits only) or squared error", choices=("bce", "mse"))

    def check(self, noise: Noise, model: Any) -> None:
        """Raises InputError if this objective cannot train the model on this noise."""
        if self.loss == "bce" and model.prediction != "logits":
            raise InputError(
                f"loss bce needs prediction logits, not {model.prediction}, whose images leave [0, 1]; use loss mse"
            )

    def example(self, draws: Draws, sample: Sample, noise: Noise) -> Example:
        """The noisy image of a clean one, and the clean one as its target."""
        assert sample.clean is not None
        noisy, level = noise.apply(draws, sample.clean)
        return Example(noisy, sample.clean, None, level)

    def losses(self, predict: Predict, example: Example, draws: Draws) -> Float[Array, "batch"]:
        """The loss of every image."""
        prediction = predict(example.input, example.level)
        if self.loss == "bce":
            return jnp.asarray(metrics.bce_from_logits(prediction.output, example.target, example.weight))
        return jnp.asarray(metrics.mse(prediction.image, example.target, example.weight))


OBJECTIVES: dict[str, type] = {"supervised": Supervised}
