"""Fields that all networks declare alike."""

from typing import Any

from jaxdae.components import structure
from jaxdae.models.prediction import PREDICTIONS


def prediction(default: str) -> Any:
    """How the output becomes an image."""
    words = "network output: logits of the image, the image, or the noisy image plus a residual"
    return structure(default, words, choices=PREDICTIONS)


def compute_dtype() -> Any:
    """The type of the computations."""
    words = "type of the network's computations; parameters and loss are float32"
    return structure("float32", words, choices=("float32", "bfloat16"))


def bias() -> Any:
    """Whether convolutions add a bias; without any, f(a x) = a f(x) (Mohan et al. 2020), but for logits."""
    return structure(True, "biases in the convolutions")


def level_input() -> Any:
    """Whether the network takes the noise level."""
    return structure(False, "the noise level as an additional input channel")
