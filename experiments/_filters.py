"""Classical denoisers for comparisons with networks, tuned on training images only.

Each has one or two parameters, chosen from a small grid by mean PSNR, and comes raw (clipped to [0, 1]) or with one
curve, a monotone estimate of E[clean | output] pooled over all pixels. Clipped noise is biased, and the curve takes
that back: a table that quotes only raw filters flatters a network.

| name          | denoised                                                | source                            |
|---------------|---------------------------------------------------------|-----------------------------------|
| `identity`    | the noisy image                                         |                                   |
| `median`      | median of a square window                               | Tukey 1977                        |
| `gaussian`    | Gaussian blur                                           |                                   |
| `wiener`      | local mean, and a part of the deviation from it         | Lim 1990, p. 548                  |
| `tv`          | least total variation near the noisy image              | Rudin et al. 1992; Chambolle 2004 |
| `nlm`         | mean of pixels with like surroundings                   | Buades et al. 2005                |
| `wavelet`     | wavelet coefficients shrunk by BayesShrink              | Chang et al. 2000                 |
| `linear_mmse` | affine in all pixels, by least squares on training data | Kay 1993, ch. 12                  |
| `bm3d`        | like blocks filtered together                           | Dabov et al. 2007                 |

All but `linear_mmse` treat each channel by itself. The filters are those of SciPy and scikit-image; `bm3d` runs where
the user has installed that package, whose licence allows non-commercial use only.
"""

import dataclasses
import importlib.util
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Num
from scipy import ndimage, signal
from skimage import restoration
from sklearn.isotonic import IsotonicRegression

from jaxdae import metrics
from jaxdae.errors import InputError, require_name

Given = Num[Array | np.ndarray, "..."]
"""Images whose shape and type are checked at the door."""
Images = Float[np.ndarray, "image height width channel"]

TUNING_IMAGES = 200
"""Parameters and curves come from the first 200 training images, the weights of `linear_mmse` from the others."""
IMAGES_AT_ONCE = 4096
"""Images that are float64 at the same time."""


class Affine(NamedTuple):
    """An affine map of images: `mean_clean + weights.T (noisy - mean_noisy)`, all in float64."""

    mean_noisy: Float[np.ndarray, "height width channel"]
    mean_clean: Float[np.ndarray, "height width channel"]
    weights: Float[np.ndarray, "pixel pixel"]


class Curve(NamedTuple):
    """A monotone curve through points, linear between them and constant beyond them."""

    output: Float[np.ndarray, "point"]
    clean: Float[np.ndarray, "point"]


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
    """A denoiser that is ready for use."""

    name: str
    """A name in `FAMILIES`."""
    parameters: Mapping[str, int | float]
    """Those that were chosen."""
    affine: Affine | None = None
    """The fitted map of `linear_mmse`."""
    curve: Curve | None = None
    """The calibration; without it, the output is clipped to [0, 1]."""


def require_installed(name: str) -> None:
    """Raises InputError unless a denoiser is known and can be used here."""
    require_name("baseline", name, FAMILIES)
    if name == "bm3d" and importlib.util.find_spec("bm3d") is None:
        raise InputError("baseline bm3d needs the package bm3d, which is not installed: pip install bm3d")


def fit(name: str, clean: Given, noisy: Given) -> tuple[Baseline, Baseline]:
    """Tunes a denoiser on training images.

    Args:
        name: one of `FAMILIES`.
        clean: (image, height, width, channel) training images, float32 or float64 on the [0, 1] scale. Those
            beyond the first `TUNING_IMAGES` serve `linear_mmse` alone.
        noisy: the same images with noise, beyond [0, 1] only if it is not clipped.

    Returns:
        The best raw denoiser and the best one with a curve, by mean PSNR on the tuning images.

    Raises:
        InputError: the name is not known, a package is not installed, or the images cannot be used or are too few.
    """
    require_installed(name)
    clean, noisy = _checked(clean), _checked(noisy)
    if clean.shape != noisy.shape:
        raise InputError(f"clean images of shape {clean.shape} and noisy ones of {noisy.shape} are not pairs")
    tuning_clean, tuning_noisy = clean[:TUNING_IMAGES], noisy[:TUNING_IMAGES]
    raw, calibrated = [], []
    for candidate in _candidates(name, clean[TUNING_IMAGES:], noisy[TUNING_IMAGES:]):
        output = _filter(candidate, tuning_noisy)
        raw.append((_score(output, None, tuning_clean), candidate))
        curve = _calibrate(output, tuning_clean)
        calibrated.append((_score(output, curve, tuning_clean), dataclasses.replace(candidate, curve=curve)))
    best = operator.itemgetter(0)
    return max(raw, key=best)[1], max(calibrated, key=best)[1]


def apply(baseline: Baseline, noisy: Given) -> Images:
    """Denoises images.

    Args:
        baseline: from `fit`.
        noisy: (image, height, width, channel) floats like those that `fit` was given, each denoised by itself.

    Returns:
        The denoised images on the [0, 1] scale, of the same shape and type.

    Raises:
        InputError: a package is not installed, or the images cannot be used; `linear_mmse` takes only the size
            that it was fitted on.
    """
    require_installed(baseline.name)
    noisy = _checked(noisy)
    return _finish(_filter(baseline, noisy), baseline.curve).astype(noisy.dtype)


def _checked(given: Given) -> Images:
    images = np.asarray(given)
    usable = images.ndim == 4 and min(images.shape) > 0 and images.dtype in (np.float32, np.float64)
    if not (usable and np.isfinite(images).all()):
        raise InputError(
            "baselines take finite float32 or float64 images of shape (image, height, width, channel), got "
            f"{images.dtype} of shape {images.shape}; divide 8-bit images by 255"
        )
    return images


