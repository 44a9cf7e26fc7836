"""What published numbers rest on: draws, what a step is given, learning rate, validation, the pretrained weights.

Expected values are literals or follow from `jax.random` alone. What touches the package is at the bottom.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import DATA

import jaxdae
from jaxdae import evaluation, noise, training
from jaxdae.rng import ORDER, Draws, draw_key
from jaxdae.training import epoch as epochs_module
from jaxdae.training.optimizers import OPTIMIZERS, make_optimizer

NUMBERS_CHANGED = (
    "The draws are part of the product: published numbers rest on them. A deliberate change needs a 'numbers changed' "
    "entry in CHANGELOG.md and new literals here."
)
EVALUATION = 2**32 - 1
SEED, EVALUATION_SEED, EXAMPLES = 3, 5, 50
DIGITS = DATA.train
WIDTH = 3
"""That of no other test, since steps are replaced below and compiled programs are kept."""

GREY = 0.25
FROZEN_NOISE = {
    "gaussian": (0.5529424, -1.1481135, 2.1676462, -1.5856979),
    "uniform": (0.4196970, -0.7490783, 0.9698143, -0.8871922),
    "speckle": (0.1382356, -0.2870284, 0.5419116, -0.3964245),
    "salt_and_pepper": (0.0, -0.5, 1.5, -0.5),
    "masking": (0.0, -0.5, 0.0, -0.5),
    "poisson": (-0.5, 0.5, -0.5, 0.5),
}
"""(noisy - clean) / 0.5 of four grey pixels: seed 3, epoch 2, example 7."""


@pytest.mark.parametrize("corruption", FROZEN_NOISE)
def test_frozen_noise(corruption):
    noisy = one_noisy_image(np.full((1, 4, 1), GREY), corruption, 0.5, 0.5, seed=3, epoch=2, index=7)
    np.testing.assert_allclose(
        (noisy - GREY).ravel() / 0.5, FROZEN_NOISE[corruption], atol=1e-6, err_msg=NUMBERS_CHANGED
    )


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


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "clip", "corruption"), [(16, True, "gaussian"), (12, False, "uniform")])
@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.2, 0.9)])
@pytest.mark.parametrize("redraw", [True, False])
def test_a_step_is_given_the_named_noise_of_its_examples(monkeypatch, redraw, low, high, batch_size, clip, corruption):
    member = small(noise=jaxdae.Noise(corruption, (low, high), clip, redraw))
    epochs = steps_of_each_epoch(monkeypatch, member, only_count, batch_size)
    assert len(epochs) == 2
    for epoch, steps in enumerate(epochs, 1):
        order = np.asarray(jax.random.permutation(named_key(SEED, "order", epoch, 0), EXAMPLES))
        assert len(steps) == math.ceil(EXAMPLES / batch_size)
        for number, batch in enumerate(steps):
            assert set(batch["weight"].tolist()) <= {0.0, 1.0}
            noisy, clean = (batch[name][batch["weight"] == 1] for name in ("input", "target"))
            index = [EXAMPLE_OF[image.tobytes()] for image in np.rint(255 * clean).astype(np.uint8)]
            assert sorted(index) == sorted(order[number * batch_size : (number + 1) * batch_size])
            named = epoch if redraw else 0
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


@pytest.mark.slow
@pytest.mark.parametrize(("schedule", "rate"), [("cosine", cosine), ("one_cycle", one_cycle)])
def test_the_learning_rate_follows_its_schedule_over_the_whole_run(monkeypatch, schedule, rate):
    """Under Adam a gradient that stays the same moves a weight by the learning rate."""
    member = small(optimizer=jaxdae.Adam(learning_rate=1e-4, schedule=schedule))
    epochs = steps_of_each_epoch(monkeypatch, member, gradient_of_one, 16)
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
    classic, fast = jaxdae.PRESETS["classic"], jaxdae.PRESETS["fast"]
    assert classic.member.optimizer == jaxdae.Adadelta(1.0, "constant", None, rho=0.95, epsilon=1e-7)
    assert (classic.member.noise.redraw, classic.epochs, classic.batch_size) == (False, 100, 128)
    assert fast.member.optimizer == jaxdae.Muon(0.01, "one_cycle", None, beta=0.95)
    assert (fast.member.noise.redraw, fast.epochs, fast.batch_size) == (True, 3, 64)
    for preset in (classic, fast):
        assert preset.member.model == jaxdae.ConvAutoencoder(32, 2, "logits", "float32")
        assert preset.member.noise.replace(redraw=True) == jaxdae.Noise("gaussian", (0.5, 0.5), True, True)
        assert preset.member.objective == jaxdae.Supervised("bce")


@pytest.mark.slow
@pytest.mark.parametrize(("low", "high", "holdout"), [(0.5, 0.5, 10), (0.2, 0.9, 0)])
def test_validation_draws_a_level_for_every_image_of_its_own_split(low, high, holdout):
    images = DIGITS[40:] if holdout else DATA.test[:10]
    train = DIGITS if holdout else DIGITS[:40]  # of one shape without the held out, to compile once
    noisy = [expected_noisy(x, EVALUATION_SEED, EVALUATION, i, low, high) for i, x in enumerate(images)]
    member = small(noise=jaxdae.Noise(level=(low, high)))
    denoised, val_bce, val_psnr = train_and_denoise(member, train, np.array(noisy), holdout=holdout)
    clean, denoised = images / 255, denoised.astype(np.float64)
    bce = -(clean * np.log(denoised) + (1 - clean) * np.log(1 - denoised)).mean()
    psnr = -10 * np.log10(((denoised - clean) ** 2).mean((1, 2, 3))).mean()
    np.testing.assert_allclose([val_bce, val_psnr], [bce, psnr], rtol=1e-5)


@pytest.mark.slow
def test_the_pretrained_denoiser_gains_what_it_did():
    images = jaxdae.load("digits").test[:20]
    noisy = evaluation_noise(images, 0.5)
    kernel, denoised = pretrained_denoiser(noisy)
    psnr = [-10 * np.log10(((x - images / 255) ** 2).mean((1, 2, 3))).mean() for x in (noisy, denoised)]
    np.testing.assert_allclose(psnr, [9.211, 13.688], atol=0.01, err_msg=NUMBERS_CHANGED)
    statistics = [-0.00255071, 0.07971615]
    np.testing.assert_allclose([kernel.mean(), kernel.std()], statistics, rtol=1e-5, err_msg=NUMBERS_CHANGED)


# What the expected values follow from: jax.random alone.

PURPOSES = {"order": 1, "level": 2, "noise": 3}
EXAMPLE_OF = {image.tobytes(): i for i, image in enumerate(DIGITS)}


def named_key(seed, purpose, epoch, index):
    key = jax.random.key(seed)
    for name in (PURPOSES[purpose], epoch, index):
        key = jax.random.fold_in(key, name)
    return key


def expected_noisy(image, seed, epoch, index, low, high, corruption="gaussian", clip=True):
    """The noisy image of one example, uint8."""
    clean, key = image.astype(np.float32) / 255, named_key(seed, "noise", epoch, index)
    level = low + (high - low) * np.asarray(jax.random.uniform(named_key(seed, "level", epoch, index)))
    normal, uniform = jax.random.normal(key, clean.shape), jax.random.uniform(key, clean.shape)
    noisy = clean + level * np.asarray(normal if corruption == "gaussian" else 2 * uniform - 1)
    return np.clip(noisy, 0, 1) if clip else noisy


# What touches the package.


def small(**components):
    return jaxdae.Member(seed=SEED, model=jaxdae.ConvAutoencoder(width=WIDTH, depth=1), **components)


def one_noisy_image(clean, corruption, low, high, *, seed, epoch, index):
    made = noise.Noise(corruption, (low, high), clip=False)
    return np.asarray(made.apply(Draws(seed, epoch, index), jnp.asarray(clean, jnp.float32))[0])


def evaluation_noise(images, level):
    return np.asarray(jaxdae.noisy_examples(images, jaxdae.Noise(level=level)))


def initial_params(seed):
    member = training.check_member(jaxdae.Member(seed=seed, model=jaxdae.ConvAutoencoder(width=2, depth=1)))
    states, _ = training.initial_states(training.stack([member]), 1)
    return jax.tree.map(lambda x: np.asarray(x[0]), states.params)


def epoch_order(seed, epoch):
    return epochs_module.epoch_order(draw_key(seed, ORDER, epoch), EXAMPLES)


def optimize(name, gradients):
    """Zeros after a step along each gradient."""
    optimizer = make_optimizer(OPTIMIZERS[name]())
    params = jax.tree.map(jnp.zeros_like, gradients[0])
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return params


RECORDS = []
"""Of every step on every device. A module's list, since a compiled program goes on recording in the tests after it."""


