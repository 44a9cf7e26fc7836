"""Figures have the panels, rows and curves of what they are given."""

import numpy as np
import pytest
from tiny import random_images

from jaxdae import plots


def test_rows_of_images():
    noisy = random_images(12, 16, 16, 1)
    assert plots.noisy_digits(noisy).get_size_inches().tolist() == [20, 2]
    assert len(plots.noisy_denoised_clean(noisy, noisy).axes) == 20
    assert len(plots.noisy_denoised_clean(noisy, noisy, noisy).axes) == 30
    assert len(plots.noisy_denoised_clean(noisy[:3], noisy[:3]).axes) == 6


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_shown_on_one_scale_from_black_to_white(channels):
    axes = plots.noisy_digits(random_images(2, 8, 8, channels) * 0.1).axes[0]
    (image,) = axes.images
    assert image.get_array().shape == ((8, 8) if channels == 1 else (8, 8, 3))
    assert image.get_clim() == (0, 1)


def test_feature_maps_stand_beside_the_image():
    figure = plots.feature_maps(random_images(16, 16, 1), random_images(8, 8, 11), layer="encoder_0")
    assert len([axes for axes in figure.findobj(plots.Axes) if axes.images]) == 1 + 11
    assert "encoder_0: 11 maps of 8x8" in figure.get_suptitle()


def line(epoch, member=0, loss="bce", value=0.3):
    return {"epoch": epoch, "member": member, f"train_{loss}": value, f"val_{loss}": value}


def test_loss_curves_of_members_and_a_reference():
    history = [line(epoch, value=None if epoch == 2 else 0.3) for epoch in (1, 2)]
    reference = [{"epoch": 1, "train_bce": 0.4, "val_bce": 0.5}]
    (axes,) = plots.loss_curves(history, ["one"], reference=reference, reference_name="Keras").axes
    assert "nats" in axes.get_ylabel()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "Keras, validation", "Keras, training", "one, validation", "one, training"
    ]  # fmt: skip
    assert np.array_equal(axes.lines[2].get_ydata(), [0.3, np.nan], equal_nan=True)


def test_members_of_different_losses_have_a_panel_each():
    history = [line(1, 0), line(1, 1, "mse"), line(1, 2)]
    figure = plots.loss_curves(history, ["a", "b", "c"])
    assert [len(axes.lines) for axes in figure.axes] == [4, 2]
    assert "nats" in figure.axes[0].get_ylabel() and "squared" in figure.axes[1].get_ylabel()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 6


def test_a_run_without_epochs_has_an_empty_figure():
    (axes,) = plots.loss_curves([], ["one"]).axes
    assert not axes.lines
