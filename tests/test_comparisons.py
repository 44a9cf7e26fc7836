"""The tables of the experiments: right statistics, the same after writing and reading; figures from the table alone."""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxdae.errors import InputError

sys.path.append(str(Path(__file__).parent.parent / "experiments"))

import _figures as figures
import _report as report
import _tables as tables
from _tables import pick

SEEDS = (3, 4)
TEST_LEVELS = (0.25, 0.5, 1.2)
MEMBERS = {"0.25": [0, 1], "0.5": [2, 3], "0:1": [4, 5]}
SCORES = {
    "psnr": np.random.default_rng(0).normal(20, 1, (3, 6, 40)),
    "mse": np.random.default_rng(1).random((3, 6, 40)),
}


def make_level_table():
    rows = []
    for i, level in enumerate(TEST_LEVELS):
        keys = {"test_level": level}
        models = tables.by_model(SCORES, i, MEMBERS)
        for name, values in models.items():
            kind = "generalist" if ":" in name else "specialist"
            rows += tables.summarize(keys | {"kind": kind, "model": name}, values, [10, 40], SEEDS)
        if f"{level:g}" in models:
            named = keys | {"kind": "difference", "model": f"0:1 - {level:g}"}
            rows += tables.summarize(named, tables.difference(models["0:1"], models[f"{level:g}"]), [10, 40])
        worse = tables.one_seed({name: scores[i, 0] - 5 for name, scores in SCORES.items()})
        rows += tables.summarize(keys | {"kind": "identity", "model": "identity"}, worse, [10, 40])
        rows += tables.summarize(keys | {"kind": "baseline", "model": "gaussian, calibrated"}, worse, [10])
    return tables.make_table("noise_levels", rows)


TABLE = make_level_table()


