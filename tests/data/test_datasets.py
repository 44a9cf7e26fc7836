"""Datasets, and what is said of a file that is not what it should be."""

import functools
import gzip
import os
import time
from pathlib import Path

import numpy as np
import pytest
import requests

from jaxdae.data import ImageData, datasets, load
from jaxdae.data import idx as idx_files
from jaxdae.data.idx import parse_idx_images
from jaxdae.errors import InputError

needs_mnist = pytest.mark.skipif(
    "JAXDAE_MANUAL_DIR" not in os.environ, reason="JAXDAE_MANUAL_DIR does not name a folder with mnist/"
)


def idx(images, magic=2051):
    header = np.array([magic, *images.shape], ">i4").tobytes()
    return gzip.compress(header + images.tobytes(), mtime=0)


def test_digits():
    digits = load("digits")
    assert digits.train.shape == (1500, 28, 28, 1) and digits.test.shape == (297, 28, 28, 1)
    assert digits.train.dtype == np.uint8 and digits.train.max() == 255 and digits.train.min() == 0
    np.testing.assert_array_equal(digits.train, load("digits").train)


@needs_mnist
def test_mnist():
    mnist = load("mnist")
    assert mnist.train.shape == (60000, 28, 28, 1) and mnist.test.shape == (10000, 28, 28, 1)
    assert mnist.train.dtype == np.uint8
    assert mnist.train.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(InputError, match="dataset 'minst' is not known; did you mean mnist"):
        load("minst")


def test_idx_images_are_read():
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(parse_idx_images(Path("a.gz"), idx(images)), images[..., None])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not gzip at all", "not an IDX file of images: expected magic number 2051"),
        (b"\x1f\x8bbroken", "damaged .*fetch it again"),
        (idx(np.zeros((9, 9, 9), np.uint8))[:-12], "damaged"),
        (gzip.compress(b"short", mtime=0), "expected magic number 2051"),
        (
            idx(np.zeros((5, 1, 1), np.uint8), magic=2049),
            "an IDX file of labels, in one dimension; give the one of images",
        ),
        (
            gzip.compress(np.array([2051, 2, 3, 4], ">i4").tobytes() + b"123", mtime=0),
            r"19 bytes for \(2, 3, 4\) pixels",
        ),
    ],
)
def test_a_damaged_file_is_named(content, sentence):
    with pytest.raises(InputError, match=f"^/files/a.gz is .*{sentence}"):
        parse_idx_images(Path("/files/a.gz"), content)


def test_another_file_by_hand_is_named_with_both_digests(tmp_path):
    file = tmp_path / "mnist" / datasets.IDX_FILES["train"]
    file.parent.mkdir()
    file.write_bytes(idx(np.zeros((2, 3, 4), np.uint8)))
    sentence = r"holds 2 images of 3x4 pixels that are not mnist's: expected SHA-256 440fcabf73cc5.*, got .*ImageData"
    with pytest.raises(InputError, match=sentence) as error:
        load("mnist", manual_dir=tmp_path)
    assert str(file) in str(error.value) and "delete" not in str(error.value)


@needs_mnist
@pytest.mark.parametrize(
    ("folder", "wrapping"),
    [("mnist", "original"), ("mnist", "gzipped again"), ("MNIST/raw", "unpacked"), (".", "gzipped again")],
)
def test_mnist_is_known_in_any_wrapping(folder, wrapping, tmp_path):
    original = Path(os.environ["JAXDAE_MANUAL_DIR"]) / "mnist"
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name in datasets.IDX_FILES.values():
        content = (original / name).read_bytes()
        if wrapping != "original":
            content = gzip.decompress(content)
        if wrapping == "gzipped again":
            content = gzip.compress(content, 1)
        (tmp_path / folder / (name.removesuffix(".gz") if wrapping == "unpacked" else name)).write_bytes(content)
    assert load("mnist", manual_dir=tmp_path).sha256 == load("mnist").sha256


@pytest.mark.parametrize("answer", [requests.ConnectionError(), None])
def test_off_line_one_sentence_names_the_ways_out(tmp_path, monkeypatch, answer):
    def head(*args, **kwargs):
        if answer is None:
            time.sleep(2)
        else:
            raise answer

    monkeypatch.setattr(requests, "head", head)
    monkeypatch.setattr(datasets, "_require_answer", functools.partial(datasets._require_answer, seconds=0.2))
    started = time.perf_counter()
    with pytest.raises(InputError, match="cannot be reached .*--manual-dir <folder> .*the dataset digits"):
        load("kmnist", manual_dir=tmp_path, data_dir=tmp_path)
    assert time.perf_counter() - started < 2
    assert not list(Path(tmp_path).iterdir())


IMAGES = np.zeros((2, 4, 4, 1), np.uint8)


@pytest.mark.parametrize(
    "broken", [IMAGES / 255, IMAGES[..., 0], IMAGES[:0], IMAGES[:, :3], np.repeat(IMAGES, 3, -1)], ids=str
)
def test_images_of_another_type_or_size_are_refused(broken):
    with pytest.raises(InputError, match="must be uint8 .* of one size, not uint8"):
        ImageData(IMAGES, broken)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.full((9, 1, 28, 28), 9, np.uint8), r"\(9, 1, 28, 28\) seem to have their 1 channels first; .*transpose"),
        (np.eye(28, dtype=np.uint8)[None, ..., None], "multiply images of zeros and ones by 255"),
    ],
)
def test_images_that_would_train_nonsense_are_refused(images, sentence):
    with pytest.raises(InputError, match=sentence):
        ImageData(images, images)


def test_the_digest_knows_images_shapes_and_splits():
    images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    digests = {
        ImageData(*data).sha256
        for data in [
            (images, IMAGES), (IMAGES, images), (images[::-1], IMAGES),
            (images.reshape(2, 2, 8, 1), IMAGES.reshape(2, 2, 8, 1)),
        ]
    }  # fmt: skip
    assert len(digests) == 4 and ImageData(images, IMAGES, "named").sha256 in digests
    assert ImageData(images[:, ::-1], IMAGES).sha256 == ImageData(images[:, ::-1].copy(), IMAGES).sha256


def test_a_gzip_file_that_unpacks_to_very_much_more_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(idx_files, "MOST_UNPACKED", 1000)
    assert idx_files.unpacked(Path("a.gz"), gzip.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(InputError, match="a.gz is not read: it would unpack to more than"):
        idx_files.unpacked(Path("a.gz"), gzip.compress(bytes(10**6)))
