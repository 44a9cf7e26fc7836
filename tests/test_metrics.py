import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics
from hypothesis import given
from hypothesis import strategies as st

from jaxdae import metrics
from jaxdae.errors import InputError

SHAPES = [(7, 7, 1), (9, 16, 3)]
SEEDS = st.integers(0, 2**32 - 1)
IMAGE_METRICS = [metrics.bce, metrics.mse, metrics.psnr, metrics.ssim]

bce, mse, psnr, ssim, bce_from_logits = map(jax.jit, [*IMAGE_METRICS, metrics.bce_from_logits])


def random_image(shape, seed):
    """Random brightness, with some pixels exactly 0 and some exactly 1."""
    values = np.random.default_rng(seed).uniform(-0.2, 1.2, shape)
    return jnp.clip(values, 0, 1)


def similar_images(shape, seed, distance):
    """A clean image of a smooth ramp, and one at most `distance` away from it."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    clean = np.broadcast_to(((rows + columns) / (sum(shape[:2]) - 2))[..., None], shape)
    noise = distance * np.random.default_rng(seed).uniform(-1, 1, shape)
    return jnp.clip(clean + noise, 0, 1), jnp.array(clean)


def to_float64(images):
    return np.asarray(images, np.float64)


image_pairs = given(
    shape=st.sampled_from(SHAPES), seed=SEEDS, distance=st.sampled_from([0.0, 0.01, 0.1, 0.5]), invert=st.booleans()
)


def pair(shape, seed, distance, invert):
    denoised, clean = similar_images(shape, seed, distance)
    return (1 - denoised, clean) if invert else (denoised, clean)


@image_pairs
def test_ssim_equals_skimage(shape, seed, distance, invert):
    denoised, clean = pair(shape, seed, distance, invert)
    expected = skimage.metrics.structural_similarity(
        to_float64(clean), to_float64(denoised), data_range=1, channel_axis=-1
    )
    np.testing.assert_allclose(ssim(denoised, clean), expected, atol=1e-4)


@pytest.mark.parametrize("brightness", [(0.0, 0.0), (1.0, 1.0), (0.9, 0.3), (0.0, 1.0)])
def test_ssim_of_constant_images_equals_skimage(brightness):
    denoised, clean = (jnp.full(SHAPES[1], value) for value in brightness)
    expected = skimage.metrics.structural_similarity(
        to_float64(clean), to_float64(denoised), data_range=1, channel_axis=-1
    )
    np.testing.assert_allclose(ssim(denoised, clean), expected, atol=1e-3)


@image_pairs
def test_mse_and_psnr_equal_skimage(shape, seed, distance, invert):
    denoised, clean = pair(shape, seed, distance, invert)
    images = to_float64(clean), to_float64(denoised)
    expected = skimage.metrics.mean_squared_error(*images)
    np.testing.assert_allclose(mse(denoised, clean), expected, rtol=1e-5)
    if expected:
        expected = skimage.metrics.peak_signal_noise_ratio(*images, data_range=1)
        np.testing.assert_allclose(psnr(denoised, clean), expected, rtol=1e-5)


@given(shape=st.sampled_from(SHAPES), seed=SEEDS)
def test_a_perfect_image_has_100_db_and_similarity_1(shape, seed):
    clean = random_image(shape, seed)
    np.testing.assert_allclose(psnr(clean, clean), 100, rtol=1e-6)
    np.testing.assert_allclose(ssim(clean, clean), 1, atol=1e-5)


@given(shape=st.sampled_from(SHAPES), seed=SEEDS)
def test_bce_equals_numpy(shape, seed):
    clean = random_image(shape, seed)
    denoised = np.random.default_rng(seed + 1).uniform(0.001, 0.999, shape).astype(np.float32)
    p, q = map(to_float64, (denoised, clean))
    expected = -np.mean(q * np.log(p) + (1 - q) * np.log(1 - p))
    np.testing.assert_allclose(bce(denoised, clean), expected, rtol=1e-5)


@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_bce_of_a_wrong_extreme_is_16_nats(wrong):
    clean = jnp.full(SHAPES[0], 1 - wrong)
    np.testing.assert_allclose(bce(jnp.full_like(clean, wrong), clean), -np.log(1e-7), rtol=0.02)


@given(shape=st.sampled_from(SHAPES), seed=SEEDS)
def test_bce_from_logits_equals_bce_of_the_sigmoid(shape, seed):
    clean = random_image(shape, seed)
    logits = np.random.default_rng(seed + 1).uniform(-8, 8, shape).astype(np.float32)
    np.testing.assert_allclose(bce_from_logits(logits, clean), bce(jax.nn.sigmoid(logits), clean), rtol=1e-4)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_bce_from_logits_and_its_gradient_are_finite_at_logits_of_200(logit, target):
    logits, clean = jnp.full(SHAPES[0], logit), jnp.full(SHAPES[0], target)
    value, gradient = jax.value_and_grad(bce_from_logits)(logits, clean)
    np.testing.assert_allclose(value, 200 * (1 - target if logit > 0 else target), rtol=1e-5, atol=1e-6)
    assert np.all(np.isfinite(gradient))


@given(shape=st.sampled_from(SHAPES), seed=SEEDS, distance=st.sampled_from([1e-3, 0.1, 1.0]))
def test_no_image_has_a_lower_bce_than_the_clean_one(shape, seed, distance):
    clean = random_image(shape, seed)
    other = np.clip(clean + distance * (random_image(shape, seed + 1) - 0.5), 0, 1)
    assert bce(clean, clean) <= bce(other, clean) + 1e-6


@pytest.mark.parametrize("metric", [bce, mse, psnr, ssim, bce_from_logits])
def test_axes_before_the_last_three_are_kept(metric):
    denoised, clean = random_image((2, 3, *SHAPES[1]), 0), random_image((2, 3, *SHAPES[1]), 1)
    each = [[metric(denoised[i, j], clean[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(metric(denoised, clean), each, rtol=1e-5)


def test_scores_are_the_four_metrics_of_the_clamped_image():
    denoised, clean = 2 * random_image(SHAPES[1], 0) - 0.5, random_image(SHAPES[1], 1)
    expected = {"bce": bce, "mse": mse, "psnr": psnr, "ssim": ssim}
    scores = jax.jit(metrics.score)(denoised, clean)
    assert set(scores) == set(expected)
    for name, metric in expected.items():
        np.testing.assert_allclose(scores[name], metric(jnp.clip(denoised, 0, 1), clean), rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 7, 1), (7, 6, 1), (1, 1, 3)])
def test_ssim_rejects_sides_below_7(shape):
    with pytest.raises(InputError, match="at least 7x7"):
        metrics.ssim(jnp.zeros(shape), jnp.zeros(shape))
    assert set(jax.eval_shape(metrics.score, jnp.zeros(shape), jnp.zeros(shape))) == {"bce", "mse", "psnr"}


@pytest.mark.parametrize("metric", [metrics.bce_from_logits, *IMAGE_METRICS])
def test_integers_and_other_shapes_are_refused(unchecked_types, metric):
    """Differences of 8-bit brightness wrap: 200 and 10 would be -6 dB apart, and are 2.6."""
    eight_bit, image = np.full(SHAPES[0], 200, np.uint8), np.full(SHAPES[0], 0.5)
    for pair in ((eight_bit, eight_bit - 190), (image, eight_bit), (eight_bit, image)):
        with pytest.raises(InputError, match="floats on the .0, 1. scale, not uint8; divide 8-bit images by 255"):
            metric(*pair)
    with pytest.raises(InputError, match=r"shapes \(7, 7, 1\) and \(7, 7, 7\) cannot be compared"):
        metric(image[None], np.zeros((1, 7, 7, 7)))
    np.testing.assert_allclose(metrics.psnr(eight_bit / 255, (eight_bit - 190) / 255), 2.556, atol=0.001)
