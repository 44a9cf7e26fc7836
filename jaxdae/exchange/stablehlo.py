"""StableHLO through `jax.export`: one file for CPU, CUDA and TPU. docs/exports.md has a loader that needs no jaxdae."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import export

from jaxdae import rng
from jaxdae.models import kernels
from jaxdae.models.denoiser import Denoiser

PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(denoiser: Denoiser, path: Path) -> None:
    """Writes the pure function `denoised = f(noisy)`, or `f(noisy, level)`, with its parameters.

    noisy and denoised are float32 of (batch, height, width, channel) on the [0, 1] scale, level float32 of (batch,).
    Batch, height and width may be any, unless the denoiser takes one size only.
    """
    batch, height, width = export.symbolic_shape("batch, height, width")
    height, width = denoiser.about.size or (height, width)
    shapes = [jax.ShapeDtypeStruct((batch, height, width, denoiser.about.channels), jnp.float32)]
    shapes += [jax.ShapeDtypeStruct((batch,), jnp.float32)] if denoiser.takes_level else []
    with rng.pinned(), kernels.plain():  # a function of its own, so that no program traced before is taken
        exported = export.export(jax.jit(lambda *given: denoiser.apply(*given)), platforms=PLATFORMS)(*shapes)
    path.write_bytes(exported.serialize())
