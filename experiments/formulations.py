"""Which formulation of a layer's three convolutions is the fastest on one core of a CPU, inside a compiled loop?

    python experiments/formulations.py
    python experiments/formulations.py --batches 2 --seconds 0.02    # a quick try

Every layer of the networks is measured forward, in its gradient for the images and in that for the kernel, in every
formulation that computes it, at every number of images at once. Writes results/formulations/.
"""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import _report as report
import _shell as shell
import _tables as tables
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import lax
from jaxtyping import Array

from jaxdae.models import kernels, winograd

AROUND = ((1, 1), (1, 1))


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the measurement."""

    batches: tuple[int, ...] = (4, 8, 16, 32, 64)
    """Images that go through a layer together."""
    seconds: float = 0.1
    """Shortest duration of a timing; the best of five counts."""
    out: Path = Path("results/formulations")
    """Results folder: table and README."""


class Layer(NamedTuple):
    """A 3x3 convolution with padding SAME, after upsampling by 2 if it is `up`."""

    network: str
    side: int
    """Of the images that come in."""
    channels: int
    features: int
    up: bool = False


LAYERS = (
    Layer("all", 28, 1, 32),
    Layer("autoencoder", 14, 32, 32),
    Layer("autoencoder", 7, 32, 32),
    Layer("autoencoder", 7, 32, 32, up=True),
    Layer("autoencoder", 14, 32, 1, up=True),
    Layer("dncnn", 28, 32, 32),
    Layer("dncnn, unet", 28, 32, 1),
    Layer("unet", 14, 64, 64),
    Layer("unet", 7, 128, 128),
    Layer("unet", 14, 128, 64),
    Layer("unet", 28, 64, 32),
)
Formulation = Callable[[Array, Array], Array]


def slices_product(images: Array, kernel: Array) -> Array:
    """One product of what every output pixel sees with all taps (im2col)."""
    return kernels._sliced_conv(images, kernel, AROUND, 1)


def forward_conv(images: Array, kernel: Array) -> Array:
    """XLA's convolution."""
    return kernels._xla_conv(images, kernel, AROUND)


def derivative(layer: Layer, operation: Formulation, which: int) -> Formulation:
    """JAX's own gradient of an operation for the images (0) or the kernel (1), from the cotangent and the other one."""
    images = jax.ShapeDtypeStruct((1, layer.side, layer.side, layer.channels), np.float32)
    kernel = jax.ShapeDtypeStruct((3, 3, layer.channels, layer.features), np.float32)

    def transposed(cotangent: Array, other: Array) -> Array:
        batch = jax.ShapeDtypeStruct((cotangent.shape[0], *images.shape[1:]), np.float32)
        along = (lambda x: operation(x, other)) if which == 0 else (lambda k: operation(other, k))
        return jax.linear_transpose(along, batch if which == 0 else kernel)(cotangent)[0]

    return transposed


def formulations(layer: Layer) -> dict[str, dict[str, Formulation]]:
    """By operation and name, the formulation that jaxdae takes first."""
    if layer.up:
        chosen, plain = kernels._nine_products, kernels._xla_upsample_conv
        products = {"nine products": chosen}
        if layer.features < 8:
            chosen, products = (
                kernels._narrow_upsample_conv,
                {"on the phases": kernels._narrow_upsample_conv} | products,
            )
        return {
            "forward": {"nine products": kernels._nine_products, "upsampled first": plain},
            **{
                name: {of: derivative(layer, f, which) for of, f in (products | {"upsampled first": plain}).items()}
                for which, name in enumerate(("images' gradient", "kernel's gradient"))
            },
        }
    turned = lambda f: lambda dy, k: f(dy, kernels._barrier(k[::-1, ::-1].swapaxes(2, 3)))  # noqa: E731
    forward = {"forward convolution": forward_conv, "Winograd": winograd.conv3x3, "slices, one product": slices_product}
    if kernels._winograd_pays(jax.ShapeDtypeStruct((3, 3, layer.channels, layer.features), np.float32), AROUND):
        forward = {"Winograd": forward.pop("Winograd")} | forward
    native = {"XLA's own": derivative(layer, forward_conv, 0)}
    by_kernel: dict[str, Formulation] = {
        "forward convolution": lambda dy, x: kernels._conv_kernel_by_conv(dy, x, AROUND),
        "shifted cotangents, one product": lambda dy, x: kernels._conv_kernel_by_product(dy, x, AROUND),
    }
    if layer.features < 8:
        by_kernel = dict(reversed(by_kernel.items()))
    return {
        "forward": forward,
        "images' gradient": {name: turned(f) for name, f in forward.items()} | native,
        "kernel's gradient": by_kernel
        | {
            "slices, one product": derivative(layer, slices_product, 1),
            "XLA's own": derivative(layer, forward_conv, 1),
        },
    }


