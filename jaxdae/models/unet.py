"""A U-Net (Ronneberger et al. 2015) for denoising: no normalization, strided or unshuffled down, transposed up."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array

from jaxdae.components import structure
from jaxdae.models import fields
from jaxdae.models.layers import Conv, ConvTranspose, append_level, he_normal, pad_to_multiple, pixel_unshuffle
from jaxdae.types import Images, PerImage, Scalar


class UNet(nn.Module):
    """`repeat` convolutions at full, half, .. 1/2^depth of the size and back, with a skip connection at each size.

    The channels double with each halving. Images whose sides are not multiples of 2^depth are padded by their
    mirror image, and the output is cropped.

    The outputs of encoder_0 .., middle and decoder_0 .. are sown in "intermediates", a dict "layers".
    """

    width: int = structure(32, "channels of the hidden convolutions", at_least=1, below=2**16)
    depth: int = structure(2, "how many times the encoder halves the image", at_least=1, below=16)
    repeat: int = structure(1, "convolutions at each size, down and up", at_least=1, below=2**8)
    down: str = structure(
        "unshuffled",
        "downsampling: pixel-unshuffle and a 1x1 convolution, or a 3x3 convolution with stride 2",
        choices=("unshuffled", "strided"),
    )
    bias: bool = fields.bias()
    level_input: bool = fields.level_input()
    prediction: str = fields.prediction("residual")
    compute_dtype: str = fields.compute_dtype()

    @property
    def multiple(self) -> int:
        """The sides that it computes on are multiples of this; a tile starts at one."""
        return 2**self.depth

    @property
    def reach(self) -> int:
        """How far away, in pixels, an input pixel can change an output pixel (receptive field)."""
        stages = (3 * self.repeat + 1) * self.multiple - 2 * self.repeat
        return stages + (self.multiple - 1 if self.down == "strided" else 0)

    @nn.compact
    def __call__(self, images: Images, level: PerImage | Scalar | None = None) -> Images:
        """The prediction for noisy images on the [0, 1] scale."""
        height, width, channels = images.shape[1:]
        settings: Any = {"bias": self.bias, "initializer": he_normal, "dtype": jnp.dtype(self.compute_dtype)}
        layers = {}

        def convolve(hidden: Array, stage: int, name: str) -> Array:
            for i in range(self.repeat):
                hidden = nn.relu(Conv(self.width * 2**stage, name=f"{name}_{i}", **settings)(hidden))
            layers[name] = hidden
            return hidden

        padded = pad_to_multiple(images, self.multiple)
        hidden = jnp.asarray(append_level(padded, level) if self.level_input else padded)
        skips = []
        for i in range(self.depth):
            skips.append(convolve(hidden, i, f"encoder_{i}"))
            features = self.width * 2 ** (i + 1)
            strided = self.down == "strided"
            down = Conv(features, 3 if strided else 1, stride=2 if strided else 1, name=f"down_{i}", **settings)
            hidden = down(skips[-1] if strided else pixel_unshuffle(skips[-1]))
        hidden = convolve(hidden, self.depth, "middle")
        for i in reversed(range(self.depth)):
            larger = ConvTranspose(self.width * 2**i, name=f"up_{i}", **settings)(hidden)
            hidden = convolve(jnp.concatenate([larger, skips[i]], axis=-1), i, f"decoder_{i}")
        self.sow("intermediates", "layers", layers)
        output = Conv(channels, bias=self.bias, dtype=settings["dtype"], name="output")(hidden).astype(images.dtype)
        return (padded + output if self.prediction == "residual" else output)[:, :height, :width]
