"""`jaxdae check` passes on any number of devices, and finds and names a fault."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdae import cli, metrics, noise
from jaxdae.models import kernels
from jaxdae.verification import checks, reference, run_checks
from jaxdae.verification.canary import Canary

SMALL = {"images": 64, "batch": 16, "side": 16}


def failed(outcomes):
    return [outcome.name for outcome in outcomes if not outcome.passed]


@pytest.mark.slow
def test_all_is_right_here():
    outcomes = list(run_checks(**SMALL))
    assert failed(outcomes) == []
    names = {outcome.name for outcome in outcomes}
    assert len(names) == len(outcomes) > 50
    assert {"unet: gradient of up_0/kernel", "dncnn: denoised images", "metric ssim", "optimizer Adadelta"} <= names


ON_OTHER_DEVICES = f"""
from jaxdae.verification import checks
images, batch, side = {SMALL["images"]}, {SMALL["batch"]}, {SMALL["side"]}
outcomes = [*checks.check_metrics(images, side), *checks.check_step("dncnn", batch, side)]
outcomes += checks.check_denoising("dncnn", images, side)
print(len(outcomes), [outcome.name for outcome in outcomes if not outcome.passed])
"""
"""What is divided over the devices, with the network that compiles soonest."""


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 8])
def test_what_devices_share_is_right_on_other_numbers_of_them(devices):
    settings = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    ended = subprocess.run([sys.executable, "-c", ON_OTHER_DEVICES], capture_output=True, text=True, env=settings)
    assert ended.stdout == "14 []\n", ended.stderr


FAULTS = {
    "a kernel's gradient": (
        lambda patch: patch(kernels, "_channels_first", lambda x, of=kernels._channels_first: of(x)[:, ::-1]),
        lambda: checks.check_step("dncnn", 16, 16),
        "dncnn: gradient of hidden_1/kernel",
    ),
    "a convolution": (
        lambda patch: patch(kernels, "conv", lambda *a, of=kernels.conv, **k: of(*a, **k) * 1.0001),
        lambda: checks.check_denoising("dncnn", 16, 16),
        "dncnn: denoised images",
    ),
    "SSIM": (
        lambda patch: patch(metrics, "_window_mean", lambda x, of=metrics._window_mean: of(x) * 1.02),
        lambda: checks.check_metrics(64, 16),
        "metric ssim",
    ),
    "a draw": (
        lambda patch: patch(noise, "_draw", lambda *a, of=noise._draw, **k: of(*a, **k)[:, ::-1]),
        lambda: checks.check_noise_draws(16),
        "frozen draws, speckle",
    ),
    "the spread of the noise": (
        lambda patch: patch(noise, "_draw", lambda *a, of=noise._draw, **k: of(*a, **k) * 1.01),
        lambda: checks.check_noise_draws(400),
        "noise statistics, gaussian (standard errors)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(fault, monkeypatch):
    plant, check, name = FAULTS[fault]
    plant(monkeypatch.setattr)
    jax.clear_caches()
    try:
        assert name in failed(check())
    finally:
        monkeypatch.undo()
        jax.clear_caches()


def test_the_command_says_what_failed_and_what_to_do(monkeypatch, capsys):
    outcomes = [checks.Outcome("right", 1e-9, 1e-6), checks.Outcome("wrong", 0.1, 1e-6), checks.Outcome("x", 1e999, 1)]
    monkeypatch.setattr("jaxdae.verification.run_checks", lambda images: outcomes[: 1 if images == 5 else 3])
    monkeypatch.setattr("jaxdae.verification.canaries", lambda: [Canary("a program", "a report", 3)])
    assert cli.main(["check", "--images", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "this machine computes what it should"
    assert cli.main(["check"]) == 1
    *lines, note, last = capsys.readouterr().out.splitlines()
    assert [line[:4] for line in lines[-3:]] == ["ok  ", "FAIL", "FAIL"] and "a program: 3 wrong values" in note
    assert last.startswith("2 of these are wrong here (wrong first)") and "JAX_PLATFORMS=cpu" in last
    assert cli.main(["check", "--images", "0"]) == 2


def test_what_is_not_a_number_never_passes():
    assert not checks.Outcome("nan", float("nan"), 1.0).passed


@pytest.mark.parametrize("network", ["autoencoder", "unet", "dncnn"])
def test_the_gradients_of_the_reference_are_its_finite_differences(network):
    model, forward, loss = checks.FAMILIES[network]
    small = model.clone(width=2, depth=2)
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 1))
    shapes = jax.eval_shape(lambda: small.init(jax.random.key(0), jnp.zeros(images.shape)))["params"]
    draw = np.random.default_rng(1).standard_normal
    params = jax.tree.map(lambda x: draw(x.shape), shapes)
    direction = jax.tree.map(lambda x: draw(x.shape), shapes)

    def mean_loss(distance):
        moved = jax.tree.map(lambda p, d: reference.leaf(p + distance * d), params, direction)
        output = loss(forward(moved, reference.leaf(images)), images)
        return output, jax.tree.leaves(moved, is_leaf=lambda x: isinstance(x, reference.Node))

    found = reference.gradients(*mean_loss(0.0))
    along = sum(np.sum(g * d) for g, d in zip(found, jax.tree.leaves(direction), strict=True))
    after, before = (mean_loss(distance)[0].value.sum() for distance in (1e-7, -1e-7))
    np.testing.assert_allclose(along, (after - before) / 2e-7, rtol=1e-5)
