"""Value ranges: one for all that a file holds, for both sides of a pair, and the same as in `jaxdae denoise`."""

import numpy as np
import pytest
import tifffile

from jaxdae.data import load_again, pictures, read_own
from jaxdae.errors import InputError

RANDOM = np.random.default_rng(0)
DIM = RANDOM.integers(477, 564, (4, 20, 24)).astype(np.uint16)
"""Four frames of a dim 16-bit camera; the last is the brightest."""
DIM[3] += 60
DIM[0, 0, 0] = 9000


def percentiles(values):
    return np.percentile(values, pictures.PERCENTILES)


def unit(values, low, high):
    return (values.astype(np.float64) - low) / (high - low)


def refused(sentence, *args, **kwargs):
    with pytest.raises(InputError, match=sentence) as error:
        read_own(*args, **kwargs)
    assert "\n" not in str(error.value)


def test_the_range_is_measured_over_the_whole_file_and_nothing_is_clipped_to_it(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DIM, photometric="minisblack")
    np.save(tmp_path / "b.npy", DIM * 2)
    own = read_own(tmp_path, patch=8, held_out=0.5)
    low, high = percentiles(DIM)
    for mine, frame in zip((*own.train, *own.held_out), (*DIM, *DIM), strict=True):
        np.testing.assert_allclose(mine[..., 0], unit(frame, low, high), atol=1e-5)
    assert own.train[0].max() > 10, "a hot spot stays where it is"
    beyond = sum(int(((p < 0) | (p > 1)).sum()) for p in (*own.train, *own.held_out))
    assert own.beyond == beyond > 0 and f"{beyond} of {8 * 480} values lie beyond" in own.notes[-1]
    assert own.stored == {"value_type": "uint16", "shared_range": None}


def test_training_scales_a_file_as_denoise_does(tmp_path):
    for name, values in {
        "a": DIM,
        "b": DIM[:2].astype(np.float32) * 3 - 900,
        "c": DIM[:2].astype(np.int16) - 500,
    }.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="minisblack")
    tifffile.imwrite(tmp_path / "d.tif", DIM[0], photometric="miniswhite")
    own = read_own(tmp_path, patch=8)
    expected = [page for name in "abcd" for page in pictures.unit_scale(pictures.read(tmp_path / f"{name}.tif"))]
    for mine, page in zip((*own.train, *own.held_out), expected, strict=True):
        np.testing.assert_array_equal(mine, page)
    assert own.stored["value_type"] == "mixed"


def test_a_given_range_is_of_all_files_of_one_type(tmp_path):
    np.save(tmp_path / "a.npy", DIM)
    own = read_own(tmp_path, patch=8, value_range=(400, 700))
    np.testing.assert_allclose(own.train[0][..., 0], unit(DIM[0], 400, 700), atol=1e-5)
    assert own.describe()["value_range"] == [400, 700] and "400 and 700 stand for black and white" in own.notes[1]
    assert load_again(own.describe()).describe() == own.describe()
    refused("--range 700 400 is not allowed; give two numbers, the lower first", tmp_path, value_range=(700, 400))
    refused("--range 1 inf is not allowed", tmp_path, value_range=(1, np.inf))
    np.save(tmp_path / "b.npy", np.zeros((20, 24), np.uint8))
    refused(
        r"--range is for files of one type, here are uint16 \(a.npy:000000\) and uint8", tmp_path, value_range=(0, 9)
    )


def test_arrays_of_floats_from_0_to_1_are_on_that_scale_and_others_are_measured(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([np.full((8, 8), 0.2), np.full((8, 8), 0.7)]))
    own = read_own(tmp_path)
    assert own.train[0].max() == np.float32(0.2) and own.held_out[0].max() == np.float32(0.7) and own.beyond == 0
    beyond = np.linspace(-1, 3, 128).reshape(2, 8, 8)
    np.save(tmp_path / "a.npy", beyond)
    np.testing.assert_allclose(read_own(tmp_path).train[0][..., 0], unit(beyond[0], *percentiles(beyond)), atol=1e-5)


def test_both_sides_of_a_pair_have_the_range_of_the_input(tmp_path):
    noisy, clean = tmp_path / "noisy", tmp_path / "clean"
    for path, values in ((noisy, DIM), (clean, DIM // 2)):
        path.mkdir()
        np.save(path / "a.npy", values)
    own = read_own(noisy, target=clean, patch=8)
    low, high = percentiles(DIM)
    np.testing.assert_allclose(own.train[0][..., 0], unit(DIM[0] // 2, low, high), atol=1e-5)
    np.testing.assert_allclose(own.noisy[0][0][..., 0], unit(DIM[0], low, high), atol=1e-5)
    np.save(clean / "a.npy", DIM.astype(np.uint8))
    refused("the pair a.npy:000000 has values of type uint16 and uint8, which have no value range", noisy, target=clean)


def test_values_beyond_are_measured_and_clipped_only_where_the_noise_is(tmp_path):
    np.save(tmp_path / "a.npy", DIM)
    own = read_own(tmp_path, patch=8, value_range=(560, 600))
    assert own.test.min() == 0 and own.test.max() == 1 and own.noisy_test.min() < 0 and own.noisy_test.max() > 1
    np.testing.assert_array_equal(own.test, np.clip(own.noisy_test, 0, 1))
    assert all(source.beyond for source in own.sources())
