"""A grid that was stopped in its first epoch: which members the verbs take, and what they call them."""

import json
import os
import shutil
import signal

import pytest
from command import refused, run
from PIL import Image
from tiny import DATA, LOOP, MEMBER

import jaxdae
from jaxdae import runs, training
from jaxdae.cli import options
from jaxdae.data import ImageData, own
from jaxdae.exchange import load_card
from jaxdae.runs import folder

DIGITS = ImageData(DATA.train, DATA.test, "digits")
GRID = jaxdae.grid(MEMBER, {"model.width": [2, 4], "noise.level": [0.25, 0.5]})
NAMES = [
    "member 0 (width 2, level 0.25, seed 0), last weights, after 64 % of epoch 1",
    "member 2 (width 2, level 0.5, seed 0), last weights, after 64 % of epoch 1",
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """Members 0 and 2 have taken one of the two chunks of their epoch, 1 and 3 none."""
    path = tmp_path_factory.mktemp("runs") / "stopped"
    load, train_chunk = options.load, training.train_chunk

    def struck(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        return train_chunk(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for module in (options, own):
            patch.setattr(
                module,
                "load",
                lambda name, **dirs: DIGITS if name == "digits" else load(name, **dirs),
            )
        with patch.context() as striking, pytest.raises(runs.Interrupted):
            striking.setattr(training, "train_chunk", struck)
            runs.train((GRID[0], GRID[2], GRID[1], GRID[3]), DIGITS, out=path, **LOOP)
        yield path


def warnings(caplog):
    return [record.message for record in caplog.records if record.name == "jaxdae"]


def test_evaluate_measures_the_members_that_have_begun(capsys, caplog, stopped):
    status, out, _ = run(capsys, "evaluate", stopped, "--test-level", "0.5", "--json")
    rows = json.loads(out)
    assert status == 0 and [row["member"] for row in rows] == ["identity", 0, 2]
    assert [row["noise_level"] for row in rows] == [None, "0.25", "0.5"]
    assert [row["origin"] for row in rows] == [None, *NAMES]
    assert warnings(caplog) == [
        f"{stopped} was stopped at 11 %: members 0 and 2 have trained through 64 % of epoch 1, "
        "members 1 and 3 have not begun",
        "left out: members 1 and 3, which have not begun to train",
    ]
    status, out, _ = run(capsys, "evaluate", stopped, "--member", "2")
    assert status == 0 and out.startswith(NAMES[1] + "\n")


@pytest.mark.parametrize("verb", ["evaluate", "plot", "export", "denoise"])
def test_what_is_not_trained_is_refused_where_it_is_asked_for(capsys, tmp_path, stopped, verb):
    Image.fromarray(DATA.test[0, ..., 0]).save(tmp_path / "scan.png")
    words = {
        "export": [stopped, "--to", "safetensors", "--out", tmp_path / "no"],
        "denoise": [tmp_path / "scan.png", "--run", stopped, "--out", tmp_path / "no"],
    }.get(verb, [stopped])
    begun = "has not begun to train; choose members 0 and 2, or continue the run with `jaxdae resume"
    refused(capsys, f"member 3 (width 4, level 0.5, seed 0) {begun}", verb, *words, "--member", "3")
    refused(
        capsys,
        "has no best weights yet, since it was not validated",
        verb,
        *words,
        "--weights",
        "best",
    )
    assert not (stopped / folder.FIGURES).exists() and not (tmp_path / "no").exists()


def test_denoise_chooses_among_the_members_that_have_begun(capsys, caplog, tmp_path, stopped):
    Image.fromarray(DATA.test[0, ..., 0] // 2).save(tmp_path / "scan.png")
    words = ["denoise", tmp_path / "scan.png", "--run", stopped, "--out"]
    status, out, _ = run(capsys, *words, tmp_path / "a")
    assert status == 0 and out.startswith(f"denoising with {NAMES[1]}\n")
    status, out, _ = run(capsys, *words, tmp_path / "b", "--noise-level", "auto")
    assert "the nearest by its noise level of 2 members" in out
    assert "left out: members 1 and 3, which have not begun to train" in warnings(caplog)


def test_a_card_of_weights_between_epochs_has_no_numbers(capsys, tmp_path, stopped):
    status, out, _ = run(capsys, "export", stopped, "--to", "safetensors", "--out", tmp_path)
    assert status == 0 and NAMES[1] in out and load_card(tmp_path).numbers == {}


def test_plot_draws_a_member_that_has_begun(capsys, tmp_path, stopped):
    shutil.copytree(stopped, tmp_path / "run")
    status, out, _ = run(capsys, "plot", tmp_path / "run")
    assert status == 0 and out.startswith(NAMES[1] + "\n")
