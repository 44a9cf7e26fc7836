"""Members that end worse than their own noisy input are named, and no others."""

import pytest
from tiny import DATA, MEMBER, random_params

from jaxdae import metrics
from jaxdae.noise import Noise, noisy_examples
from jaxdae.runs import Loop, Run
from jaxdae.runs.below_input import Below, below_identity, below_input, describe_below
from jaxdae.runs.folder import Config
from jaxdae.training import Best, check_member

MEMBERS = tuple(check_member(MEMBER.replace(noise=Noise(level=level))) for level in (0.5, 0.2, 0.0))


def trained(*psnr_by_epoch):
    """A run of three members, whose best epoch is the first."""
    history = [
        {"epoch": epoch, "member": member, "val_psnr": psnr}
        for epoch, values in enumerate(psnr_by_epoch, start=1)
        for member, psnr in enumerate(values)
    ]
    params = random_params(MEMBER.model)
    best = Best(params, 0.0, 1)
    return Run(Config(MEMBERS, Loop(evaluation_seed=5), DATA.describe()), (params,) * 3, (best,) * 3, history)


def test_a_run_names_the_members_below_the_very_images_that_they_were_validated_on():
    inputs = [
        float(metrics.psnr(noisy_examples(DATA.test, member.noise, seed=5), DATA.test / 255.0).mean())
        for member in MEMBERS[:2]
    ]
    slightly = [value + 0.01 for value in inputs]
    assert below_input(trained([*slightly, 30.0]), DATA) == []
    worse = [value - 0.01 for value in inputs]
    first, second = below_input(trained([slightly[0], 1.0, 30.0], [*worse, 30.0]), DATA)
    assert (first.member, first.psnr) == (0, worse[0]) and first.best == (1, slightly[0])
    assert first.input_psnr == pytest.approx(inputs[0], abs=1e-3)
    assert (second.member, second.best) == (1, None)
    diverged = trained([None, None, None])
    assert below_input(diverged, DATA) == [], "which is said elsewhere"
    assert below_input(trained(), DATA) == [], "its log is gone, which is said elsewhere"


def row(member, level, psnr, name="psnr"):
    return {"member": member, "test_level": level, name: psnr}


@pytest.mark.parametrize("name", ["psnr", "psnr_to_noisy"])
def test_an_evaluation_names_those_below_the_identity_at_a_level_of_their_training(name):
    rows = [
        row("identity", 0.25, 12.0, name), row(0, 0.25, 11.0, name), row(1, 0.25, 11.5, name), row(2, 0.25, 13.0, name),
        row("identity", 0.5, 9.0, name), row(0, 0.5, 10.0, name), row(1, 0.5, 8.0, name), row(2, 0.5, None, name),
    ]  # fmt: skip
    levels = [(0.5, 0.5), (0.0, 1.0), (0.25, 0.5)]
    assert below_identity(rows, dict(enumerate(levels))) == [Below(1, 11.5, 12.0)]


def test_the_sentence_has_the_numbers_and_a_way_out():
    one = Below(0, 18.12, 18.57)
    assert describe_below([one]) == (
        "member 0 is worse than its own noisy input (18.12 dB against 18.57); train longer, or on more pictures"
    )
    better = one._replace(best=(4, 19.0))
    assert describe_below([better, Below(3, 1.0, 2.0)]) == (
        "members 0, 3 are worse than their own noisy input (member 0: 18.12 dB against 18.57); "
        "--weights best takes those of epoch 4 (19.00 dB)"
    )
