"""The figures of a run, drawn into its folder."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from jaxdae import plots
from jaxdae.data import Data
from jaxdae.data.source import to_unit
from jaxdae.errors import require_name
from jaxdae.evaluation.measure import default_levels
from jaxdae.models.denoiser import Denoiser
from jaxdae.noise import noisy_examples
from jaxdae.paths import require_no_link
from jaxdae.runs import folder
from jaxdae.runs.files import atomic
from jaxdae.runs.run import Run, Weights


def write_figures(
    run: Run,
    data: Data | None,
    *,
    member: int | None = None,
    weights: Weights = "last",
    layer: str | None = None,
    noise_level: float | None = None,
) -> list[Path]:
    """Draws the loss curves, one member's noisy and denoised test images and its feature maps; returns the files.

    Without data, the loss curves only.

    By default the member is the one nearest level 0.5 with the lowest seed, the layer encoder_0 (or another: a network
    may show none), and the noise level the member's own. InputError if one of them does not exist.
    """
    assert run.path
    require_no_link(run.path / folder.FIGURES, folder.FIGURES)
    index = run.index(member)
    drawn: dict[str, Figure] = {"loss": plots.loss_curves(run.history, run.labels)}
    if data is None:
        return save_figures(run.path / folder.FIGURES, drawn)
    [denoiser] = run.select([index], weights)
    drawn |= image_figures(denoiser, data, layer=layer, noise_level=noise_level, seed=run.loop.evaluation_seed)
    return save_figures(run.path / folder.FIGURES, drawn)


def image_figures(
    denoiser: Denoiser, data: Data, *, layer: str | None = None, noise_level: float | None = None, seed: int = 0
) -> dict[str, Figure]:
    """A denoiser's noisy and denoised test images and its feature maps, by name; as in `write_figures`."""
    denoiser.check_shape(data.test.shape)
    level = default_levels([denoiser.about.noise])[0] if noise_level is None else noise_level
    noise = denoiser.about.noise.replace(level=level)  # type: ignore[attr-defined]
    start = data.test if data.noisy_test is None else data.noisy_test
    if noise.clip and start.dtype != np.uint8:  # as in training
        start = np.clip(start, 0, 1)
    noisy = np.asarray(noisy_examples(start[:10], noise, seed=seed, beyond=not noise.clip))
    told = level if denoiser.takes_level else None
    layers = jax.device_get(denoiser.layers(noisy, told))
    layer = layer or ("encoder_0" if "encoder_0" in layers else next(iter(layers), None))
    drawn = {"noisy": plots.noisy_digits(noisy)}
    below, third = np.asarray(to_unit(data.test[:10])), "other" if data.pairs == "noisy" else "clean"
    drawn["denoised"] = plots.noisy_denoised_clean(noisy, denoiser(noisy, told), below, third=third)
    if layer is not None:
        require_name("layer", layer, layers)
        drawn[f"features_{layer}"] = plots.feature_maps(noisy[0], layers[layer][0], layer=layer)
    return drawn


def save_figures(path: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Writes figures as PNG files into a folder, no link, each of them whole or not at all."""
    require_no_link(path, path.name)
    written = []
    for name, figure in figures.items():
        written.append(path / f"{name}.png")
        with atomic(written[-1]) as temporary:
            figure.savefig(temporary, dpi=100)
    return written