def seconds_each(formulation: Formulation, first: Array, second: Array, least: float) -> float:
    """The seconds of one call in a compiled loop, the best of five timings of at least so many seconds."""

    @jax.jit
    def loop(first: Array, second: Array, times: Array) -> Array:
        def once(_: Array, carry: Array) -> Array:  # each call waits for the one before, and none is left out
            out = lax.optimization_barrier(formulation(first + carry, second))
            return carry + 1e-30 * out.ravel()[0]

        return lax.fori_loop(0, times, once, jnp.float32(0))

    def timed(times: int) -> float:
        started = time.perf_counter()
        loop(first, second, jnp.int32(times)).block_until_ready()
        return time.perf_counter() - started

    timed(1)
    times = max(1, int(least / timed(1)))
    return min(timed(times) for _ in range(5)) / times


def experiment(options: Options) -> None:
    """Measures everything, on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    jax.config.update("jax_num_cpu_devices", 1)
    rows = []
    for layer in LAYERS:
        for batch in options.batches:
            rows += measure(layer, batch, options.seconds)
    tables.write_table(options.out, pd.DataFrame(rows))
    report.write_about(options.out, report.provenance(f"timings of {options.seconds} s", "0 (random arrays)"))


def measure(layer: Layer, batch: int, least: float) -> list[dict[str, object]]:
    """A row for every operation and formulation."""
    given = operands(layer, batch)
    flop = 2 * 9 * given["images' gradient"][0].size * layer.channels
    return [
        {**layer._asdict(), "batch": batch, "operation": operation, "formulation": name, "chosen": number == 0}
        | {"gflops": flop / seconds_each(formulation, *given[operation], least) / 1e9}
        for operation, choices in formulations(layer).items()
        for number, (name, formulation) in enumerate(choices.items())
    ]


def operands(layer: Layer, batch: int) -> dict[str, tuple[Array, Array]]:
    """Random operands of every operation."""
    draw = np.random.default_rng(0).standard_normal
    big = layer.side * (2 if layer.up else 1)
    shapes = (
        (batch, layer.side, layer.side, layer.channels),
        (3, 3, layer.channels, layer.features),
        (batch, big, big, layer.features),
    )
    images, kernel, cotangent = (jnp.asarray(draw(shape), jnp.float32) for shape in shapes)
    return {
        "forward": (images, kernel),
        "images' gradient": (cotangent, kernel),
        "kernel's gradient": (cotangent, images),
    }


def publish(options: Options) -> None:
    """Writes the README from the files in the results folder."""
    table = pd.read_csv(options.out / tables.TABLE)
    upsampled = table["up"].map({True: "2x up, ", False: ""})
    names = table["network"] + ": " + table["side"].astype(str) + "², " + upsampled
    table["layer"] = names + table["channels"].astype(str) + " to " + table["features"].astype(str)
    rates = table["gflops"].map("{:.0f}".format).where(~table["chosen"], table["gflops"].map("**{:.0f}**".format))
    table["rate"] = table["formulation"] + " " + rates
    eight = table[table["batch"] == (8 if 8 in set(table["batch"]) else table["batch"].min())]
    by_formulation = eight.groupby(["layer", "operation"], sort=False)["rate"].agg(", ".join).unstack(sort=False)
    chosen = table[table["chosen"]].pivot_table(
        index="layer", columns=["operation", "batch"], values="gflops", sort=False
    )
    by_batch = chosen.T.groupby(level="batch").mean().T.map("{:.0f}".format)  # of the three operations
    by_batch.columns = [f"{batch} images" for batch in by_batch.columns]
    report.write_readme(
        options.out, "formulations", by_formulation=by_formulation, by_batch=by_batch, batch=eight["batch"].iloc[0]
    )


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
