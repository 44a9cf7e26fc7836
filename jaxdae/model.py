"""The convolutional denoising autoencoder of Chollet's "Building Autoencoders in Keras" (2016), in Flax linen."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from jaxdae import conv

Images = Float[Array | np.ndarray, "batch height width channel"]


class Conv3x3(nn.Module):
    """A 3x3 convolution with zero padding and a bias; if asked, upsampling by 2 before or max-pool 2 after it."""

    features: int
    upsample: bool = False
    pool: bool = False
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, images: Images) -> Float[Array, "batch height2 width2 feature"]:
        """Returns the convolved images."""
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), (3, 3, images.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        convolve: Callable[[Array, Array], Array] = conv.upsample_conv3x3 if self.upsample else conv.conv3x3
        inputs, weights, offset = promote_dtype(images, kernel, bias, dtype=self.dtype)
        convolved = convolve(inputs, weights)
        # The same numbers as pooling last, since neither a bias nor relu changes the order, on a quarter of the pixels.
        return (conv.max_pool(convolved) if self.pool else convolved) + offset


class ConvAutoencoder(nn.Module):
    """`depth` times convolution, relu, max-pool 2; `depth` times convolution, relu, upsample 2; then a convolution.

    With width 32, depth 2 and one channel it has 28,353 parameters. Images whose sides are no multiples of 2^depth are
    padded by repeating their edge, and the output is cropped.

    What encoder_0 .. and decoder_0 .. put out (after relu and pooling) is sown in "intermediates" as a dict, "layers".
    """

    width: int = 32
    depth: int = 2
    dtype: DTypeLike | None = None
    """What it computes in, by default the type of the images and parameters; the logits are of the images' type."""

    @nn.compact
    def __call__(self, images: Images) -> Images:
        """Noisy images on the [0, 1] scale to the logits of the denoised ones."""
        height, width, channels = images.shape[1:]
        hidden = pad_to_multiple(images, 2**self.depth)
        layers = {}
        for i in range(self.depth):
            hidden = nn.relu(Conv3x3(self.width, pool=True, dtype=self.dtype, name=f"encoder_{i}")(hidden))
            layers[f"encoder_{i}"] = hidden
        for i in range(self.depth):
            hidden = nn.relu(Conv3x3(self.width, upsample=i > 0, dtype=self.dtype, name=f"decoder_{i}")(hidden))
            layers[f"decoder_{i}"] = hidden
        self.sow("intermediates", "layers", layers)
        logits = Conv3x3(channels, upsample=True, dtype=self.dtype, name="output")(hidden)
        return logits[:, :height, :width].astype(images.dtype)


def pad_to_multiple(images: Images, multiple: int) -> Float[Array, "batch height2 width2 channel"]:
    """Repeats the last row and column until both sides are multiples of `multiple`."""
    rows, columns = (-side % multiple for side in images.shape[1:3])
    return jnp.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")


def initialize(key: Key[Array, ""], model: ConvAutoencoder, channels: int) -> dict:
    """Initial parameters: glorot_uniform kernels, zero biases (as Keras has them)."""
    side = 2**model.depth
    return model.init(key, jnp.zeros((1, side, side, channels)))["params"]


def logits(params: dict, noisy: Images, *, model: ConvAutoencoder) -> Images:
    """The denoised images before the sigmoid that brings them on the [0, 1] scale."""
    out = model.apply({"params": params}, noisy)
    assert isinstance(out, jax.Array)
    return out


def denoise(params: dict, noisy: Images, *, model: ConvAutoencoder) -> Images:
    """The denoised images, on the [0, 1] scale."""
    return jax.nn.sigmoid(logits(params, noisy, model=model))
