"""The target is the clean image."""

from typing import Any, Self

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxdae import components, metrics
from jaxdae.components import structure
from jaxdae.data.source import Sample
from jaxdae.errors import InputError
from jaxdae.noise import Noise
from jaxdae.objectives.example import Example, Predict
from jaxdae.rng import Draws

LOSSES = ("bce", "mse", "log_mse")
LOSS_HELP = "binary cross-entropy (bce, of logits only), squared error (mse) or its logarithm (log_mse)"


@struct.dataclass
class Supervised:
    """The target is the clean image (Vincent et al. 2008).

    Under squared error the noisiest images decide: a denoised digit of level 0.1 has a thirtieth of the error of one of
    level 1. The logarithm of that error, minus the PSNR in dB (Chen et al. 2021, arXiv 2105.06086), gives all the same
    say.
    """

    pairs = "clean"  # the targets of the pairs that it takes

    loss: str | None = structure(None, LOSS_HELP, choices=LOSSES, unset="bce of logits, else mse")

    def check(self, noise: Noise, model: Any) -> Self:
        """Itself, with the loss that suits the model; InputError if it cannot train the model on this noise."""
        loss = self.loss or ("bce" if model.prediction == "logits" else "mse")
        if loss == "bce" and model.prediction != "logits":
            raise InputError(
                f"loss bce needs prediction logits, not {model.prediction}, whose images leave [0, 1]; use loss mse"
            )
        return components.replace(self, {"loss": loss})

    def example(self, draws: Draws, sample: Sample, noise: Noise) -> Example:
        """The noisy image of a clean one, and the clean one as its target; a real noisy one gets noise on top."""
        assert sample.clean is not None
        noisy, level = noise.apply(draws, sample.clean if sample.noisy is None else sample.noisy)
        return Example(noisy, sample.clean, None, level)

    def losses(self, predict: Predict, example: Example, draws: Draws) -> Float[Array, "batch"]:
        """The loss of every image."""
        prediction = predict(example.input, example.level)
        if self.loss == "bce":
            return jnp.asarray(metrics.bce_from_logits(prediction.output, example.target, example.weight))
        if self.loss == "log_mse":
            return -jnp.asarray(metrics.psnr(prediction.image, example.target, example.weight))
        return jnp.asarray(metrics.mse(prediction.image, example.target, example.weight))
