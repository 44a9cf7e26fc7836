"""Pairs of two noisy pictures, by name or of neighbouring frames: which is the input, and what is held out."""

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxdae.data import load_again, read_own
from jaxdae.data.source import Sample
from jaxdae.errors import InputError
from jaxdae.noise import Noise
from jaxdae.objectives import Noise2Noise
from jaxdae.rng import EVALUATION, Draws

RANDOM = np.random.default_rng(0)
FRAMES = RANDOM.integers(0, 256, (7, 12, 10), np.uint8)


def refused(sentence, *args, **kwargs):
    with pytest.raises(InputError, match=sentence) as error:
        read_own(*args, **kwargs)
    assert "\n" not in str(error.value)


def pairs_of(own):
    """The numbers of the frames (input, target) of the training and of the held-out pairs."""
    of = {frame.tobytes(): number for number, frame in enumerate(FRAMES)}
    return [
        [(of[a.tobytes()], of[b.tobytes()]) for a, b in zip(inputs, targets, strict=True)]
        for inputs, targets in zip(own.noisy, (own.train, own.held_out), strict=True)
    ]


def test_frames_of_a_stack_are_paired_with_the_next_and_no_held_out_frame_is_trained(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES[:5], photometric="minisblack")
    own = read_own(tmp_path / "a.tif", target="next")
    assert pairs_of(own) == [[(0, 1), (1, 2)], [(3, 4)]] and own.pairs == "noisy"
    assert pairs_of(read_own(tmp_path / "a.tif", target="next", held_out=0.6)) == [[(0, 1)], [(2, 3), (3, 4)]]
    assert "neighbouring frames" in own.notes[-1] and "a.tif:000003" in own.notes[-1]
    assert own.settings["target"] == "next" and load_again(own.describe()).describe() == own.describe()
    refused("has 5 frames, which leaves no two neighbours to train on", tmp_path / "a.tif", target="next", held_out=0.8)


def test_a_folder_of_frames_is_one_sequence_and_every_stack_is_one(tmp_path):
    for number in (0, 1):
        Image.fromarray(FRAMES[number]).save(tmp_path / f"f{number}.png")
    np.save(tmp_path / "f0stack.npy", FRAMES[2:5])
    np.save(tmp_path / "g.npy", FRAMES[5:7])
    assert pairs_of(read_own(tmp_path, target="next")) == [[(0, 1), (2, 3), (3, 4)], [(5, 6)]]
    (tmp_path / "below").mkdir()
    Image.fromarray(FRAMES[0]).save(tmp_path / "below" / "x.png")
    refused("below/x.png has no next frame; a sequence has at least two", tmp_path, target="next")
    Image.fromarray(FRAMES[0][:5]).save(tmp_path / "below" / "y.png")
    refused("the frames below/x.png and below/y.png have unequal sizes, 12x10 and 5x10", tmp_path, target="next")


def test_frames_of_a_sequence_have_one_range(tmp_path):
    deep = FRAMES.astype(np.uint16) * np.arange(1, 8)[:, None, None].astype(np.uint16)
    for number, frame in enumerate(deep[:5]):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    own = read_own(tmp_path, target="next", allow_motion=True)  # each is brighter than the one before
    low, high = np.percentile(deep[:5], (0.1, 99.9))
    assert own.stored == {"value_type": "uint16", "shared_range": [low, high]}
    for side, frames in ((own.noisy[0], deep[:2]), (own.train, deep[1:3]), (own.held_out, deep[4:5])):
        for mine, frame in zip(side, frames, strict=True):
            np.testing.assert_allclose(mine[..., 0], (frame - low) / (high - low), atol=1e-5)


def test_two_noisy_folders_are_pairs_without_a_clean_picture(tmp_path):
    for name, frames in (("a", FRAMES[:3]), ("b", FRAMES[3:6])):
        (tmp_path / name).mkdir()
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / name / f"{number}.png")
    own = read_own(tmp_path / "a", target=tmp_path / "b", noisy_target=True)
    assert pairs_of(own) == [[(0, 3), (1, 4)], [(2, 5)]] and own.pairs == "noisy"
    for source, number in zip(own.sources(), (1, 0), strict=True):
        sample = source.take(Draws(0, 1, number), number)
        assert sample.clean is None
        first, second = pairs_of(own)[number == 0][number]
        np.testing.assert_allclose(sample.noisy[..., 0], FRAMES[first] / np.float32(255), atol=1e-6)
        np.testing.assert_allclose(sample.other[..., 0], FRAMES[second] / np.float32(255), atol=1e-6)
    patched = read_own(tmp_path / "a", target=tmp_path / "b", noisy_target=True, patch=8).sources()[0]
    sample = patched.take(Draws(jnp.uint32(0), jnp.uint32(1), 0), 0)
    assert sample.clean is None and sample.noisy.shape == sample.other.shape == (8, 8, 1)
    (tmp_path / "b" / "1.png").unlink()
    refused("a/1.png has no pair of that name in .*b; add it", tmp_path / "a", target=tmp_path / "b", noisy_target=True)


def test_two_files_are_paired_picture_by_picture(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES[:3])
    tifffile.imwrite(tmp_path / "b.tif", FRAMES[3:6], photometric="minisblack")
    own = read_own(tmp_path / "a.npy", target=tmp_path / "b.tif", noisy_target=True)
    assert pairs_of(own) == [[(0, 3), (1, 4)], [(2, 5)]]
    np.save(tmp_path / "b.npy", FRAMES[3:5])
    refused("000002 has no pair of that name in .*b.npy", tmp_path / "a.npy", target=tmp_path / "b.npy")


def test_noise2noise_learns_from_the_noisy_picture_towards_the_other_and_adds_noise_only_if_asked():
    noisy, other = (jnp.full((4, 4, 1), value) for value in (0.3, 0.6))
    draws = Draws(jnp.uint32(0), jnp.uint32(EVALUATION), 0)
    silent = Noise2Noise().example(draws, Sample(None, noisy, other), Noise(level=(0.0, 0.0), clip=False))
    np.testing.assert_array_equal(silent.input, noisy)
    np.testing.assert_array_equal(silent.target, other)
    loud = Noise2Noise().example(draws, Sample(None, noisy, other), Noise(level=(0.1, 0.1), clip=False))
    assert np.std(loud.input) > 0.05
    np.testing.assert_array_equal(loud.target, other)
