"""The tidy table: right statistics, the same after writing and reading; figures from the table alone."""

import csv
import math

import numpy as np
import pytest

from jaxdae import cli, comparisons, tables
from jaxdae.config import InputError, RunConfig

CONFIG = RunConfig(noise_levels=(0.25, 0.5, "0:1"), seeds=(3, 4))
TEST_LEVELS = (0.25, 0.5, 1.2)
SCORES = {
    "psnr": np.random.default_rng(0).normal(20, 1, (3, 6, 40)),
    "mse": np.random.default_rng(1).random((3, 6, 40)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = tables.rows_of_population(CONFIG, TEST_LEVELS, SCORES, [10, 40])
    for i, level in enumerate(TEST_LEVELS):
        values = {name: scores[i, 0] - 5 for name, scores in SCORES.items()}
        named = {"kind": "identity", "model": "identity", "test_level": level}
        rows += tables.rows_of_images(named, values, [10, 40])
        named = {"kind": "baseline", "model": "gaussian, with curve", "test_level": level}
        rows += tables.rows_of_images(named, values, [10])
    folder = tmp_path_factory.mktemp("results")
    tables.write_table(folder, "noise_levels", rows)
    digits = np.zeros((2, 8, 8), np.uint8)
    over_levels = np.stack([digits, digits])
    np.savez(
        folder / comparisons.STRIP,
        noisy=over_levels, specialist=over_levels, generalist=over_levels, clean=digits, levels=np.array([0.25, 0.5]),
    )  # fmt: skip
    return folder


def test_a_model_has_its_mean_and_standard_error_over_images(folder):
    [row] = tables.pick(
        tables.read_table(folder), model="0.5", seed=4, test_level=1.2, metric="psnr", images=10, kind="specialist"
    )
    values = SCORES["psnr"][2, 3, :10]
    assert row["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert row["se_images"] == pytest.approx(values.std(ddof=1) / math.sqrt(10), rel=1e-5)
    assert row["seeds"] == 1 and row["se_seeds"] is None


def test_a_level_has_its_standard_errors_over_seeds_and_images(folder):
    [row] = tables.pick(tables.read_table(folder), model="0:1", seed=None, test_level=0.5, metric="mse", images=40)
    values = SCORES["mse"][1, 4:6]
    means = values.mean(1)
    assert row["kind"] == "generalist" and row["seeds"] == 2
    assert row["mean"] == pytest.approx(values.mean(), rel=1e-5)
    assert row["se_seeds"] == pytest.approx(abs(means[0] - means[1]) / 2, rel=1e-5)
    assert row["se_images"] == pytest.approx(values.mean(0).std(ddof=1) / math.sqrt(40), rel=1e-5)


def test_differences_are_paired_by_seed_and_image(folder):
    rows = tables.pick(tables.read_table(folder), kind="difference", metric="psnr", images=40)
    assert [(row["model"], row["test_level"]) for row in rows] == [("0:1 - 0.25", 0.25), ("0:1 - 0.5", 0.5)]
    difference = SCORES["psnr"][1, 4:6] - SCORES["psnr"][1, 2:4]
    assert rows[1]["mean"] == pytest.approx(difference.mean(), rel=1e-4)
    assert rows[1]["se_images"] == pytest.approx(difference.mean(0).std(ddof=1) / math.sqrt(40), rel=1e-4)


def test_csv_and_json_lines_hold_the_same_rows(folder):
    with (folder / tables.TABLE).open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    rows = tables.read_table(folder)
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert from_csv == as_text and len(rows) == len({tuple(list(row.values())[:6]) for row in rows})


def test_figures_drawn_again_are_identical(folder, capsys):
    assert cli.main(["plot", str(folder)]) == 0
    paths = [folder / f"{name}.png" for name in ("matrix", "curves", "strip")]
    assert capsys.readouterr().out.split() == [str(path) for path in paths]
    first = [path.read_bytes() for path in paths]
    assert cli.main(["plot", str(folder)]) == 0
    assert [path.read_bytes() for path in paths] == first


def test_the_matrix_shows_every_mean_and_marks_the_best(folder):
    rows = tables.read_table(folder)
    axes = comparisons.level_matrix(rows).axes[0]
    bold = [text for text in axes.texts if text.get_fontweight() == "bold"]
    means = SCORES["psnr"].reshape(3, 3, -1).mean(2)
    assert len(axes.texts) == 9
    assert len(bold) == 3
    for text in bold:
        column, line = text.get_position()
        assert line == means[int(column)].argmax()


def test_a_folder_without_a_table_is_refused(tmp_path, capsys):
    with pytest.raises(InputError, match=r"holds no table \(table.jsonl\)"):
        tables.read_table(tmp_path)
    assert cli.main(["plot", str(tmp_path)]) == 2
    assert "holds neither a run (config.json) nor a table of results (table.jsonl)" in capsys.readouterr().err
    (tmp_path / tables.LINES).write_text('{"a": 1}\n')
    with pytest.raises(InputError, match="has not the columns of any experiment"):
        tables.read_table(tmp_path)
    (tmp_path / tables.LINES).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        tables.read_table(tmp_path)


CORRUPTIONS = ("gaussian", "salt_and_pepper", "masking")


def corruption_rows():
    scores = np.random.default_rng(2).normal(20, 1, (3, 3, 2, 40))
    rows = []
    for test, by_model in zip(CORRUPTIONS, scores, strict=True):
        for model, values in zip(CORRUPTIONS, by_model, strict=True):
            keys = {"test_corruption": test, "test_level": 0.3, "metric": "psnr", "model": model}
            rows += tables.rows_of_seeds(keys | {"kind": "denoiser"}, values, (0, 1))
    return rows, scores


def curve_rows():
    rows = []
    for size, epochs in ((10, 6), (20, 3)):
        for draw in ("fixed", "fresh"):
            for epoch in range(1, epochs + 1):
                for part in ("train", "test"):
                    keys = {"kind": "curve", "model": draw, "train_images": size, "epoch": epoch, "images_of": part}
                    losses = 1 / epoch + np.random.default_rng(size + epoch).random((2, 1))
                    rows += tables.rows_of_seeds(keys | {"metric": "bce"}, losses, (0, 1))
    return rows


@pytest.mark.parametrize(
    ("experiment", "rows", "figures"),
    [("corruptions", corruption_rows()[0], {"matrix"}), ("fixed_or_fresh", curve_rows(), {"curves"})],
)
def test_the_figures_of_an_experiment_are_found_by_its_columns(tmp_path, experiment, rows, figures):
    tables.write_table(tmp_path, experiment, rows)
    assert tables.experiment_of(tables.read_table(tmp_path)) == experiment
    assert set(comparisons.draw_all(tmp_path)) == figures


def test_the_corruption_matrix_has_training_down_and_test_across():
    rows, scores = corruption_rows()
    axes = comparisons.corruption_matrix(rows).axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    assert texts[2, 0] == f"{scores[2, 0].mean():.2f}" and texts[0, 2] == f"{scores[0, 2].mean():.2f}"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["gaussian", "salt & pepper", "masking"]


def test_learning_curves_have_a_panel_for_each_size_and_a_line_for_each_draw_and_part():
    rows = curve_rows()
    left, right = comparisons.learning_curves(rows).axes
    assert (left.get_title(), right.get_title()) == ("10 training images", "20 training images")
    line = next(line for line in left.lines if line.get_label() == "fresh noise, test")
    shown = tables.pick(rows, model="fresh", train_images=10, images_of="test", seed=None)
    assert list(line.get_ydata()) == [row["mean"] for row in shown] and len(left.lines) == 4


def test_a_strip_of_corruptions_has_four_rows():
    digits = np.zeros((2, 8, 8), np.uint8)
    many = np.stack([digits] * 3)
    figure = comparisons.corruption_strip(
        noisy=many, own=many, first=many, clean=digits, corruptions=np.array(CORRUPTIONS)
    )
    assert len(figure.axes) == 4 * 6
    assert [axes.get_title("left") for axes in figure.axes[:6:2]] == ["gaussian", "salt & pepper", "masking"]
