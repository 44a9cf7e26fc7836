"""How well denoisers do: noise level x denoiser x image, by bounded batches of vmapped pure functions."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxdae import metrics, parallel, rng
from jaxdae.data.source import to_unit
from jaxdae.evaluation.doors import require_evaluation, require_measurement
from jaxdae.models.denoiser import Denoiser
from jaxdae.models.prediction import predict
from jaxdae.noise import Noise, check_noise, corrupt_batch, format_level
from jaxdae.parallel import IN_TURN, Population
from jaxdae.rng import Draws
from jaxdae.types import RawImages

Scores = dict[str, Float[np.ndarray, "level denoiser image"]]
IdentityScores = dict[str, Float[np.ndarray, "level image"]]


@rng.pinned()
def measure(
    denoisers: Sequence[Denoiser],
    images: RawImages,
    noise: Noise,
    levels: Sequence[float],
    *,
    noisy: RawImages | None = None,
    seed: int = 0,
    population: Population = IN_TURN,
    mesh: Mesh | None = None,
) -> tuple[Scores, IdentityScores]:
    """The metrics of every denoiser at every noise level, on the same noisy images for all.

    Args:
        denoisers: of any networks; those of one network are measured in one program.
        images: the clean ones, 8-bit or floats on the [0, 1] scale.
        noise: the corruption and the clipping; its own level is not used.
        levels: the noise levels, in the unit of the corruption.
        noisy: what the noise is added to, if not the clean images: of pairs, the real noisy ones (level 0: none).
        seed: of the noise.
        population: as in `train_chunk`.
        mesh: the devices that share the images; by default those of this process.

    Returns:
        `bce` (nats), `mse`, `psnr` (dB) and `ssim` of every image for the denoisers, and for the noisy images
        themselves. Images are clamped to [0, 1] first; a network that predicts logits is scored by them in BCE; there
        is no `ssim` of images that are smaller than its window. InputError if the noise, a level, the type, range or
        channels of the images are not allowed.
    """
    require_measurement(denoisers, images, levels, noisy=noisy, seed=seed, mesh=mesh)
    noise = check_noise(noise)
    noises = [check_noise(noise.replace(level=float(level))) for level in levels]  # type: ignore[attr-defined]
    for denoiser in denoisers:
        denoiser.check_shape(images.shape)
    values = jnp.asarray([test.level[0] for test in noises], jnp.float32)
    mesh = mesh or parallel.local_mesh()
    static: Any = {"corruption": noises[0].corruption, "clip": noises[0].clip, "population": population, "mesh": mesh}
    found: list[Any] = [None] * len(denoisers)
    shared = parallel.replicate(((images, noisy), values, jnp.uint32(seed)), mesh)
    nothing = parallel.replicate(jnp.zeros(1), mesh)
    identity = jax.device_get(parallel.replicate(_measure(nothing, *shared, module=None, **static), mesh))
    for module in dict.fromkeys(denoiser.module for denoiser in denoisers):
        chosen = [i for i, denoiser in enumerate(denoisers) if denoiser.module == module]
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(denoisers[i].params for i in chosen))
        found_scores = _measure(parallel.replicate(params, mesh), *shared, module=module, **static)
        scores = jax.device_get(parallel.replicate(found_scores, mesh))
        for position, i in enumerate(chosen):
            found[i] = {name: value[:, position] for name, value in scores.items()}
    every = {name: np.stack([scores[name] for scores in found], axis=1) for name in identity if found}
    return every, {name: value[:, 0] for name, value in identity.items()}


@functools.partial(jax.jit, static_argnames=("module", "corruption", "clip", "population", "mesh"))
def _measure(
    params: Any,
    pair: tuple[Array, Array | None],
    levels: Array,
    seed: Array,
    *,
    module: Any,
    corruption: str,
    clip: bool,
    population: Population,
    mesh: Mesh,
) -> Any:
    def one_batch(shared: Any, index: Array) -> Any:
        params, (images, real), level = shared
        clean = to_unit(images[index])
        start = clean if real is None else to_unit(real[index])
        if real is not None and clip:  # as in training
            start = jnp.clip(start, 0, 1)
        draws = Draws(seed, jnp.uint32(rng.EVALUATION), index)
        noisy, drawn = corrupt_batch(Noise(corruption, (level, level), clip), draws, start)
        scores = parallel.map_members(lambda p: _score(module, p, noisy, clean, drawn), params, population=population)
        return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), scores)  # the image axis first, as `in_batches` has it

    def one_level(level: Array) -> Any:
        scores = parallel.in_batches(one_batch, (params, pair, level), jnp.arange(pair[0].shape[0]), mesh=mesh)
        return jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), scores)

    return jax.lax.map(one_level, levels)


def _score(module: Any, params: Any, noisy: Array, clean: Array, levels: Array) -> dict[str, Any]:
    """The metrics of a network; without one, of the noisy images."""
    if module is None:
        return metrics.score(noisy, clean)
    prediction = predict(module, params, noisy, levels)
    scores = metrics.score(prediction.image, clean)
    if prediction.kind == "logits":  # which, unlike the image, tell a probability of 1 - 1e-9 from 1
        scores["bce"] = metrics.bce_from_logits(prediction.output, clean)
    return scores


def default_levels(noises: Sequence[Noise]) -> list[float]:
    """The fixed levels of checked noises, or the middle of their ranges if there is none."""
    ranges = [noise.level for noise in noises]
    return sorted({low for low, high in ranges if low == high}) or sorted({(low + high) / 2 for low, high in ranges})


def evaluate(
    denoisers: Sequence[Denoiser],
    images: RawImages,
    levels: Sequence[float] | None = None,
    *,
    corruption: str | None = None,
    members: Sequence[int] | None = None,
    noisy: RawImages | None = None,
    noisy_target: bool = False,
    seed: int = 0,
    mesh: Mesh | None = None,
) -> list[dict[str, Any]]:
    """Mean metrics as table rows: for every test noise and level, the noisy images (identity) and then the denoisers.

    Args:
        denoisers: each is measured with its own corruption and clipping.
        images: the clean ones.
        levels: the test levels; by default the fixed levels of training.
        corruption: measure all of them with this corruption instead.
        members: measure the denoisers at these positions only.
        noisy: what the noise is added to, if not the clean images: of pairs, the real noisy ones.
        noisy_target: `images` are not clean but other noisy images of the same scenes, as for `Noise2Noise`.
        seed: of the noise.
        mesh: the devices that share the images; by default those of this process.

    Returns:
        Rows with `member` (its position, or "identity"), `noise_level` and `seed` of its training (None for the
        identity), `test_corruption`, `test_level`, `bce`, `mse`, `psnr` and `ssim`; with `noisy_target` only `mse` and
        `psnr`, as `mse_to_noisy` and `psnr_to_noisy`: the noise of the target is in both. A mean that is not finite is
        None, as JSON has no such number. InputError if a level or the corruption is not allowed, or a position does not
        exist.
    """
    require_evaluation(denoisers, images, corruption=corruption, members=members, noisy_target=noisy_target)
    chosen = range(len(denoisers)) if members is None else [int(index) for index in members]
    tests: dict[tuple[str, bool], list[int]] = {}
    for index in chosen:
        own = denoisers[index].about.noise
        tests.setdefault((corruption or own.corruption, own.clip), []).append(index)
    rows = []
    for (name, clip), group in tests.items():
        test_levels = default_levels([denoisers[i].about.noise for i in group]) if levels is None else levels
        shown = Noise(name, clip=clip)
        scores, identity = measure(
            [denoisers[i] for i in group], images, shown, test_levels, noisy=noisy, seed=seed, mesh=mesh
        )
        for i, level in enumerate(test_levels):
            test = {"test_corruption": name, "test_level": float(level)}
            rows.append({"member": "identity", "noise_level": None, "seed": None} | test | _means(identity, i))
            for j, index in enumerate(group):
                about = denoisers[index].about
                trained = {"noise_level": format_level(about.noise.level), "seed": about.seed}
                rows.append({"member": index} | trained | test | _means(scores, (i, j)))
    return [_to_noisy(row) for row in rows] if noisy_target else rows


def _to_noisy(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose metrics say that they are measured against noisy images."""
    kept = {name: value for name, value in row.items() if name not in ("bce", "ssim")}
    return {f"{name}_to_noisy" if name in ("mse", "psnr") else name: value for name, value in kept.items()}


def _means(scores: dict[str, np.ndarray], where: Any) -> dict[str, float | None]:
    means = {name: float(np.mean(value[where], dtype=np.float64)) for name, value in scores.items()}
    return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}
