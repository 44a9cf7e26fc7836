"""How well denoisers do: noise level x model x image, by bounded batches of vmapped pure functions."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Num, UInt8

from jaxdae import metrics, noise, parallel
from jaxdae.config import RunConfig
from jaxdae.model import ConvAutoencoder, example_losses, forward, to_image
from jaxdae.training import Population, make_model, map_models, static_part, to_float

Images = Float[Array | np.ndarray, "batch height width channel"]
PerImage = Float[Array | np.ndarray, "batch"]
Scalar = Float[Array, ""] | float


def evaluate(params: Any, noisy: Images, clean: Images, *, model: ConvAutoencoder) -> dict[str, PerImage]:
    """The metrics of one denoiser on every image.

    Args:
        params: of one model.
        noisy: what it is given, on the [0, 1] scale.
        clean: what it is asked for, on the [0, 1] scale.
        model: the Flax module.

    Returns:
        `bce` (nats; without logits as in `evaluate_identity`), `mse`, `psnr` (dB; the error floored at
        metrics.LEAST_MSE) and `ssim` of every image.
    """
    return in_batches(lambda params, n, c: _score_model(params, n, c, model=model), params, noisy, clean)


def evaluate_identity(noisy: Images, clean: Images) -> dict[str, PerImage]:
    """The metrics of the noisy images themselves. BCE takes brightness no nearer to 0 and 1 than LEAST_PROBABILITY."""
    return in_batches(lambda _, n, c: score_images(n, c), None, noisy, clean)


def score_images(denoised: Images, clean: Images) -> dict[str, PerImage]:
    """The metrics of images that are denoised already, as `evaluate` names them; the BCE as in `evaluate_identity`."""
    scores = (metrics.bce, metrics.mse, metrics.psnr, metrics.ssim)
    return {score.__name__: score(denoised, clean) for score in scores}


def _score_model(params: Any, noisy: Array, clean: Array, *, model: ConvAutoencoder) -> dict[str, Any]:
    output = forward(params, noisy, model=model)
    scores = score_images(to_image(output, model.head), clean)
    if model.head == "logits":  # which, unlike the image, tell a probability of 1 - 1e-9 from 1
        scores["bce"] = metrics.bce_from_logits(output, clean)
    return scores


def in_batches(function: Callable[..., Any], shared: Any, *stacked: Array | np.ndarray, at_once: int = 0) -> Any:
    """Applies `function(shared, *batch)` to any number of images: divided over all devices, a few at a time on each."""
    images, mesh = stacked[0].shape[0], parallel.data_mesh()
    size = min(at_once or parallel.images_at_once(), -(-images // mesh.size))
    missing = -images % (size * mesh.size)
    padded = [jnp.pad(x, ((0, missing), *((0, 0),) * (x.ndim - 1))) for x in stacked]

    def on_device(shared: Any, *share: Array) -> Any:
        batches = tuple(x.reshape(-1, size, *x.shape[1:]) for x in share)
        out = jax.lax.map(lambda batch: function(shared, *batch), batches)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

    specs = (P(), *(P(parallel.AXIS) for _ in stacked))
    divided = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P(parallel.AXIS), check_vma=False)
    return jax.tree.map(lambda x: x[:images], divided(shared, *padded))


def evaluate_population(
    params: Any, images: UInt8[Any, "image height width channel"], levels: Num[Any, "level"], *, config: RunConfig
) -> tuple[dict[str, Float[np.ndarray, "level model image"]], dict[str, Float[np.ndarray, "level image"]]]:
    """The metrics of every model at every noise level, on the same noisy images for all models.

    Args:
        params: stacked on the leading `model` axis.
        images: the clean ones, 0..255.
        levels: the noise levels, in the unit of the configuration's corruption.
        config: says the corruption, the clipping, the model and the seed of the evaluation's noise.

    Returns:
        The metrics of the models, and those of the noisy images themselves.
    """
    seed = jnp.uint32(config.evaluation_seed)
    out = _evaluate_population(
        params, jnp.asarray(images), jnp.asarray(levels, jnp.float32), seed, config=static_part(config)
    )
    return jax.device_get(out)


@functools.partial(jax.jit, static_argnames="config")
def _evaluate_population(params: Any, images: Array, levels: Array, seed: Array, *, config: RunConfig) -> Any:
    model = make_model(config)

    def one_level(level: Array) -> Any:
        def one_batch(shared: Any, index: Array, images: Array) -> Any:
            params, level = shared
            clean = to_float(images)
            noisy = _evaluation_noise(seed, clean, index, level, level, config)
            scores = map_models(
                lambda p: _score_model(p, noisy, clean, model=model), params, at_once=config.models_at_once
            )
            # The image axis first, as `in_batches` has it.
            return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), scores), score_images(noisy, clean)

        models, identity = in_batches(one_batch, (params, level), jnp.arange(images.shape[0]), images)
        return jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), models), identity

    return jax.lax.map(one_level, levels)


def _evaluation_noise(
    seed: Array, clean: Array, index: Array, lowest_level: Scalar, highest_level: Scalar, config: RunConfig
) -> Array:
    return noise.corrupt_examples(
        seed,
        clean,
        index,
        lowest_level,
        highest_level,
        epoch=noise.EVALUATION,
        corruption=config.corruption,
        clip=config.clip,
    )


def noisy_examples(images: UInt8[Any, "image height width channel"], level: float, *, config: RunConfig) -> Images:
    """The first noisy images of the evaluation at a level: the very ones that `evaluate_population` measures."""
    seed, index = jnp.uint32(config.evaluation_seed), jnp.arange(images.shape[0])
    return _evaluation_noise(seed, to_float(jnp.asarray(images)), index, level, level, config)


def denoise_and_layers(
    params: Any, noisy: Images, *, model: ConvAutoencoder
) -> tuple[Images, dict[str, Float[Array, "batch rows columns feature"]]]:
    """The denoised images of one model, and what each of its layers (encoder_0 .. decoder_0 ..) makes of them."""
    output, sown = model.apply({"params": params}, noisy, mutable="intermediates")
    return to_image(output, model.head), sown["intermediates"]["layers"][0]


def validate(
    params: Any, members: Population, images: UInt8[Any, "image height width channel"], *, config: RunConfig
) -> tuple[Float[Array, "model"], Float[Array, "model"]]:
    """Mean loss and mean PSNR (dB) of every model at its own training level, drawn for every image for a generalist."""
    seed = jnp.uint32(config.evaluation_seed)
    return _validate(params, members, jnp.asarray(images), seed, config=static_part(config))


@functools.partial(jax.jit, static_argnames="config")
def _validate(
    params: Any, members: Population, images: Array, seed: Array, *, config: RunConfig
) -> tuple[Array, Array]:
    model = make_model(config)

    def one_model(params: Any, member: Population) -> tuple[Array, Array]:
        def one_batch(shared: Any, index: Array, images: Array) -> tuple[Any, Any]:
            params, member = shared
            clean = to_float(images)
            noisy = _evaluation_noise(seed, clean, index, member.lowest_level, member.highest_level, config)
            output = forward(params, noisy, model=model)
            losses = example_losses(output, clean, loss=config.loss, head=config.head)
            return losses, metrics.psnr(to_image(output, config.head), clean)

        losses, psnr = in_batches(one_batch, (params, member), jnp.arange(images.shape[0]), images)
        return losses.mean(), psnr.mean()

    return map_models(one_model, params, members, at_once=config.models_at_once)


def summarize(
    config: RunConfig, levels: Sequence[float], scores: dict[str, np.ndarray], identity: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """The means over the images as table rows: for every test level, the identity and then every model.

    Args:
        config: names the models.
        levels: the test levels.
        scores: the metrics of the models, (level, model, image).
        identity: the metrics of the noisy images, (level, image).

    Returns:
        Rows with `model` (its position, or "identity"), `noise_level`, `seed` (both of the training, None for the
        identity), `test_level`, `bce`, `mse`, `psnr` and `ssim`. A mean that is not
        finite is None, as JSON has no such number.
    """

    def row(model: int | str, noise_level: Any, seed: int | None, test_level: float, values: Any) -> dict[str, Any]:
        means = {name: float(np.mean(value, dtype=np.float64)) for name, value in values.items()}
        finite = {name: mean if math.isfinite(mean) else None for name, mean in means.items()}
        return {"model": model, "noise_level": noise_level, "seed": seed, "test_level": float(test_level)} | finite

    rows = []
    for i, level in enumerate(levels):
        rows.append(row("identity", None, None, level, {name: value[i] for name, value in identity.items()}))
        for j, member in enumerate(config.members):
            rows.append(row(j, *member, level, {name: value[i, j] for name, value in scores.items()}))
    return rows
