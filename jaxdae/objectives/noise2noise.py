"""The target is another noisy image."""

from typing import Any, Self

from flax import struct

from jaxdae import rng
from jaxdae.components import structure
from jaxdae.data.source import Sample
from jaxdae.errors import InputError
from jaxdae.noise import CORRUPTIONS, Noise
from jaxdae.objectives.example import Example
from jaxdae.objectives.supervised import LOSS_HELP, LOSSES, Supervised
from jaxdae.rng import Draws


@struct.dataclass
class Noise2Noise(Supervised):
    """The target is another noisy image of the same scene (Lehtinen et al. 2018, arXiv 1803.04189).

    It is a second draw at the same level or, of pairs, the other real noisy image; noise asked for is then added to
    the input only.

    The network of least squared error predicts the mean of the targets: that of the clean images, if noise keeps the
    mean. So clipped noise, corruptions that move the mean, binary cross-entropy (which has no minimum for targets
    beyond [0, 1]) and the logarithm of the error (whose optimum is not the mean) are refused.
    """

    pairs = "noisy"  # the targets of the pairs that it takes

    loss: str | None = structure("mse", LOSS_HELP, choices=LOSSES)
    allow_bias: bool = structure(False, "train although the mean of the noisy targets is not the clean image")

    def check(self, noise: Noise, model: Any) -> Self:
        """Itself; InputError if the result would be biased, unless that is allowed, or cannot be trained."""
        if not self.allow_bias:
            wanted = "noise2noise needs noisy targets whose mean is the clean image"
            if not CORRUPTIONS[noise.corruption].unbiased:
                raise InputError(f"{wanted}, but {noise.corruption} moves it; take gaussian noise, or --allow-bias")
            if noise.clip:
                raise InputError(f"{wanted}, but clipping moves it; add --no-clip (clip=False), or --allow-bias")
            if self.loss == "bce":
                raise InputError("noise2noise with loss bce has no minimum for targets beyond [0, 1]; use loss mse")
            if self.loss == "log_mse":
                raise InputError("noise2noise with loss log_mse does not learn the mean of noisy targets; use loss mse")
        return super().check(noise, model)

    def example(self, draws: Draws, sample: Sample, noise: Noise) -> Example:
        """Two noisy images of one scene."""
        if sample.other is not None:
            assert sample.noisy is not None
            noisy, level = noise.apply(draws, sample.noisy)
            return Example(noisy, sample.other, None, level)
        assert sample.clean is not None
        noisy, level = noise.apply(draws, sample.clean)
        target, _ = noise.apply(draws, sample.clean, rng.TARGET)
        return Example(noisy, target, None, level)
