"""The commands on the page of the microscope train what its script trains."""

import sys
from pathlib import Path

import pytest

from jaxdae.cli import options, train
from jaxdae.training import Member
from jaxdae.training.member import check_members

sys.path.append(str(Path(__file__).parent.parent / "experiments"))

microscopy = pytest.importorskip("microscopy")


def test_the_command_of_the_page_trains_the_same_member_in_the_same_loop():
    defaults = microscopy.Options()
    words = microscopy.TRAIN.format(
        coverage=defaults.coverage, epochs=defaults.epochs, batch_size=microscopy.BATCH_SIZE
    )
    arguments = train._parser().parse(words.split())
    noise = Member().noise.replace(level=0.0, clip=False)  # as `jaxdae train` has it for noisy targets
    assert options.members_of(arguments, Member().replace(noise=noise)) == check_members(microscopy.MEMBER)
    assert options.loop_values(arguments) == {"epochs": defaults.epochs, "batch_size": microscopy.BATCH_SIZE}
    assert (arguments.target, arguments.augment, arguments.coverage) == ("next", True, defaults.coverage)
