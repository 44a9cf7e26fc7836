"""The convolutional denoising autoencoder of Chollet's "Building Autoencoders in Keras" (2016), in Flax linen."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from jaxdae import conv, metrics
from jaxdae.config import Head, Loss

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
    """What it computes in, by default the type of the images and parameters; the output is of the images' type."""
    head: Head = "logits"
    """What it puts out: the logits of the denoised images, the images (linear), or the images as the sum of the noisy
    ones and the last convolution (residual)."""

    @nn.compact
    def __call__(self, images: Images) -> Images:
        """Noisy images on the [0, 1] scale to the denoised ones, or to their logits, as `head` says."""
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
        padded = Conv3x3(channels, upsample=True, dtype=self.dtype, name="output")(hidden)
        out = padded[:, :height, :width].astype(images.dtype)
        return images + out if self.head == "residual" else out


def pad_to_multiple(images: Images, multiple: int) -> Float[Array, "batch height2 width2 channel"]:
    """Repeats the last row and column until both sides are multiples of `multiple`."""
    rows, columns = (-side % multiple for side in images.shape[1:3])
    return jnp.pad(images, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")


def initialize(key: Key[Array, ""], model: ConvAutoencoder, channels: int) -> dict:
    """Initial parameters: glorot_uniform kernels, zero biases (as Keras has them)."""
    side = 2**model.depth
    return model.init(key, jnp.zeros((1, side, side, channels)))["params"]


def forward(params: dict, noisy: Images, *, model: ConvAutoencoder) -> Images:
    """What the network puts out: the denoised images, or with the head `logits` their logits."""
    out = model.apply({"params": params}, noisy)
    assert isinstance(out, jax.Array)
    return out


def denoise(params: dict, noisy: Images, *, model: ConvAutoencoder) -> Images:
    """The denoised images, on the [0, 1] scale (which the heads `linear` and `residual` may leave)."""
    return to_image(forward(params, noisy, model=model), model.head)


def to_image(output: Images, head: Head) -> Images:
    """The denoised images in what the network puts out."""
    return jax.nn.sigmoid(output) if head == "logits" else jnp.asarray(output)


def example_losses(output: Images, clean: Images, *, loss: Loss, head: Head) -> Float[Array, "batch"]:
    """The loss of every example: BCE in nats or the squared error, mean over pixels and channels.

    Args:
        output: what the network puts out.
        clean: what it is asked for, on the [0, 1] scale.
        loss: "bce", of the head `logits` alone, or "mse".
        head: the head of the network.
    """
    losses = metrics.bce_from_logits(output, clean) if loss == "bce" else metrics.mse(to_image(output, head), clean)
    return jnp.asarray(losses)
