"""Statements of results pages follow from their tables."""

import json
import sys
from pathlib import Path

import pandas as pd

sys.path.append(str(Path(__file__).parent.parent / "experiments"))

import _model_facts as model_facts
import _tables as tables


def psnr_rows(kind, model, values, **keys):
    """PSNR at levels 0.1 and 0.5, as the mean over all seeds."""
    shared = {"kind": kind, "model": model, "metric": "psnr", "images": 10, "seed": None} | keys
    levels = zip((0.1, 0.5), values, strict=True)
    return [shared | {"test_level": level, "mean": value} for level, value in levels]


def table_of_models():
    plain = {"variant": model_facts.PLAIN, "trained_at": "0.5"}
    return [
        *psnr_rows("identity", "identity", (20.0, 6.0)),
        *psnr_rows("baseline", "gaussian", (29.0, 18.0)),
        *psnr_rows("baseline", "median", (22.0, 14.0)),
        *psnr_rows("denoiser", "autoencoder", (24.0, 20.0), **plain),
        *psnr_rows("denoiser", "unet", (25.0, 21.0), **plain),
        *psnr_rows("denoiser", "unet", (31.0, 17.0), variant=model_facts.PLAIN, trained_at="0.1"),
        *psnr_rows("denoiser", "large unet", (26.0, 21.5), **plain),
    ]


def test_networks_are_counted_that_are_above_the_best_classical_denoiser():
    rows = pd.DataFrame(table_of_models())
    assert model_facts.networks_above(rows) == {
        "0.1": "autoencoder 0 of 1, unet 1 of 2, large unet 0 of 1",
        "0.5": "autoencoder 1 of 1, unet 1 of 2, large unet 1 of 1",
    }
    assert model_facts.families_behind(rows) == {"autoencoder": ["0.1"], "large unet": ["0.1"]}


def write_noise_levels(home, noisy):
    rows = [
        *psnr_rows("identity", "identity", noisy),
        *psnr_rows("specialist", "0.5", (24.0, 20.25)),
    ]
    tables.write_table(home, tables.make_table("noise_levels", rows))
    (home / "about.json").write_text(json.dumps({"made": {}, "epochs": 5}))


def test_a_network_is_compared_with_a_longer_training_on_the_same_noisy_images_alone(tmp_path):
    rows = tables.make_table("models", table_of_models())
    assert model_facts.beside_longer(tmp_path / "models", rows) == {}
    write_noise_levels(tmp_path / "noise_levels", noisy=(20.0, 6.5))
    assert model_facts.beside_longer(tmp_path / "models", rows) == {}
    write_noise_levels(tmp_path / "noise_levels", noisy=(20.0, 6.0))
    gains = {"unet": (1.0, 0.75), "large unet": (1.5, 1.25)}
    expected = {"epochs": 5, "psnr": 20.25, "gains": gains}
    assert model_facts.beside_longer(tmp_path / "models", rows) == expected
