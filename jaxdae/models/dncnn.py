"""DnCNN (Zhang et al. 2017) without batch statistics: convolutions at full size that predict the noise."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdae.components import structure
from jaxdae.models import fields
from jaxdae.models.layers import Conv, append_level, he_normal
from jaxdae.types import Images, PerImage, Scalar


class DnCNN(nn.Module):
    """`depth` 3x3 convolutions of `width` channels, relu between them, and the noisy image added to their output.

    With width 32, depth 8 and one channel it has 56,097 parameters. The outputs of hidden_0 .. are sown in
    "intermediates", a dict "layers".
    """

    width: int = structure(32, "channels of the hidden convolutions", at_least=1, below=2**16)
    depth: int = structure(8, "number of convolutions", at_least=2, below=2**10)
    bias: bool = fields.bias()
    level_input: bool = fields.level_input()
    prediction: str = fields.prediction("residual")
    compute_dtype: str = fields.compute_dtype()

    multiple = 1

    @property
    def reach(self) -> int:
        """How far away, in pixels, an input pixel can change an output pixel (receptive field)."""
        return self.depth

    @nn.compact
    def __call__(self, images: Images, level: PerImage | Scalar | None = None) -> Images:
        """The prediction for noisy images on the [0, 1] scale."""
        settings: Any = {"bias": self.bias, "dtype": jnp.dtype(self.compute_dtype)}
        hidden = append_level(images, level) if self.level_input else images
        layers = {}
        for i in range(self.depth - 1):
            hidden = nn.relu(Conv(self.width, name=f"hidden_{i}", initializer=he_normal, **settings)(hidden))
            layers[f"hidden_{i}"] = hidden
        self.sow("intermediates", "layers", layers)
        output = Conv(images.shape[-1], name="output", **settings)(hidden).astype(images.dtype)
        return images + output if self.prediction == "residual" else output
