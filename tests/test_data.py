"""Datasets, and what is said of a file that is not what it should be."""

import gzip
import os
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from jaxdae import data
from jaxdae.config import InputError

needs_mnist = pytest.mark.skipif(
    "JAXDAE_MANUAL_DIR" not in os.environ, reason="JAXDAE_MANUAL_DIR does not name a folder with mnist/"
)


def idx(images, magic=2051):
    header = np.array([magic, *images.shape], ">i4").tobytes()
    return gzip.compress(header + images.tobytes())


def test_digits():
    digits = data.load("digits")
    assert digits.train.shape == (1500, 28, 28, 1) and digits.test.shape == (297, 28, 28, 1)
    assert digits.train.dtype == np.uint8 and digits.train.max() == 255 and digits.train.min() == 0
    np.testing.assert_array_equal(digits.train, data.load("digits").train)


@needs_mnist
def test_mnist():
    mnist = data.load("mnist")
    assert mnist.train.shape == (60000, 28, 28, 1) and mnist.test.shape == (10000, 28, 28, 1)
    assert mnist.train.dtype == np.uint8
    assert mnist.train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match="dataset 'minst' is not known; did you mean mnist"):
        data.load("minst")


def test_idx_images_are_read(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a.gz").write_bytes(idx(images))
    np.testing.assert_array_equal(data.read_idx_images(tmp_path / "a.gz"), images[..., None])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not gzip at all", "is damaged .*expected a complete gzip file"),
        (idx(np.zeros((9, 9, 9), np.uint8))[:-12], "is damaged"),
        (gzip.compress(b"short"), "expected magic number 2051"),
        (idx(np.zeros((5, 1, 1), np.uint8), magic=2049), "got 2049"),
        (gzip.compress(np.array([2051, 2, 3, 4], ">i4").tobytes() + b"123"), r"19 bytes for \(2, 3, 4\) pixels"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, sentence):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(InputError, match=sentence) as error:
        data.read_idx_images(tmp_path / "a.gz")
    assert str(tmp_path / "a.gz") in str(error.value)


def test_another_file_by_hand_is_named_with_both_digests(tmp_path):
    file = tmp_path / "mnist" / data.IDX_FILES["train"]
    file.parent.mkdir()
    file.write_bytes(idx(np.zeros((2, 3, 4), np.uint8)))
    with pytest.raises(InputError, match="expected SHA-256 440fcabf73cc5.*, got") as error:
        data.load("mnist", manual_dir=tmp_path)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("answer", [requests.ConnectionError(), None])
def test_off_line_one_sentence_names_the_ways_out(tmp_path, monkeypatch, answer):
    def head(*args, **kwargs):
        if answer is None:
            time.sleep(8)
        else:
            raise answer

    monkeypatch.setattr(requests, "head", head)
    started = time.perf_counter()
    with pytest.raises(InputError, match="cannot be reached .*--manual-dir <folder> .*the dataset digits"):
        data.load("kmnist", manual_dir=tmp_path, data_dir=tmp_path)
    assert time.perf_counter() - started < 10
    assert not list(Path(tmp_path).iterdir())