def only_count(state, example, draws, count, *, axis, **settings):
    """In place of a step, without which all that leads to it compiles sooner."""
    return state.replace(example_count=state.example_count + jax.lax.psum(count.sum(), axis))


def gradient_of_one(state, example, draws, count, *, member, steps, **settings):
    """A step as if every derivative of the loss were 1."""
    optimizer = make_optimizer(member.optimizer, steps)
    updates, opt_state = optimizer.update(jax.tree.map(jnp.ones_like, state.params), state.opt_state, state.params)
    params = jax.tree.map(jnp.add, state.params, updates)
    return only_count(state, example, draws, count, **settings).replace(params=params, opt_state=opt_state)


def steps_of_each_epoch(monkeypatch, member, step, batch_size):
    """What the steps of each of two epochs were given, all devices together, in order."""

    def recorded(state, example, draws, count, **settings):
        after = step(state, example, draws, count, **settings)
        moved = after.params["output"]["bias"] - state.params["output"]["bias"]
        batch = {"input": example.input, "target": example.target, "weight": count, "moved": moved}
        jax.debug.callback(lambda seen, batch: RECORDS.append((int(seen), batch)), state.example_count, batch)
        return after

    monkeypatch.setattr(epochs_module, "train_step", recorded)
    monkeypatch.setattr(evaluation, "validate", lambda *_, **__: (jnp.zeros(1), jnp.zeros(1)))
    RECORDS.clear()
    data = jaxdae.ImageData(DIGITS, DATA.test)
    jaxdae.train(member, data, epochs=2, batch_size=batch_size, chunk_steps=2)
    jax.effects_barrier()
    devices, by_count = jax.local_device_count(), {}
    for seen, batch in RECORDS:  # the devices take each step together
        by_count.setdefault(seen, []).append(jax.tree.map(np.asarray, batch))
    past_the_end = by_count.pop(EXAMPLES, [])
    assert not any(batch["weight"].any() for batch in past_the_end)
    epochs = []
    for start in range(0, 2 * devices, devices):
        steps = [by_count[seen][start : start + devices] for seen in sorted(by_count)]
        epochs.append([{name: np.concatenate([part[name] for part in step]) for name in step[0]} for step in steps])
    return epochs


def train_and_denoise(member, images, noisy, *, holdout):
    data = jaxdae.ImageData(images, DATA.test[:10])
    settings = {"epochs": 2, "batch_size": 20, "chunk_steps": 2, "evaluation_seed": EVALUATION_SEED}
    run = jaxdae.train(member, data, holdout=holdout, **settings)
    return run.denoisers[0](noisy), run.history[-1]["val_bce"], run.history[-1]["val_psnr"]


def pretrained_denoiser(noisy):
    denoiser = jaxdae.load_denoiser("digits")
    return denoiser.params["encoder_1"]["kernel"], denoiser(noisy)
