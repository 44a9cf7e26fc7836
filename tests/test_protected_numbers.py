"""What published numbers rest on: draws, what a step is given, learning rate, validation, the pretrained weights.

Expected values are literals or follow from `jax.random` alone. What touches the package is at the bottom.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import CONFIG, DATA

import jaxdae
from jaxdae import evaluation, noise, training
from jaxdae.config import RunConfig
from jaxdae.optimizers import make_optimizer

NUMBERS_CHANGED = (
    "The draws are part of the product: published numbers rest on them. A deliberate change needs a 'numbers changed' "
    "entry in CHANGELOG.md and new literals here."
)
EVALUATION = 2**32 - 1
SEED, EVALUATION_SEED, EXAMPLES = 3, 5, 50
DIGITS = DATA.train
SMALL = dataclasses.replace(CONFIG, width=2, epochs=2, seeds=(SEED,), evaluation_seed=EVALUATION_SEED)
"""Batches of 16, chunks of two steps. The width is that of no other test, as steps are replaced below."""

GREY = 0.25
UNIT_NOISE = {
    "gaussian": [0.5529424, -1.1481135, 2.1676462, -1.5856979],
    "uniform": [0.4196970, -0.7490783, 0.9698143, -0.8871922],
    "speckle": [0.1382356, -0.2870284, 0.5419116, -0.3964245],
    "salt_and_pepper": [0.0, -0.5, 1.5, -0.5],
    "masking": [0.0, -0.5, 0.0, -0.5],
    "poisson": [-0.5, 0.5, -0.5, 0.5],
}
"""(noisy - clean) / 0.5 of four grey pixels: seed 3, epoch 2, example 7."""


@pytest.mark.parametrize("corruption", UNIT_NOISE)
def test_frozen_noise(corruption):
    noisy = one_noisy_image(np.full((1, 4, 1), GREY), corruption, 0.5, 0.5, seed=3, epoch=2, index=7)
    np.testing.assert_allclose((noisy - GREY).ravel() / 0.5, UNIT_NOISE[corruption], atol=1e-6, err_msg=NUMBERS_CHANGED)


def test_frozen_levels():
    noisy = [one_noisy_image(np.ones((1, 1, 1)), "gaussian", 0.0, 1.0, seed=3, epoch=1, index=i) for i in (0, 1)]
    np.testing.assert_allclose(np.ravel(noisy), [1.0040307, 0.9792069], atol=1e-6, err_msg=NUMBERS_CHANGED)


def test_frozen_noise_of_evaluation():
    grey = np.full((2, 1, 2, 1), 102, np.uint8)
    expected = [1.0, 0.1272540, 0.3809152, 0.5735863]
    np.testing.assert_allclose(evaluation_noise(grey, 0.25).ravel(), expected, atol=1e-6, err_msg=NUMBERS_CHANGED)


def test_frozen_initial_weights():
    params = initial_params(seed=3)
    weights = [*params["encoder_0"]["kernel"][0, 0, 0, :2], *params["output"]["kernel"][2, 2, :2, 0]]
    expected = [0.4461865, 0.1432889, 0.1071627, 0.0195246]
    np.testing.assert_allclose(weights, expected, atol=1e-7, err_msg=NUMBERS_CHANGED)


FIRST_VISITED = {1: [17, 22, 4, 25, 26, 20, 6, 40], 2: [28, 17, 41, 37, 7, 38, 39, 21]}


@pytest.mark.parametrize("epoch", FIRST_VISITED)
def test_frozen_order_of_an_epoch(epoch):
    assert epoch_order(seed=3, epoch=epoch)[:8].tolist() == FIRST_VISITED[epoch], NUMBERS_CHANGED


@pytest.mark.parametrize(("batch_size", "clip", "corruption"), [(16, True, "gaussian"), (12, False, "uniform")])
@pytest.mark.parametrize("level", [0.5, "0.2:0.9"])
@pytest.mark.parametrize("draw", ["fresh", "fixed"])
def test_a_step_is_given_the_named_noise_of_its_examples(monkeypatch, draw, level, batch_size, clip, corruption):
    low, high = (0.5, 0.5) if level == 0.5 else (0.2, 0.9)
    config = small(draw=draw, noise_levels=(level,), batch_size=batch_size, clip=clip, corruption=corruption)
    epochs = steps_of_each_epoch(monkeypatch, config, only_count)
    assert len(epochs) == 2
    for epoch, steps in enumerate(epochs, 1):
        order = np.asarray(jax.random.permutation(named_key(SEED, ORDER, epoch, 0), EXAMPLES))
        assert len(steps) == math.ceil(EXAMPLES / batch_size)
        for number, batch in enumerate(steps):
            assert set(batch["weight"].tolist()) <= {0.0, 1.0}
            noisy, clean = (batch[name][batch["weight"] == 1] for name in ("input", "target"))
            index = [EXAMPLE_OF[image.tobytes()] for image in np.rint(255 * clean).astype(np.uint8)]
            assert sorted(index) == sorted(order[number * batch_size : (number + 1) * batch_size])
            named = epoch if draw == "fresh" else 0
            expected = [expected_noisy(DIGITS[i], SEED, named, i, low, high, corruption, clip) for i in index]
            np.testing.assert_allclose(noisy, expected, atol=1e-6)
            np.testing.assert_allclose(clean, DIGITS[index] / 255, atol=1e-6)


def cosine(step, steps):
    return (1 + math.cos(math.pi * step / steps)) / 2


def one_cycle(step, steps):
    top = int(0.3 * steps)
    if step < top:
        return 1 / 25 + (1 - 1 / 25) * cosine(top - step, top)
    return 1 / 25e4 + (1 - 1 / 25e4) * cosine(step - top, steps - top)


@pytest.mark.parametrize(("schedule", "rate"), [("cosine", cosine), ("one_cycle", one_cycle)])
def test_the_learning_rate_follows_its_schedule_over_the_whole_run(monkeypatch, schedule, rate):
    """Under Adam a gradient that stays the same moves a weight by the learning rate."""
    config = small(optimizer="adam", learning_rate=1e-4, schedule=schedule)
    epochs = steps_of_each_epoch(monkeypatch, config, gradient_of_one)
    moves = [abs(step["moved"][0]) for steps in epochs for step in steps]
    np.testing.assert_allclose(np.array(moves) / 1e-4, [rate(i, 8) for i in range(8)], rtol=1e-3, atol=1e-5)


AFTER_THREE_STEPS = {
    "adadelta": [0.00537647, 0.00537647, -6e-07],
    "adam": [0.00292316, 0.00292316, -0.00275552],
    "muon": [0.00120277, -0.000858484, -0.00318166],
    "sgd": [1.4559, 1.1127, -1.7637e-07],
}
"""Two weights and a bias, from zeros, at the default learning rate. The gradient of the bias is tiny, to show eps."""


@pytest.mark.parametrize("optimizer", AFTER_THREE_STEPS)
def test_frozen_steps_of_the_optimizers(optimizer):
    kernel = np.linspace(-1, 2, 36, dtype=np.float32).reshape(3, 3, 2, 2) ** 3
    gradients = [{"kernel": (i + 1) * kernel, "bias": np.full(2, 1e-7 * (3 - i), np.float32)} for i in range(3)]
    moved = optimize(optimizer, gradients)
    values = [*moved["kernel"][0, 0, 0], moved["bias"][0]]
    np.testing.assert_allclose(values, AFTER_THREE_STEPS[optimizer], rtol=1e-4, err_msg=NUMBERS_CHANGED)


def test_frozen_presets():
    classic, fast = jaxdae.preset("seed"), jaxdae.preset("fast")
    assert (classic.optimizer, classic.learning_rate, classic.schedule) == ("adadelta", 1.0, "constant")
    assert (classic.draw, classic.epochs, classic.batch_size) == ("fixed", 100, 128)
    assert (classic.adadelta_rho, classic.adadelta_eps) == (0.95, 1e-7)
    assert (fast.optimizer, fast.learning_rate, fast.schedule) == ("muon", 0.01, "one_cycle")
    assert (fast.draw, fast.epochs, fast.batch_size) == ("fresh", 3, 64)


@pytest.mark.parametrize(("level", "holdout"), [(0.5, 10), ("0.2:0.9", 0)])
def test_validation_draws_a_level_for_every_image_of_its_own_split(level, holdout):
    low, high = (0.5, 0.5) if level == 0.5 else (0.2, 0.9)
    images = DIGITS[40:] if holdout else DATA.test[:10]
    train = DIGITS if holdout else DIGITS[:40]  # of one shape without the held out, to compile once
    noisy = [expected_noisy(x, EVALUATION_SEED, EVALUATION, i, low, high) for i, x in enumerate(images)]
    config = small(noise_levels=(level,), holdout=holdout, batch_size=20)
    denoised, val_bce, val_psnr = train_and_denoise(config, train, np.array(noisy))
    clean, denoised = images / 255, denoised.astype(np.float64)
    bce = -(clean * np.log(denoised) + (1 - clean) * np.log(1 - denoised)).mean()
    psnr = -10 * np.log10(((denoised - clean) ** 2).mean((1, 2, 3))).mean()
    np.testing.assert_allclose([val_bce, val_psnr], [bce, psnr], rtol=1e-5)


def test_the_pretrained_denoiser_gains_what_it_did():
    images = jaxdae.load("digits").test[:20]
    noisy = evaluation_noise(images, 0.5)
    kernel, denoised = pretrained_denoiser(noisy)
    psnr = [-10 * np.log10(((x - images / 255) ** 2).mean((1, 2, 3))).mean() for x in (noisy, denoised)]
    np.testing.assert_allclose(psnr, [9.211, 13.688], atol=0.01, err_msg=NUMBERS_CHANGED)
    statistics = [-0.00255071, 0.07971615]
    np.testing.assert_allclose([kernel.mean(), kernel.std()], statistics, rtol=1e-5, err_msg=NUMBERS_CHANGED)


# What the expected values follow from: jax.random alone.

ORDER, LEVEL, NOISE = 1, 2, 3
EXAMPLE_OF = {image.tobytes(): i for i, image in enumerate(DIGITS)}


def named_key(seed, purpose, epoch, index):
    key = jax.random.key(seed)
    for name in (purpose, epoch, index):
        key = jax.random.fold_in(key, name)
    return key


def expected_noisy(image, seed, epoch, index, low, high, corruption="gaussian", clip=True):
    """The noisy image of one example, uint8."""
    clean, key = image.astype(np.float32) / 255, named_key(seed, NOISE, epoch, index)
    level = low + (high - low) * np.asarray(jax.random.uniform(named_key(seed, LEVEL, epoch, index)))
    normal, uniform = jax.random.normal(key, clean.shape), jax.random.uniform(key, clean.shape)
    noisy = clean + level * np.asarray(normal if corruption == "gaussian" else 2 * uniform - 1)
    return np.clip(noisy, 0, 1) if clip else noisy


# What touches the package.


def small(**changes):
    return dataclasses.replace(SMALL, **changes)


def one_noisy_image(clean, corruption, low, high, *, seed, epoch, index):
    clean, index = jnp.asarray(clean[None], jnp.float32), jnp.array([index])
    return np.asarray(
        noise.corrupt_examples(seed, clean, index, low, high, epoch=epoch, corruption=corruption, clip=False)[0]
    )


def evaluation_noise(images, level):
    return np.asarray(evaluation.noisy_examples(images, level, config=RunConfig()))


def initial_params(seed):
    states, _ = training.initial_states(small(seeds=(seed,)), 1)
    return jax.tree.map(lambda x: np.asarray(x[0]), states.params)


def epoch_order(seed, epoch):
    return training.epoch_order(noise.draw_key(seed, noise.ORDER, epoch), EXAMPLES)


def optimize(name, gradients):
    """Zeros after a step along each gradient."""
    optimizer = make_optimizer(RunConfig(optimizer=name))
    params = jax.tree.map(jnp.zeros_like, gradients[0])
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params


RECORDS = []
"""Of every step on every device. A module's list, since a compiled program goes on recording in the tests after it."""


