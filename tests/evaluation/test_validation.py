"""Validation measures each member at its own noise, always on the same draws."""

import jax
import numpy as np
import pytest
from tiny import DATA, MEMBER, random_params

from jaxdae import metrics, parallel
from jaxdae.data import InMemory, read_own
from jaxdae.evaluation import input_psnr, sample_images, validate
from jaxdae.models import ConvAutoencoder
from jaxdae.models.prediction import predict
from jaxdae.noise import Noise, noisy_examples
from jaxdae.objectives import Noise2Noise, Supervised
from jaxdae.training import stack

pytestmark = pytest.mark.slow

MEMBERS = (MEMBER.replace(seed=3), MEMBER.replace(noise=Noise(level=(0.0, 1.0))))
PARAMS = [random_params(MEMBER.model, seed=seed) for seed in (0, 1)]
CLEAN = DATA.test.astype(np.float32) / 255


def validated(members, params, seed=0):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    return np.array(validate(*parallel.replicate((stacked, stack(members), InMemory(DATA.test))), seed=seed))


def test_a_member_has_the_mean_loss_and_psnr_of_its_own_noisy_images():
    losses, psnr = validated(MEMBERS, PARAMS, seed=5)
    for i, (member, params) in enumerate(zip(MEMBERS, PARAMS, strict=True)):
        noisy = noisy_examples(DATA.test, member.noise, seed=5)
        logits = predict(member.model, params, noisy).output
        np.testing.assert_allclose(losses[i], metrics.bce_from_logits(logits, CLEAN).mean(), rtol=1e-5)
        np.testing.assert_allclose(psnr[i], metrics.psnr(jax.nn.sigmoid(logits), CLEAN).mean(), rtol=1e-5)


def test_the_psnr_of_the_input_is_that_of_the_very_images_that_are_denoised():
    psnr = input_psnr(*parallel.replicate((stack(MEMBERS), InMemory(DATA.test))), seed=5)
    noisy = [noisy_examples(DATA.test, member.noise, seed=5) for member in MEMBERS]
    np.testing.assert_allclose(psnr, [metrics.psnr(images, CLEAN).mean() for images in noisy], rtol=1e-5)


def test_its_draws_depend_on_the_evaluation_seed_and_not_on_the_member():
    first = validated(MEMBERS, PARAMS)
    other_seeds = [member.replace(seed=9) for member in MEMBERS]
    np.testing.assert_array_equal(validated(other_seeds, PARAMS), first)
    np.testing.assert_array_equal(validated(MEMBERS[::-1], PARAMS[::-1]), first[:, ::-1])
    assert not np.equal(validated(MEMBERS, PARAMS, seed=1), first).any()


def test_images_that_leave_the_range_are_clamped_before_psnr_but_not_in_the_loss():
    model = ConvAutoencoder(width=4, depth=1, prediction="image")
    member = MEMBER.replace(model=model, objective=Supervised("mse"))
    params = jax.tree.map(lambda x: 5 * x, PARAMS[0])
    [loss], [psnr] = validated([member], [params])
    image = np.asarray(predict(model, params, noisy_examples(DATA.test, member.noise)).image)
    assert image.min() < 0 or image.max() > 1
    np.testing.assert_allclose(loss, metrics.mse(image, CLEAN).mean(), rtol=1e-5)
    np.testing.assert_allclose(psnr, metrics.psnr(np.clip(image, 0, 1), CLEAN).mean(), rtol=1e-5)


def test_the_images_shown_are_noisy_denoised_and_clean_or_where_none_is_clean_the_other_noisy_one(tmp_path):
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *PARAMS)
    noisy, denoised, clean = sample_images(stacked, stack(MEMBERS), InMemory(DATA.test), seed=5, count=3)
    for i, (member, params) in enumerate(zip(MEMBERS, PARAMS, strict=True)):
        np.testing.assert_allclose(noisy[i], noisy_examples(DATA.test[:3], member.noise, seed=5), atol=1e-6)
        np.testing.assert_allclose(denoised[i], predict(member.model, params, noisy[i]).image, atol=1e-5)
        np.testing.assert_allclose(clean[i], CLEAN[:3], atol=1e-6)

    frames = DATA.test[:4, ..., 0]
    np.save(tmp_path / "frames.npy", frames)
    pairs = read_own(tmp_path / "frames.npy", target="next", allow_motion=True).sources()[1]
    silent = MEMBER.replace(noise=Noise(level=(0.0, 0.0)), objective=Noise2Noise())
    [noisy], _, [other] = sample_images(jax.tree.map(lambda x: x[:1], stacked), stack([silent]), pairs)
    np.testing.assert_allclose(np.stack([noisy, other])[..., 0], frames[2:, None] / np.float32(255), atol=1e-6)
