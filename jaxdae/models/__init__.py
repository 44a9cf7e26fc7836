"""Networks, and the callable denoiser around a trained one.

A network is a linen module `(images, level) -> output` with parameters only (no batch statistics, no dropout), whose
fields are declared as in `jaxdae.components`. It pads and crops inside itself and says

- `prediction`: how its output becomes an image (`jaxdae.models.prediction`),
- `multiple`: the sides that it computes on are multiples of this,
- `reach`: its receptive field, how far away in pixels an input can change an output; None: whole pictures only,

and, where it matters, `level_input`: whether it takes the noise level (a call without one fails), and `optimizer`: the
name of the one that trains it by default.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxdae.errors import InputError
from jaxdae.models.autoencoder import ConvAutoencoder
from jaxdae.models.dncnn import DnCNN
from jaxdae.models.graph import Graph
from jaxdae.models.unet import UNet
from jaxdae.types import PRNGKey

MODELS: dict[str, type[nn.Module]] = {"autoencoder": ConvAutoencoder, "unet": UNet, "dncnn": DnCNN}
"""Those that can be trained."""
STORED: dict[str, type[nn.Module]] = MODELS | {"graph": Graph}
"""Those that a saved denoiser can have."""


def initialize(key: PRNGKey, model: Any, channels: int) -> dict:
    """The initial parameters of a network for images of so many channels."""
    size = getattr(model, "example_size", (model.multiple, model.multiple))
    variables = model.init(key, jnp.zeros((1, *size, channels)), jnp.zeros(1))
    if extra := set(variables) - {"params", "intermediates"}:
        raise InputError(f"{type(model).__name__} has {', '.join(extra)}; a network may have parameters only")
    return variables["params"]


def count_parameters(params: Any) -> int:
    """How many numbers the parameters of one network hold."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
