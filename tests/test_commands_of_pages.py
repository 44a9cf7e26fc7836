"""The command that a results page prints trains what its script trains."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxdae
from jaxdae.cli import small_set, train
from jaxdae.training.member import check_members

pytest.importorskip("tyro")
ROOT = Path(__file__).parents[1]
EXPERIMENTS, RESULTS = ROOT / "experiments", ROOT / "results"


@pytest.fixture
def scripts(monkeypatch):
    """A function that imports a module of experiments/."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module


def parsed(command, data):
    """The training of a command line, as `jaxdae train` has it on these pictures."""
    words = command.replace("\\\n", " ").split()[2:]
    arguments = train._parser().parse(words)
    noisy = "noise2noise" in (arguments.objective or ())
    base = jaxdae.Member(noise=jaxdae.Noise(level=0.0, clip=not noisy))
    members = train.options.members_of(arguments, base)
    before = small_set.Training(members, data, train.options.loop_values(arguments))
    after = small_set.adapt(before, arguments)
    return arguments, after.members, after.loop


PLAIN = jaxdae.Member(noise=jaxdae.Noise(level=0.0), model=jaxdae.UNet())


@pytest.mark.parametrize(("name", "epochs", "coverage"), [("documents", 16, 8), ("microscopy", 10, 16), (None, 2, 1)])
def test_the_command_of_a_training_trains_the_same(scripts, tmp_path, name, epochs, coverage):
    """Made from the training of a script, it is parsed to the very same members, loop and coverage."""
    shell, command = scripts("_shell"), scripts("_command")
    for number in range(4):
        Image.fromarray(np.zeros((80, 80), np.uint8)).save(tmp_path / f"{number}.png")
    data = jaxdae.read_own(tmp_path, target="next", augment=True, coverage=coverage)
    members = check_members(scripts(name).MEMBER if name else PLAIN)
    training = shell.Training(members, data, tmp_path, epochs, 16)
    line = command.train_command(training, "scans/noisy", "scans/clean", "runs/scans")
    arguments, trained, loop = parsed(line, data)
    assert trained == members
    assert loop == {"epochs": epochs, "batch_size": 16}
    assert (arguments.coverage, arguments.augment) == (coverage, True)
    assert (arguments.dataset, arguments.target, str(arguments.out)) == ("scans/noisy", "scans/clean", "runs/scans")


def test_the_page_of_the_documents_prints_the_command_of_its_script(scripts):
    script, data = scripts("documents"), jaxdae.load("digits")
    page = (RESULTS / "documents" / "README.md").read_text()
    [line] = [block for block in page.split("```") if block.strip().startswith("jaxdae train")]
    arguments, members, loop = parsed(line.split("\njaxdae denoise")[0], data)
    options = script.Options()
    assert members == check_members(script.MEMBER)
    assert loop == {"epochs": options.epochs, "batch_size": 16}
    assert (arguments.coverage, arguments.augment) == (options.coverage, True)