def test_a_model_has_its_mean_and_standard_error_over_images():
    rows = pick(TABLE, model="0.5", seed=4, test_level=1.2, metric="psnr", images=10, kind="specialist")
    [row] = rows.to_dict("records")
    values = SCORES["psnr"][2, 3, :10]
    assert row["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert row["se_images"] == pytest.approx(values.std(ddof=1) / math.sqrt(10), rel=1e-5)
    assert row["seeds"] == 1 and math.isnan(row["se_seeds"])


def test_a_level_has_its_standard_errors_over_seeds_and_images():
    [row] = pick(TABLE, model="0:1", seed=None, test_level=0.5, metric="mse", images=40).to_dict("records")
    values = SCORES["mse"][1, 4:6]
    means = values.mean(1)
    assert row["kind"] == "generalist" and row["seeds"] == 2
    assert row["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert row["se_seeds"] == pytest.approx(abs(means[0] - means[1]) / 2, rel=1e-5)
    assert row["se_images"] == pytest.approx(values.mean(0).std(ddof=1) / math.sqrt(40), rel=1e-5)


def test_differences_are_paired_by_seed_and_image():
    rows = pick(TABLE, kind="difference", metric="psnr", images=40)
    assert list(rows["model"]) == ["0:1 - 0.25", "0:1 - 0.5"] and list(rows["test_level"]) == [0.25, 0.5]
    difference = SCORES["psnr"][1, 4:6] - SCORES["psnr"][1, 2:4]
    row = rows.iloc[1]
    assert row["mean"] == pytest.approx(difference.mean(), rel=1e-4)
    assert row["se_images"] == pytest.approx(difference.mean(0).std(ddof=1) / math.sqrt(40), rel=1e-4)
    assert row["se_seeds"] == pytest.approx(np.ptp(difference.mean(1)) / 2, rel=1e-4)  # shows the pairing by seed


def test_a_mean_that_is_not_finite_is_an_empty_cell(tmp_path):
    rows = tables.summarize({"kind": "specialist", "model": "1", "test_level": 1.0}, {"mse": np.array([[np.inf]])}, [1])
    tables.write_table(tmp_path, tables.make_table("noise_levels", rows))
    assert (tmp_path / "table.csv").read_text().splitlines()[1] == "specialist,1,,1.0,mse,1,1,,,"


def test_a_table_is_the_same_after_writing_and_reading(tmp_path):
    tables.write_table(tmp_path, TABLE)
    again = tables.read_table(tmp_path, "noise_levels")
    assert again.equals(TABLE) and (again.dtypes == TABLE.dtypes).all()
    assert not again.duplicated(list(again)[:6]).any()
    numbers = again[["mean", "se_images", "se_seeds"]].to_numpy().ravel()
    assert all(float(f"{number:.6g}") == number for number in numbers if not math.isnan(number))


def test_a_table_that_is_missing_foreign_or_damaged_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no table.csv; run the experiment"):
        tables.read_table(tmp_path, "noise_levels")
    tables.write_table(tmp_path, TABLE)
    with pytest.raises(InputError, match="does not have the columns of corruptions"):
        tables.read_table(tmp_path, "corruptions")
    text = (tmp_path / tables.TABLE).read_text()
    (tmp_path / tables.TABLE).write_text(text.replace("psnr,10,", "psnr,ten,"))
    with pytest.raises(InputError, match="is damaged"):
        tables.read_table(tmp_path, "noise_levels")
    (tmp_path / tables.TABLE).write_text("")
    with pytest.raises(InputError, match="is damaged"):
        tables.read_table(tmp_path, "noise_levels")


def test_text_gives_the_error_over_seeds_and_for_one_seed_over_images():
    rows = pick(TABLE, test_level=0.5, metric="psnr", images=40, model="0:1")
    both, one = pick(rows, seed=None), pick(rows, seed=3)
    of_both, of_one = both.iloc[0], one.iloc[0]
    assert list(tables.mean_and_error(both, "+.3f")) == [f"{of_both['mean']:+.3f} ± {of_both['se_seeds']:.3f}"]
    assert list(tables.mean_and_error(one, ".2f")) == [f"{of_one['mean']:.2f} ± {of_one['se_images']:.2f}"]


def test_the_matrix_shows_every_mean_and_marks_the_best():
    axes = figures.level_matrix(TABLE).axes[0]
    bold = [text for text in axes.texts if text.get_fontweight() == "bold"]
    means = SCORES["psnr"].reshape(3, 3, -1).mean(2)
    assert [float(text.get_text()) for text in axes.texts] == pytest.approx(means.T.ravel(), abs=0.006)
    assert len(bold) == 3
    for text in bold:
        column, line = text.get_position()
        assert int(line) == means[int(column)].argmax()
    lowest = figures.level_matrix(TABLE, metric="mse").axes[0]
    best = {int(text.get_position()[0]): int(text.get_position()[1]) for text in lowest.texts
            if text.get_fontweight() == "bold"}  # fmt: skip
    assert [best[column] for column in range(3)] == list(SCORES["mse"].reshape(3, 3, -1).mean(2).argmin(1))


def test_level_curves_show_as_many_images_as_the_baselines_and_the_distance_to_the_best_specialist():
    above, below = figures.level_curves(TABLE).axes
    names = [container.get_label() for container in above.containers]
    assert names == ["trained at 0.25", "trained at 0.5", "trained at 0:1", "gaussian, calibrated", "noisy input"]
    means = SCORES["psnr"][:, :, :10].reshape(3, 3, 2, 10).mean((2, 3))
    shown = np.array(above.containers[2].lines[0].get_ydata(), float)
    np.testing.assert_allclose(shown, means[:, 2], rtol=1e-5)
    distance = np.array(below.lines[2].get_ydata(), float)
    np.testing.assert_allclose(distance, means[:, 2] - means[:, :2].max(1), atol=1e-4)


CORRUPTIONS = ("gaussian", "salt_and_pepper", "masking")


def test_the_corruption_matrix_has_training_down_and_test_across():
    scores = np.random.default_rng(2).normal(20, 1, (3, 3, 2, 40))
    rows = []
    for test, by_model in zip(CORRUPTIONS, scores, strict=True):
        for model, values in zip(CORRUPTIONS, by_model, strict=True):
            keys = {"kind": "denoiser", "model": model, "test_corruption": test, "test_level": 0.3}
            rows += tables.summarize(keys, {"psnr": values}, [40], (0, 1))
    axes = figures.corruption_matrix(tables.make_table("corruptions", rows)).axes[0]
    texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert texts[2, 0] == f"{scores[2, 0].mean():.2f}" and texts[0, 2] == f"{scores[0, 2].mean():.2f}"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["gaussian", "salt & pepper", "masking"]


def test_learning_curves_have_a_panel_for_each_size_and_a_line_for_each_draw_and_part():
    rows = []
    for size, epochs in ((10, 6), (20, 3)):
        for draw in ("fixed", "fresh"):
            for epoch in range(1, epochs + 1):
                for part in ("train", "test"):
                    keys = {"kind": "curve", "model": draw, "train_images": size, "epoch": epoch, "images_of": part}
                    losses = 1 / epoch + np.random.default_rng(size + epoch).random((2, 1))
                    rows += tables.summarize(keys, {"bce": losses}, [1], (0, 1))
    table = tables.make_table("fixed_or_fresh", rows)
    left, right = figures.learning_curves(table).axes
    assert (left.get_title(), right.get_title()) == ("10 training images", "20 training images")
    assert [text.get_text() for text in right.get_legend().get_texts()] == [
        "fixed noise, test", "fixed noise, train", "fresh noise, test", "fresh noise, train"
    ]  # fmt: skip
    shown = pick(table, model="fresh", train_images=10, images_of="test", seed=None)
    drawn = [line for line in left.lines if len(line.get_xdata()) == 6]
    assert len(drawn) == 4
    np.testing.assert_allclose(drawn[2].get_ydata(), shown["mean"], rtol=1e-5)
    band = left.collections[2].get_paths()[0].vertices[:, 1]  # the standard error over the seeds
    assert band.max() == pytest.approx((shown["mean"] + shown["se_seeds"]).max(), rel=1e-5)


def test_a_strip_has_a_row_for_each_treatment_and_a_title_for_each_setting():
    digits = np.zeros((3, 2, 8, 8), np.uint8)
    figure = figures.strip({"noisy": digits, "clean": digits}, ["a", "b", "c"])
    assert len(figure.axes) == 2 * 6
    assert [axes.get_title("left") for axes in figure.axes[:6:2]] == ["a", "b", "c"]


def test_a_readme_states_the_command_versions_seeds_and_hardware_in_markdown(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(Path(report.__file__).parent / "scaling.py"), "--rounds", "1"])
    report.write_about(tmp_path, report.provenance("a moment", "0"), rounds=1)
    table = tables.as_text(pd.DataFrame({"mean": [1.25], "error": [math.nan]}, index=["x"]), ".1f")
    report.write_readme(tmp_path, "scaling", sections={"members": table.rename_axis("name")})
    text = (tmp_path / "README.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    assert "\n| name | mean | error |\n| --- | --- | --- |\n| x | 1.2 |  |\n" in text
    assert "- command: `python experiments/scaling.py --rounds 1`\n- duration: a moment\n- seeds: 0\n" in text
    assert "- versions: Python 3" in text and ", jax 0." in text and "\n- hardware: " in text


def test_a_readme_without_its_facts_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no readable about.json"):
        report.write_readme(tmp_path, "scaling", sections={})
