"""Bilinear operations of images and a kernel that have transposes of their own.

The derivatives of a bilinear operation are the operation itself and its two transposes, so jvp and grad work, of any
order. `jax.custom_vjp` would give the transposes too, but refuse jvp.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


def bilinear(
    name: str,
    forward: Callable[..., Array],
    transpose_images: Callable[..., Array],
    transpose_kernel: Callable[..., Array],
) -> Callable[..., Array]:
    """An operation `f(images, kernel, *static)`; under vmap one call after the other.

    XLA would make a grouped convolution of a batched one, which it computes slowly on a CPU.

    Args:
        name: of the operation in a jaxpr.
        forward: the operation, in terms of JAX's own.
        transpose_images: maps (cotangent, kernel, *static) to the images' cotangent.
        transpose_kernel: maps (cotangent, images, *static) to the kernel's cotangent.
    """
    primitive = Primitive(name)

    def compute(images: Array, kernel: Array, *, static: tuple[Any, ...]) -> Array:
        return forward(images, kernel, *static)

    def shape(images: Any, kernel: Any, *, static: tuple[Any, ...]) -> Any:
        out = jax.eval_shape(lambda x, k: forward(x, k, *static), images, kernel)
        return jax.core.ShapedArray(out.shape, out.dtype)

    def batched(operands: Sequence[Array], axes: Sequence[int | None], *, static: tuple[Any, ...]) -> tuple[Array, int]:
        mapped = [jnp.moveaxis(x, axis, 0) for x, axis in zip(operands, axes, strict=True) if axis is not None]

        def one(parts: list[Array]) -> Array:
            rest = iter(parts)
            each = [x if axis is None else next(rest) for x, axis in zip(operands, axes, strict=True)]
            return primitive.bind(*each, static=static)

        return lax.map(one, mapped), 0

    primitive.def_impl(jax.jit(compute, static_argnames="static"))
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=False))
    batching.primitive_batchers[primitive] = batched
    ad.defbilinear(
        primitive,
        lambda cotangent, images, kernel, *, static: transpose_images(cotangent, kernel, *static),
        lambda cotangent, images, kernel, *, static: transpose_kernel(cotangent, images, *static),
    )
    return lambda images, kernel, *static: primitive.bind(images, kernel, static=static)