def _candidates(name: str, clean: Images, noisy: Images) -> Iterator[Baseline]:
    grid = FAMILIES[name].grid
    if name == "linear_mmse":
        for ridge, affine in zip(grid["ridge"], _fit_affine(clean, noisy, grid["ridge"]), strict=True):
            yield Baseline(name, {"ridge": ridge}, affine)
        return
    for values in itertools.product(*grid.values()):
        yield Baseline(name, dict(zip(grid, values, strict=True)))


def _fit_affine(clean: Images, noisy: Images, ridges: Sequence[float]) -> Iterator[Affine]:
    """Least squares from the centred normal equations; a ridge is added to the variance of every noisy pixel."""
    if not len(clean):
        raise InputError(f"linear_mmse needs more than {TUNING_IMAGES} training images")
    mean_noisy, mean_clean = (images.mean(0, dtype=np.float64) for images in (noisy, clean))
    pixels = mean_clean.size
    covariance, cross_covariance = np.zeros((2, pixels, pixels))
    for part in (slice(i, i + IMAGES_AT_ONCE) for i in range(0, len(clean), IMAGES_AT_ONCE)):
        y = (noisy[part] - mean_noisy).reshape(-1, pixels)
        x = (clean[part] - mean_clean).reshape(-1, pixels)
        covariance += y.T @ y / len(clean)
        cross_covariance += y.T @ x / len(clean)
    for ridge in ridges:
        weights = np.linalg.solve(covariance + ridge * np.eye(pixels), cross_covariance)
        yield Affine(mean_noisy, mean_clean, weights)


def _filter(baseline: Baseline, noisy: Images) -> Images:
    fitted = {} if baseline.affine is None else {"affine": baseline.affine}
    return FAMILIES[baseline.name].filter(noisy, **baseline.parameters, **fitted)


def _calibrate(output: Images, clean: Images) -> Curve:
    fitted = IsotonicRegression().fit(output.ravel().astype(np.float64), clean.ravel())
    return Curve(fitted.X_thresholds_, fitted.y_thresholds_)


def _score(output: Images, curve: Curve | None, clean: Images) -> float:
    return float(np.mean(metrics.psnr(_finish(output, curve), clean)))


def _finish(output: Images, curve: Curve | None) -> Images:
    return np.clip(output, 0, 1) if curve is None else np.interp(output, curve.output, curve.clean)


def _each_plane(function: Callable[[np.ndarray], np.ndarray], images: Images) -> Images:
    """Applies a function of (height, width) to every channel of every image."""
    planes = np.moveaxis(images, -1, 1)
    done = np.stack([function(plane) for plane in planes.reshape(-1, *images.shape[1:3])])
    return np.moveaxis(done.reshape(planes.shape), 1, -1)


def _wiener(noisy: Images, *, size: int, variance: float) -> Images:
    with np.errstate(divide="ignore", invalid="ignore"):  # where a window is flat; SciPy takes its mean there
        return _each_plane(lambda plane: signal.wiener(plane, size, variance), noisy)


def _nlm(noisy: Images, *, h: float) -> Images:
    return _each_plane(lambda plane: restoration.denoise_nl_means(plane, patch_size=5, patch_distance=6, h=h), noisy)


def _linear_mmse(noisy: Images, *, affine: Affine, ridge: float) -> Images:
    """The ridge is in the weights already."""
    size = affine.mean_noisy.shape
    if noisy.shape[1:] != size:
        raise InputError(f"linear_mmse was fitted on images of shape {size} and cannot denoise {noisy.shape[1:]}")
    deviation = (noisy - affine.mean_noisy).reshape(len(noisy), -1)
    return affine.mean_clean + (deviation @ affine.weights).reshape(noisy.shape)


def _bm3d(noisy: Images, *, sigma: float) -> Images:
    import bm3d

    return _each_plane(lambda plane: bm3d.bm3d(plane, sigma), noisy)


class Family(NamedTuple):
    """Denoisers that differ in the values of their parameters."""

    filter: Callable[..., Any]
    """Takes noisy images and the parameters; its output may leave [0, 1]."""
    grid: Mapping[str, tuple[int | float, ...]]
    """The values to choose from: brightness is on the [0, 1] scale, lengths are in pixels."""


FAMILIES: dict[str, Family] = {
    "identity": Family(lambda noisy: noisy, {}),
    "median": Family(lambda noisy, size: ndimage.median_filter(noisy, (1, size, size, 1)), {"size": (3, 5, 7)}),
    "gaussian": Family(
        lambda noisy, sigma: ndimage.gaussian_filter(noisy, (0, sigma, sigma, 0)),
        {"sigma": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5)},
    ),
    "wiener": Family(_wiener, {"size": (3, 5, 7), "variance": (0.003, 0.01, 0.03, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0)}),
    "tv": Family(
        lambda noisy, weight: _each_plane(lambda plane: restoration.denoise_tv_chambolle(plane, weight), noisy),
        {"weight": (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5)},
    ),
    "nlm": Family(_nlm, {"h": (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2)}),
    "wavelet": Family(
        lambda noisy, sigma: _each_plane(lambda plane: restoration.denoise_wavelet(plane, sigma), noisy),
        {"sigma": (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)},
    ),
    "linear_mmse": Family(_linear_mmse, {"ridge": (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)}),
    "bm3d": Family(_bm3d, {"sigma": (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)}),
}
