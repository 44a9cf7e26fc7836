"""A name to uint8 training and test images.

`mnist`, `fashion_mnist` and `kmnist` are the original files, fetched by the download manager of TensorFlow Datasets and
checked against its registered SHA-256 digests; TensorFlow itself is not needed. `digits` is scikit-learn's copy of
1,797 real handwritten digits (E. Alpaydin, C. Kaynak 1998), 8x8 pixels in 17 greys, resampled to 28x28 with Pillow's
bicubic filter: 1,500 for training and 297 for test, divided by a fixed seed.
"""

import dataclasses
import functools
import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxdae.arguments import require_path
from jaxdae.data.idx import parse_idx_images, unpacked
from jaxdae.data.source import InMemory, Source, require_channels_last
from jaxdae.errors import InputError, require_name, shown
from jaxdae.paths import require_regular_file

Images = UInt8[np.ndarray, "example height width channel"]

DATASETS = ("digits", "mnist", "fashion_mnist", "kmnist")
IDX_FILES = {"train": "train-images-idx3-ubyte.gz", "test": "t10k-images-idx3-ubyte.gz"}
UNPACKED_SHA256 = {
    ("mnist", "train"): "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ("mnist", "test"): "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
}
"""Of the files without their gzip wrapping, which a copy may have lost or changed."""
TORCHVISION_FOLDERS = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw", "kmnist": "KMNIST/raw"}
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
        for images in both:
            if not isinstance(images, np.ndarray):
                raise InputError(f"images given as {shown(images)} cannot be used; give a NumPy array of type uint8")
        if self.name is not None and not isinstance(self.name, str):
            raise InputError(f"name {shown(self.name)} of a dataset is not allowed: give text, or leave it out")
        if any(
            images.dtype != np.uint8 or images.ndim != 4 or images.size == 0 or images.shape[1:] != self.train.shape[1:]
            for images in both
        ):
            shapes = " and ".join(f"{images.dtype} {images.shape}" for images in both)
            raise InputError(
                f"training and test images must be uint8 (example, height, width, channel) of one size, not {shapes}"
            )
        require_channels_last(self.train.shape)
        if self.train.max() == 1:
            raise InputError("no training image is brighter than 1 of 255; multiply images of zeros and ones by 255")

    noisy_test = None
    """What noise is added to, where that is not `test`."""
    pairs = None
    """Of pairs, what the targets are ("clean" or "noisy"); here all noise is made."""
    notes = ()
    """What was found, in words: nothing to say."""

    @property
    def image(self) -> tuple[int, int, int]:
        """The height, width and channels of an example."""
        return self.train.shape[1:]

    def describe(self) -> dict[str, Any]:
        """The entry in a run's configuration."""
        return {"dataset": self.name, "sha256": self.sha256, "image": list(self.image)}

    def sources(self, holdout: int = 0) -> tuple[Source, Source]:
        """What to train and to validate on: the last `holdout` training images, if it is 0 the test images."""
        if holdout == 0:
            return InMemory(self.train), InMemory(self.test)
        if holdout >= len(self.train):
            raise InputError(f"holdout {holdout} leaves nothing of {len(self.train)} training images; take fewer")
        return InMemory(self.train[:-holdout]), InMemory(self.train[-holdout:])

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
        manual_dir: a folder with files downloaded by hand, in `<manual_dir>/<name>/` or as torchvision keeps them
            (`MNIST/raw/`), gzipped or not; by default $JAXDAE_MANUAL_DIR.
        data_dir: where downloads are kept; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.

    InputError if the name is not known, a file is damaged, or it is neither here nor can be fetched.
    """
    if isinstance(name, os.PathLike) or (isinstance(name, str) and os.sep in name):
        raise InputError(f"dataset {str(name)!r} is a path; pictures of your own are read by read_own")
    require_name("dataset", name, DATASETS)
    for folder, path in (("manual_dir", manual_dir), ("data_dir", data_dir)):
        if path is not None:
            require_path(folder, path)
    if name == "digits":
        return _digits()
    manual_dir = manual_dir or os.environ.get("JAXDAE_MANUAL_DIR")
    if manual_dir and not Path(manual_dir).expanduser().is_dir():
        raise InputError(f"the manual folder {manual_dir} does not exist; give the one that holds {name}/")
    files = _idx_files(name, Path(manual_dir).expanduser() if manual_dir else None, data_dir)
    return ImageData(**{split: parse_idx_images(path, content) for split, (path, content) in files.items()}, name=name)


def _digits() -> ImageData:
    from PIL import Image
    from sklearn.datasets import load_digits

    small = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    resized = [np.asarray(Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC)) for image in small]
    images = np.stack(resized)[..., None][np.random.default_rng(0).permutation(len(resized))]
    return ImageData(images[:DIGITS_TRAIN], images[DIGITS_TRAIN:], "digits")


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
        by_hand = _by_hand(name, split, manual_dir) if manual_dir else None
        before = downloads / resource.get_dl_fname(url, digest)
        if by_hand:
            found[split] = by_hand, _verified(by_hand, name, split, digest)
        elif before.exists():
            try:
                found[split] = before, _verified(before, name, split, digest)
            except InputError as error:
                raise InputError(f"{error}; delete this download, and the next start fetches it again") from None
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


def _by_hand(name: str, split: str, manual_dir: Path) -> Path | None:
    """The file of a split, gzipped or not, wherever people keep it."""
    folders = (manual_dir / name, manual_dir / TORCHVISION_FOLDERS[name], manual_dir)
    zipped = IDX_FILES[split]
    paths = [folder / file for folder in folders for file in (zipped, zipped.removesuffix(".gz"))]
    for path in paths:
        require_regular_file(path)
    return next((path for path in paths if path.is_file()), None)


def _verified(path: Path, name: str, split: str, digest: str) -> bytes:
    """The content of a file; InputError if it is not the registered one, in whatever wrapping."""
    require_regular_file(path)
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual == digest:
        return content
    registered = UNPACKED_SHA256.get((name, split))
    if registered is not None and hashlib.sha256(unpacked(path, content)).hexdigest() == registered:
        return content
    images = parse_idx_images(path, content)
    raise InputError(
        f"{path} holds {len(images)} images of {images.shape[1]}x{images.shape[2]} pixels that are not {name}'s: "
        f"expected SHA-256 {digest}, got {actual}; from Python, train takes any images as ImageData(train, test)"
    )


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
