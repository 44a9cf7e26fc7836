"""Statements of results pages follow from their tables."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parent.parent / "experiments"))

import _eight_bit as eight_bit
import _file_facts as file_facts
import _model_facts as model_facts
import _overlap as overlap
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


def photograph_rows(denoiser, values, clipped=0.0):
    """Rows of three pictures at one level."""
    shared = {"set": "bsd68", "level": 25, "denoiser": denoiser, "clipped": clipped}
    return [shared | {"picture": f"p{i}", "psnr": value} for i, value in enumerate(values)]


def test_denoisers_are_paired_on_the_pictures_that_all_were_measured_on():
    rows = pd.DataFrame([*photograph_rows("bm3d", (30.0, 28.0, 26.0)), *photograph_rows("photos", (30.5, 27.5))])
    psnr = file_facts.complete(rows, ("bm3d", "photos"))
    assert file_facts.compared(psnr, "photos", "bm3d").loc["bsd68 25"].to_dict() == {
        "pictures": "2", "bm3d": "29.00", "photos": "29.00", "photos - bm3d": "+0.00 ± 0.50",
        "worst picture": "p1, -0.50",
    }  # fmt: skip


def test_what_files_cost_is_paired_by_picture_and_sorted_by_their_clipped_share():
    unclipped = pd.DataFrame(photograph_rows("photos", (30.0, 28.0, 26.0)))
    files = pd.DataFrame(photograph_rows("photos", (29.75, 26.0), clipped=0.07))
    found = file_facts.losses(unclipped, files, "photos")
    assert file_facts.loss_table(found).loc["bsd68 25", "largest"] == "p1, 2.00"
    [line] = file_facts.loss_by_share(found).to_dict("index").items()
    expected = {"pictures and levels": "2", "least": "0.25", "median": "1.12", "largest": "2.00"}
    assert line == ("5 to 10 %", expected)


def test_files_hold_rounded_and_clipped_values():
    noisy = np.array([[-0.1, 0.0, 0.5, 1.2, 100.6 / 255]])
    assert eight_bit.stored(noisy).tolist() == [[0, 0, 128, 255, 101]]


def test_a_stopped_measurement_passes_over_the_rows_that_it_has(tmp_path, monkeypatch):
    clean = np.zeros((8, 8, 1))
    jobs = [eight_bit.Job("bsd68", f"p{i}", 25, "noisy", clean, clean) for i in range(3)]
    path = tmp_path / "files.csv"
    path.write_text(
        "set,picture,level,denoiser,psnr,ssim,clipped\nbsd68,p1,25,noisy,9.0,0.5,0.1\nbsd68,p2,25,noisy,9.0"
    )
    asked = []

    def measured(missing):
        for job in missing:
            asked.append(job.picture)
            yield job, (20.0, 0.9, 0.0)

    monkeypatch.setattr(eight_bit, "_measured", measured)
    table = eight_bit.measure(jobs, path)
    assert asked == ["p0", "p2"] and table["psnr"].tolist() == [20.0, 9.0, 20.0]
    pd.testing.assert_frame_equal(pd.read_csv(path), table)


def test_a_flipped_part_of_a_picture_is_found_in_it_and_not_in_another():
    first, second = (blotches(seed) for seed in (0, 1))
    part = first[20:90, 30:110][:, ::-1]
    others = {"its own": overlap.sizes(first), "another": overlap.sizes(second)}
    name, correlation = overlap.most_alike(overlap.sizes(part), others)
    assert name == "its own" and correlation > 0.9
    assert overlap.correlation(overlap.sizes(part), others["another"]) < 0.6


def blotches(seed):
    """A picture of random blotches."""
    coarse = np.random.default_rng(seed).random((8, 8))
    return np.kron(coarse, np.ones((16, 16)))
