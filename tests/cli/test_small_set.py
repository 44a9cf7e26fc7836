"""Which trainings the settings for small sets reach, and what they become; nothing is trained."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import jaxdae
from jaxdae.cli import small_set, train
from jaxdae.cli.small_set import Training, adapt, describe_seconds


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Three pages of 20 patches each."""
    path = tmp_path_factory.mktemp("pages")
    for name in "abc":
        Image.fromarray(np.zeros((80, 60), np.uint8)).save(path / f"{name}.png")
    return path


def adapted(data, *words):
    arguments = train._parser().parse(words)
    members = train.options.members_of(arguments, jaxdae.Member(model=jaxdae.UNet(width=4)))
    loop = {"epochs": 10, "batch_size": 128} | train.options.loop_values(arguments)
    before = Training(members, data, loop)
    return before, adapt(before, arguments)


def test_pictures_of_ones_own_get_them_and_a_run_keeps_them(pages):
    before, after = adapted(jaxdae.read_own(pages, patch=16))
    assert after.data.describe() == before.data.describe() | {"coverage": 26}
    assert after.data.sources()[0].examples == 26 * before.data.sources()[0].examples == 26 * 38
    assert after.loop == {"epochs": 10, "batch_size": 16, "chunk_steps": small_set.CHUNK_STEPS}
    [optimizer] = [member.optimizer for member in after.members]
    assert (optimizer.schedule, optimizer.ema_decay) == ("one_cycle", 0.99)
    [note] = after.notes
    assert "--epochs 10 --batch-size 16 --coverage 26 --schedule one_cycle --ema-decay 0.99" in note
    assert "620 optimizer steps" in note


def test_an_option_that_was_typed_is_kept(pages):
    data = jaxdae.read_own(pages, patch=16, coverage=3)
    words = ["--epochs", "7", "--batch-size", "5", "--coverage", "3", "--chunk-steps", "9", "--ema-decay", "0.5"]
    before, after = adapted(data, *words)
    assert after.loop == before.loop == {"epochs": 7, "batch_size": 5, "chunk_steps": 9}
    assert after.data.describe() == data.describe()
    optimizer = before.members[0].optimizer
    assert after.members[0].optimizer == optimizer.replace(schedule="one_cycle")
    _, constant = adapted(data, *words[:8], "--schedule", "constant", "cosine")
    assert [member.optimizer.schedule for member in constant.members] == ["constant", "cosine"]
    assert constant.notes == () and constant.members[0].optimizer.ema_decay is None


def test_named_datasets_and_presets_keep_their_own(pages):
    own = jaxdae.read_own(pages, patch=16)
    embedded = dataclasses.replace(own, settings=own.settings | {"dataset": "photos"})
    for data, words in ((jaxdae.load("digits"), ()), (embedded, ()), (own, ("--preset", "unet"))):
        before, after = adapted(data, *words)
        assert after is before


def test_whole_pictures_that_are_not_square_are_repeated_by_epochs(pages):
    data = jaxdae.read_own(pages, patch=99)
    _, after = adapted(data)
    assert data.whole and after.data.settings["coverage"] == 1 and after.loop["epochs"] == 600
    with pytest.raises(jaxdae.InputError, match="cannot be repeated whole; give --patch 60"):
        jaxdae.read_own(pages, patch=99, coverage=2)


def test_durations_are_said_in_words(capsys):
    words = [describe_seconds(seconds) for seconds in (3, 60, 100, 1000, 10000)]
    assert words == ["less than a minute", "about a minute", "about 2 minutes", "about 17 minutes", "about 2.8 hours"]
    small_set.print_seconds(100)
    assert capsys.readouterr().out == "expected time: about 2 minutes on this machine\n"
