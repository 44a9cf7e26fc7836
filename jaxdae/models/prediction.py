"""What a network predicts, and the image in it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxdae.errors import InputError
from jaxdae.types import Images, PerImage, Scalar

PREDICTIONS = ("logits", "image", "residual")
"""Output parameterizations: logits of the image; the image; the noisy image plus a residual. Only logits bound it."""


class Prediction(NamedTuple):
    """The output of a network."""

    output: Float[Array, "batch height width channel"]
    kind: str
    """One of `PREDICTIONS`; a network adds the noisy image to a residual itself, so its output is an image too."""

    @property
    def image(self) -> Float[Array, "batch height width channel"]:
        """The denoised images."""
        return jax.nn.sigmoid(self.output) if self.kind == "logits" else jnp.asarray(self.output)


def predict(module: nn.Module, params: Any, images: Images, level: PerImage | Scalar | None = None) -> Prediction:
    """The prediction of a network for noisy images on the [0, 1] scale and, if it takes one, their noise level."""
    output: Any = module.apply({"params": params}, images, level)
    if output.shape != images.shape:
        raise InputError(f"{type(module).__name__} made {output.shape} of {images.shape}; it must keep images' shape")
    return Prediction(output, module.prediction)
