"""A name to uint8 training and test images.

`mnist`, `fashion_mnist` and `kmnist` are the original files, fetched by the download manager of TensorFlow Datasets and
checked against its registered SHA-256 digests; TensorFlow itself is not needed. `digits` is scikit-learn's copy of
1,797 real handwritten digits (E. Alpaydin, C. Kaynak 1998), 8x8 pixels in 17 greys, resampled to 28x28 with Pillow's
bicubic filter: 1,500 for training and 297 for test, divided by a fixed seed.
"""

import dataclasses
import functools
import gzip
import hashlib
import math
import os
import threading
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxdae.errors import InputError, require_name

Images = UInt8[np.ndarray, "example height width channel"]

DATASETS = ("digits", "mnist", "fashion_mnist", "kmnist")
IDX_FILES = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}
DIGITS_TRAIN = 1500


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A dataset in memory: clean images, 0..255."""

    train: Images
    test: Images
    name: str | None = None
    """By which `load` finds it; None for a user's own images."""

    def __post_init__(self) -> None:
        """Raises InputError unless both are 8-bit images of one size."""
        both = (self.train, self.test)
        if any(
            images.dtype != np.uint8 or images.ndim != 4 or images.size == 0 or images.shape[1:] != self.train.shape[1:]
            for images in both
        ):
            shapes = " and ".join(f"{images.dtype} {images.shape}" for images in both)
            raise InputError(
                f"training and test images must be uint8 (example, height, width, channel) of one size, not {shapes}"
            )

    @functools.cached_property
    def sha256(self) -> str:
        """The digest of the images and their shapes, by which a run knows them again."""
        digest = hashlib.sha256()
        for images in (self.train, self.test):
            digest.update(repr(images.shape).encode())
            digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()


def load(
    name: str, *, manual_dir: str | os.PathLike | None = None, data_dir: str | os.PathLike | None = None
) -> ImageData:
    """Loads a dataset: (example, height, width, channel) images for training and test.

    Args:
        name: one of `DATASETS`.
        manual_dir: a folder with files downloaded by hand, in `<manual_dir>/<name>/`; by default $JAXDAE_MANUAL_DIR.
        data_dir: where downloads are kept; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.

    InputError if the name is not known, a file is damaged, or it is neither here nor can be fetched.
    """
    require_name("dataset", name, DATASETS)
    if name == "digits":
        return _digits()
    manual_dir = manual_dir or os.environ.get("JAXDAE_MANUAL_DIR")
    if manual_dir and not Path(manual_dir).expanduser().is_dir():
        raise InputError(f"the manual folder {manual_dir} does not exist; give the one that holds {name}/")
    files = _idx_files(name, Path(manual_dir).expanduser() / name if manual_dir else None, data_dir)
    return ImageData(**{split: parse_idx_images(path, content) for split, (path, content) in files.items()}, name=name)


def _digits() -> ImageData:
    from PIL import Image
    from sklearn.datasets import load_digits

    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    resized = [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in small]
    images = np.stack(resized)[..., None][np.random.default_rng(0).permutation(len(resized))]
    return ImageData(images[:DIGITS_TRAIN], images[DIGITS_TRAIN:], "digits")


def parse_idx_images(path: Path, content: bytes) -> Images:
    """The images of a gzipped IDX file (magic number 2051); InputError, which names the path, if it is none."""
    try:
        content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged ({error}): expected a complete gzip file; delete it") from None
    header = np.frombuffer(content[:16].ljust(16, b"\0"), ">i4")
    shape = tuple(int(n) for n in header[1:])
    if header[0] != 2051 or len(content) != 16 + math.prod(shape):
        raise InputError(
            f"{path} is not an IDX file of images: expected magic number 2051 and 16 bytes more than its pixels, "
            f"got {header[0]} and {len(content)} bytes for {shape} pixels"
        )
    return np.frombuffer(content, np.uint8, offset=16).reshape(*shape, 1)


def _idx_files(name: str, manual_dir: Path | None, data_dir: str | os.PathLike | None) -> dict[str, tuple[Path, bytes]]:
    """The verified files of a dataset: downloaded by hand, downloaded before, or downloaded now."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import resource

    builder = tfds.builder_cls(name)
    data_dir = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    downloads = data_dir / "downloads"
    urls = {split: builder.URL + file for split, file in IDX_FILES.items()}
    found: dict[str, tuple[Path, bytes]] = {}
    missing = {}
    for split, url in urls.items():
        digest = builder.url_infos[url].checksum
        by_hand = manual_dir / IDX_FILES[split] if manual_dir else None
        before = downloads / resource.get_dl_fname(url, digest)
        path = by_hand if by_hand and by_hand.exists() else before
        if path.exists():
            found[split] = path, _verified(path, digest)
        else:
            missing[split] = url
    if missing:
        ways_out = (
            f"put {' and '.join(IDX_FILES[split] for split in missing)} into <folder>/{name}/ and give "
            "--manual-dir <folder> (or JAXDAE_MANUAL_DIR), or use the dataset digits, which needs no download"
        )
        _require_answer(next(iter(missing.values())), ways_out)
        manager = tfds.download.DownloadManager(
            download_dir=downloads, dataset_name=name, url_infos=builder.url_infos, force_checksums_validation=True
        )
        try:
            fetched = {split: Path(path) for split, path in manager.download(missing).items()}
        except Exception as error:  # TFDS passes on whatever its threads, requests and the disk raise
            raise InputError(f"{name} could not be downloaded ({type(error).__name__}: {error}); {ways_out}") from error
        found |= {split: (path, path.read_bytes()) for split, path in fetched.items()}
    return {split: found[split] for split in IDX_FILES}


def _verified(path: Path, digest: str) -> bytes:
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != digest:
        raise InputError(f"{path} is damaged or another file: expected SHA-256 {digest}, got {actual}; delete it")
    return content


def _require_answer(url: str, ways_out: str, *, seconds: float = 6.0) -> None:
    """Looks whether a server answers at all: TFDS would retry for minutes."""
    import requests

    problem: list[str] = ["no answer"]

    def look() -> None:
        try:
            requests.head(url, timeout=seconds)
            problem.clear()
        except requests.RequestException as error:
            problem[:] = [type(error).__name__]

    # In a thread, since looking up the server's name has no time-out of its own.
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    if problem:
        raise InputError(f"{url} cannot be reached ({problem[0]}): {ways_out}")
