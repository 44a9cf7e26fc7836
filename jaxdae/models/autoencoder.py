"""The convolutional denoising autoencoder of Chollet's "Building Autoencoders in Keras" (2016), in Flax linen."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxdae.components import structure
from jaxdae.models import fields
from jaxdae.models.layers import Conv, append_level, pad_to_multiple
from jaxdae.types import Images, PerImage, Scalar


class ConvAutoencoder(nn.Module):
    """`depth` times convolution, relu, max-pool 2; `depth` times convolution, relu, upsample 2; then a convolution.

    With width 32, depth 2 and one channel it has 28,353 parameters. Images whose sides are not multiples of 2^depth are
    padded by their mirror image, and the output is cropped.

    The outputs of encoder_0 .. and decoder_0 .. (after relu and pooling) are sown in "intermediates", a dict "layers".
    """

    width: int | tuple[int, ...] = structure(
        32, "channels of the hidden convolutions", at_least=1, below=2**16, each="depth"
    )
    depth: int = structure(2, "how many times the encoder halves the image", at_least=1, below=16)
    prediction: str = fields.prediction("logits")
    compute_dtype: str = fields.compute_dtype()
    bias: bool = fields.bias()
    level_input: bool = fields.level_input()

    optimizer = "adadelta"

    @property
    def multiple(self) -> int:
        """The sides that it computes on are multiples of this; a tile starts at one."""
        return 2**self.depth

    @property
    def reach(self) -> int:
        """How far away, in pixels, an input pixel can change an output pixel (receptive field)."""
        return 4 * self.multiple - 2

    @nn.compact
    def __call__(self, images: Images, level: PerImage | Scalar | None = None) -> Images:
        """The prediction for noisy images on the [0, 1] scale."""
        height, width, channels = images.shape[1:]
        settings: Any = {"bias": self.bias, "dtype": jnp.dtype(self.compute_dtype)}
        widths = (self.width,) * self.depth if isinstance(self.width, int) else self.width
        hidden = pad_to_multiple(images, self.multiple)
        hidden = append_level(hidden, level) if self.level_input else hidden
        layers = {}
        for i, features in enumerate(widths):
            hidden = nn.relu(Conv(features, pool=True, name=f"encoder_{i}", **settings)(hidden))
            layers[f"encoder_{i}"] = hidden
        for i, features in enumerate(reversed(widths)):
            hidden = nn.relu(Conv(features, upsample=i > 0, name=f"decoder_{i}", **settings)(hidden))
            layers[f"decoder_{i}"] = hidden
        self.sow("intermediates", "layers", layers)
        padded = Conv(channels, upsample=True, name="output", **settings)(hidden)
        output = padded[:, :height, :width].astype(images.dtype)
        return images + output if self.prediction == "residual" else output
