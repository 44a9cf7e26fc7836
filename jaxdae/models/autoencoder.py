"""The convolutional denoising autoencoder of Chollet's "Building Autoencoders in Keras" (2016), in Flax linen."""

import jax.numpy as jnp
from flax import linen as nn

from jaxdae.components import structure
from jaxdae.models.layers import Conv3x3, pad_to_multiple
from jaxdae.models.prediction import PREDICTIONS
from jaxdae.types import Images, PerImage, Scalar


class ConvAutoencoder(nn.Module):
    """`depth` times convolution, relu, max-pool 2; `depth` times convolution, relu, upsample 2; then a convolution.

    With width 32, depth 2 and one channel it has 28,353 parameters. Images whose sides are not multiples of 2^depth are
    padded by repeating their edge, and the output is cropped. It takes no noise level.

    The outputs of encoder_0 .. and decoder_0 .. (after relu and pooling) are sown in "intermediates", a dict "layers".
    """

    width: int = structure(32, "channels of the hidden convolutions", at_least=1, below=2**16)
    depth: int = structure(2, "how many times the encoder halves the image", at_least=1, below=16)
    prediction: str = structure(
        "logits",
        "network output: logits of the image, the image, or the noisy image plus a residual",
        choices=PREDICTIONS,
    )
    compute_dtype: str = structure(
        "float32",
        "type of the network's computations; parameters and loss are float32",
        choices=("float32", "bfloat16"),
    )

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
        dtype = jnp.bfloat16 if self.compute_dtype == "bfloat16" else None
        hidden = pad_to_multiple(images, self.multiple)
        layers = {}
        for i in range(self.depth):
            hidden = nn.relu(Conv3x3(self.width, pool=True, dtype=dtype, name=f"encoder_{i}")(hidden))
            layers[f"encoder_{i}"] = hidden
        for i in range(self.depth):
            hidden = nn.relu(Conv3x3(self.width, upsample=i > 0, dtype=dtype, name=f"decoder_{i}")(hidden))
            layers[f"decoder_{i}"] = hidden
        self.sow("intermediates", "layers", layers)
        padded = Conv3x3(channels, upsample=True, dtype=dtype, name="output")(hidden)
        output = padded[:, :height, :width].astype(images.dtype)
        return images + output if self.prediction == "residual" else output
