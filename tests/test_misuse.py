"""What cannot be meant is refused at the door, in one sentence that names the argument, whatever its type."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from misuses import BYTES, DENOISER, FLOATS, FREE, MISUSES, NOISE

import jaxdae
from jaxdae.data.source import require_noisy_scale
from jaxdae.errors import InputError, shown
from jaxdae.evaluation.doors import require_noisy
from jaxdae.models.denoiser import About
from jaxdae.noise import CORRUPTIONS, Noise
from jaxdae.runs.folder import Config, as_json, check_loop
from jaxdae.training import Member, check_member


@pytest.mark.parametrize("name", MISUSES)
def test_a_misuse_is_refused_in_one_sentence(unchecked_types, name):
    call, words = MISUSES[name]
    with pytest.raises(InputError, match=words) as error:
        call()
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_numbers_of_numpy_are_settings_like_those_of_python(unchecked_types):
    numpy = Member(
        seed=np.int64(3),
        noise=Noise(level=(np.float32(0.25), np.array(0.5)), clip=np.bool_(False), redraw=np.array(True)),
        model=jaxdae.ConvAutoencoder(width=(np.int32(4), jnp.int32(4)), depth=np.array(2)),
        optimizer=jaxdae.Adam(np.float64(0.5), schedule=np.str_("cosine")),
    )
    python = Member(
        seed=3,
        noise=Noise(level=(0.25, 0.5), clip=False, redraw=True),
        model=jaxdae.ConvAutoencoder(width=(4, 4), depth=2),
        optimizer=jaxdae.Adam(0.5, schedule="cosine"),
    )
    member = check_member(numpy)
    assert member == check_member(python)
    loop = check_loop(jaxdae.Loop(epochs=np.array(2), evaluation_seed=np.uint32(1)), [member])
    text = json.dumps(as_json(Config((member,), loop, {})))
    assert text == json.dumps(as_json(Config((check_member(python),), jaxdae.Loop(epochs=2, evaluation_seed=1), {})))
    about = About(NOISE, np.int64(1), size=(np.int32(8), np.int64(8)), seed=np.uint32(5))
    assert json.dumps([about.channels, about.size, about.seed]) == "[1, [8, 8], 5]"


def test_settings_of_own_images_from_numpy_can_be_written_and_read_again():
    images = jaxdae.read_own("photos", patch=np.int64(64), augment=np.bool_(True), held_out=np.float32(0.25))
    described = json.loads(json.dumps(images.describe()))
    assert (described["patch"], described["augment"], described["held_out"]) == (64, True, 0.25)
    assert jaxdae.data.load_again(described).sha256 == images.sha256


def test_the_strongest_noise_is_taken_for_what_it_is():
    highest = max(corruption.highest for corruption in CORRUPTIONS.values())
    draw = np.random.default_rng(0)
    require_noisy_scale(1 + highest * draw.normal(size=10**6))
    require_noisy_scale(highest**2 * draw.poisson(1 / highest**2, size=10**6))


def test_hot_pixels_and_values_beyond_are_no_other_scale():
    image = FLOATS[:1, :8, :8].copy()
    image[0, :2, 0] = 500.0
    require_noisy_scale(image)
    image[0, :4, 0] = 500.0
    with pytest.raises(InputError, match="divide by the value of white"):
        require_noisy_scale(image)


def test_images_of_two_types_are_pairs_where_both_scales_are_known():
    require_noisy(BYTES, FLOATS)
    require_noisy(FLOATS * 3 - 1, BYTES)


def test_doubtful_values_are_denoised_with_a_warning(caplog):
    FREE(FLOATS * 3)
    assert not caplog.records
    FREE(FLOATS * 20)
    assert "far beyond [0, 1]" in caplog.text and "divide by its value" in caplog.text


def test_a_list_of_images_is_denoised_like_an_array():
    np.testing.assert_array_equal(DENOISER(list(FLOATS)), DENOISER(FLOATS))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((2, 3)), "an array of type float64 and shape (2, 3)"),
        ([0.5, 1], "[0.5, 1]"),
        ([[1]], "a list of 1 values"),
        ({"a": 1}, "a dict"),
        (jaxdae.UNet, "the class UNet"),
        (jaxdae.UNet(), "a UNet"),
        (jaxdae.Adam(), "an Adam"),
        (None, "None"),
        ("x" * 1000, f"'{'x' * 79}..."),
        (np.float32(0.5), "np.float32(0.5)"),
    ],
)
def test_any_value_is_shown_on_one_short_line(value, words):
    assert shown(value) == words
