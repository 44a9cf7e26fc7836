"""The figures of a run, drawn into its folder."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from jaxdae import plots
from jaxdae.data.datasets import ImageData
from jaxdae.errors import require_name
from jaxdae.evaluation.measure import default_levels
from jaxdae.noise import noisy_examples
from jaxdae.runs import folder
from jaxdae.runs.files import atomic
from jaxdae.runs.run import Run, Weights


def write_figures(
    run: Run,
    data: ImageData,
    *,
    member: int | None = None,
    weights: Weights = "last",
    layer: str = "encoder_0",
    noise_level: float | None = None,
) -> list[Path]:
    """Draws the loss curves, one member's noisy and denoised test images and its feature maps; returns the files.

    Args:
        run: with a folder.
        data: of which the first test images are shown.
        member: an index, by default the one nearest level 0.5 with the lowest seed.
        weights: the member's last or best.
        layer: whose feature maps are drawn.
        noise_level: of the images; by default the member's own.

    Raises:
        InputError: the member, the layer or the level does not exist.
    """
    index = run.index(member)
    [denoiser] = run.select([index], weights)
    level = default_levels([denoiser.about.noise])[0] if noise_level is None else noise_level
    noise = denoiser.about.noise.replace(level=level)  # type: ignore[attr-defined]
    noisy = np.asarray(noisy_examples(data.test[:10], noise, seed=run.loop.evaluation_seed))
    layers = jax.device_get(denoiser.layers(noisy))
    require_name("layer", layer, layers)
    drawn: dict[str, Figure] = {
        "loss": plots.loss_curves(run.history, run.labels),
        "noisy": plots.noisy_digits(noisy),
        "denoised": plots.noisy_denoised_clean(noisy, denoiser(noisy), data.test[:10].astype(np.float32) / 255),
        f"features_{layer}": plots.feature_maps(noisy[0], layers[layer][0], layer=layer),
    }
    assert run.path
    return save_figures(run.path / folder.FIGURES, drawn)


def save_figures(path: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Writes figures as PNG files into a folder, each of them whole or not at all."""
    written = []
    for name, figure in figures.items():
        written.append(path / f"{name}.png")
        with atomic(written[-1]) as temporary:
            figure.savefig(temporary, dpi=100)
    return written
