"""`Example`, a training example, and `Predict`, the network as an objective calls it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxdae.models.prediction import Prediction
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