def only_count(state, noisy, clean, weight, *, axis, **settings):
    """In the place of a step, without which all that leads to it compiles sooner."""
    return state.replace(example_count=state.example_count + jax.lax.psum(weight.sum(), axis))


def gradient_of_one(state, noisy, clean, weight, *, optimizer, **settings):
    """A step as if every derivative of the loss were 1."""
    updates, opt_state = optimizer.update(jax.tree.map(jnp.ones_like, state.params), state.opt_state, state.params)
    params = jax.tree.map(jnp.add, state.params, updates)
    return only_count(state, noisy, clean, weight, **settings).replace(params=params, opt_state=opt_state)


def steps_of_each_epoch(monkeypatch, config, step):
    """What the steps of each epoch were given, all devices together, in order."""

    def recorded(state, noisy, clean, weight, **settings):
        after = step(state, noisy, clean, weight, **settings)
        moved = after.params["output"]["bias"] - state.params["output"]["bias"]
        batch = {"input": noisy, "target": clean, "weight": weight, "moved": moved}
        jax.debug.callback(lambda count, batch: RECORDS.append((int(count), batch)), state.example_count, batch)
        return after

    monkeypatch.setattr(training, "train_step", recorded)
    monkeypatch.setattr(evaluation, "validate", lambda *_, **__: (jnp.zeros(1), jnp.zeros(1)))
    RECORDS.clear()
    jaxdae.train(config, jaxdae.ImageData(DIGITS, DATA.test))
    jax.effects_barrier()
    devices, by_count = jax.local_device_count(), {}
    for count, batch in RECORDS:  # the devices take each step together
        by_count.setdefault(count, []).append(jax.tree.map(np.asarray, batch))
    past_the_end = by_count.pop(EXAMPLES, [])
    assert not any(batch["weight"].any() for batch in past_the_end)
    epochs = []
    for start in range(0, config.epochs * devices, devices):
        steps = [by_count[count][start : start + devices] for count in sorted(by_count)]
        epochs.append([{name: np.concatenate([part[name] for part in step]) for name in step[0]} for step in steps])
    return epochs


def train_and_denoise(config, images, noisy):
    run = jaxdae.train(config, jaxdae.ImageData(images, DATA.test[:10]))
    return jaxdae.denoise(run, noisy), run.history[-1]["val_bce"], run.history[-1]["val_psnr"]


def pretrained_denoiser(noisy):
    run = jaxdae.load_pretrained()
    return run.params["encoder_1"]["kernel"], jaxdae.denoise(run, noisy)
