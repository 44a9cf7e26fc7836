"""How well is the noise level of a picture estimated, and does the check of a result find the wrong denoiser?

    python experiments/noise_level_estimates.py --photographs photos/bsd68 photos/set12

Adds noise of known levels to photographs, which are not part of the project, and to digits. Estimates it in every
picture, as clipped 8-bit values and unclipped, beside scikit-image. Denoises them by right and wrong denoisers. Writes
results/noise_level_estimates/.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd
from skimage.restoration import denoise_nl_means, denoise_wavelet, estimate_sigma

import jaxdae
from jaxdae.data import pictures
from jaxdae.evaluation import residual

CHECKS, OTHERS = "checks.csv", "others.csv"
SHEET = 20
"""Digits a side of a sheet."""


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    photographs: tuple[Path, ...] = ()
    """Folders of clean photographs."""
    photo_levels: tuple[float, ...] = (10, 25, 50)
    """Levels on the photographs, on the scale to 255."""
    digit_levels: tuple[float, ...] = (0.1, 0.25, 0.5)
    """Levels on the digits."""
    digits: int = 400
    """Single digits, the first test images; sheets of 400 have them too."""
    checked: int = 8
    """Pictures of each set that are denoised too, the first."""
    others: int = 12
    """Photographs of each set that have noise of other kinds too, the first."""
    out: Path = Path("results/noise_level_estimates")
    """Results folder: tables and README."""


def experiment(options: Options) -> None:
    """Estimates every level and checks every result."""
    began = time.perf_counter()
    sets = dict(_sets(options))
    if not (options.out / tables.TABLE).exists():
        rows = [row for name, (images, levels) in sets.items() for row in _estimates(name, images, levels)]
        tables.write_table(options.out, pd.DataFrame(rows))
    _require_same(options, sets)
    if not (options.out / CHECKS).exists():
        write_checks(options, sets)
    if options.photographs and not (options.out / OTHERS).exists():
        rows = [row for folder in options.photographs for row in _others(folder.name, sets[folder.name][0], options)]
        pd.DataFrame(rows).to_csv(options.out / OTHERS, index=False)
    minutes = f"{(time.perf_counter() - began) / 60:.0f} minutes since the last start"
    report.write_about(options.out, report.provenance(minutes, "the index of each picture (noise)"))


def publish(options: Options) -> None:
    """Writes the README from the tables."""
    table, checks = pd.read_csv(options.out / tables.TABLE), pd.read_csv(options.out / CHECKS)
    others = pd.read_csv(options.out / OTHERS) if (options.out / OTHERS).exists() else None
    report.write_readme(options.out, "noise_level_estimates", table=_summary(table), checks=_check_summary(checks),
                        others=None if others is None else _other_summary(others),
                        bounds=(residual.MOST, residual.LEAST, residual.CORRELATED))  # fmt: skip


def write_checks(options: Options, sets: dict[str, tuple[list[np.ndarray], tuple[float, ...]]]) -> None:
    """Denoises the first pictures of each set and writes what the check finds."""
    checks = [
        row for name, (images, levels) in sets.items() for row in _checks(name, images[: options.checked], levels)
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(checks).to_csv(options.out / CHECKS, index=False)


def _require_same(options: Options, sets: dict[str, tuple[list[np.ndarray], tuple[float, ...]]]) -> None:
    """Raises InputError if the table of a run that was stopped has other pictures or levels."""
    table = pd.read_csv(options.out / tables.TABLE)
    found = {(name, round(level, 6)): len(group) for (name, level), group in table.groupby(["images", "level"])}
    wanted = {(name, round(level, 6)): 2 * len(images) for name, (images, levels) in sets.items() for level in levels}
    if found != wanted:
        raise jaxdae.InputError(f"{options.out} has a table of other pictures or levels; remove it")


def _sets(options: Options) -> Iterator[tuple[str, tuple[list[np.ndarray], tuple[float, ...]]]]:
    """Clean grey images, and levels on the [0, 1] scale, by name."""
    for folder in options.photographs:
        files = sorted(path for path in folder.glob("*") if path.suffix in (".png", ".jpg", ".tif"))
        if not files:
            raise jaxdae.InputError(f"{folder} holds no photographs; choose other --photographs")
        images = [pictures.unit_scale(pictures.read(path))[0].mean(axis=-1) for path in files]
        yield folder.name, (images, tuple(level / 255 for level in options.photo_levels))
    digits = options.load().test[: max(options.digits, SHEET**2), ..., 0].astype(np.float32) / 255
    if len(digits) < SHEET**2:
        raise jaxdae.InputError(f"{options.dataset} has {len(digits)} test images; {SHEET**2} are needed")
    side = digits.shape[1] * SHEET
    sheets = [digits[: SHEET**2].reshape(SHEET, SHEET, *digits.shape[1:]).swapaxes(1, 2).reshape(side, side)]
    yield f"{options.dataset}, sheet of {SHEET**2}", (sheets, options.digit_levels)
    yield f"{options.dataset}, single", (list(digits[: options.digits]), options.digit_levels)


def _noisy(clean: np.ndarray, level: float, seed: int, clipped: bool) -> np.ndarray:
    noisy = clean + np.float32(level) * np.random.default_rng(seed).standard_normal(clean.shape, np.float32)
    return np.round(np.clip(noisy, 0, 1) * 255).astype(np.float32) / 255 if clipped else noisy


def _estimates(name: str, images: list[np.ndarray], levels: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    for level in levels:
        for clipped in (True, False):
            for index, clean in enumerate(images):
                noisy = _noisy(clean, level, index, clipped)
                found = jaxdae.estimate_noise_level(noisy)
                row = {"images": name, "level": level, "clipped": clipped, "image": index, "trusted": found.trusted}
                yield row | {"jaxdae": found.level / level, "scikit-image": estimate_sigma(noisy) / level}


def _denoisers() -> dict[str, Callable[[np.ndarray, float], np.ndarray]]:
    digits = jaxdae.load_denoiser("digits")
    return {
        "the packaged `digits`": lambda noisy, level: digits(noisy[None, ..., None])[0, ..., 0],
        "non-local means": lambda noisy, level: denoise_nl_means(noisy, 5, 5, 0.7 * level, sigma=level),
        "non-local means, told a third of the level": lambda noisy, level: denoise_nl_means(
            noisy, 5, 5, 0.7 * level / 3, sigma=level / 3
        ),
        "wavelets": lambda noisy, level: denoise_wavelet(noisy, sigma=level),
        "wavelets, told three times the level": lambda noisy, level: denoise_wavelet(noisy, sigma=3 * level),
    }


def _checks(name: str, images: list[np.ndarray], levels: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    denoisers = _denoisers()
    for level in levels:
        for index, clean in enumerate(images):
            noisy = _noisy(clean, level, index, clipped=True)
            found = jaxdae.estimate_noise_level(noisy)
            if not found.trusted:
                continue
            for denoiser, function in denoisers.items():
                denoised = np.asarray(function(noisy, level), np.float32)
                size, correlation = residual.removed(noisy[..., None], denoised[..., None], found.level)
                row = {"images": name, "level": level, "denoiser": denoiser, "image": index, "size": size}
                yield row | {"correlation": correlation, "warned": residual.fault(size, correlation) is not None}


OTHER_NOISE: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "photons, 30 at white": lambda clean, draw: draw.poisson(30 * clean) / 30,
    "photons, 100 at white": lambda clean, draw: draw.poisson(100 * clean) / 100,
    "photons, 255 at white": lambda clean, draw: draw.poisson(255 * clean) / 255,
    "speckle, 0.1": lambda clean, draw: clean * (1 + 0.1 * draw.standard_normal(clean.shape)),
    "speckle, 0.3": lambda clean, draw: clean * (1 + 0.3 * draw.standard_normal(clean.shape)),
    "0.01, before a gamma of 2.2": lambda clean, draw: _before_gamma(clean, 0.01, draw),
    "0.05, before a gamma of 2.2": lambda clean, draw: _before_gamma(clean, 0.05, draw),
}
"""Noise whose level depends on the brightness; the last kind is that of cameras, in linear light."""


def _before_gamma(clean: np.ndarray, level: float, draw: np.random.Generator) -> np.ndarray:
    return np.clip(clean**2.2 + level * draw.standard_normal(clean.shape), 0, 1) ** (1 / 2.2)


def _others(name: str, images: list[np.ndarray], options: Options) -> Iterator[dict[str, Any]]:
    """What is estimated of noise that has no single level, against its root mean square in the file."""
    for kind, function in OTHER_NOISE.items():
        for index, clean in enumerate(images[: options.others]):
            noisy = function(clean.astype(np.float64), np.random.default_rng(index))
            noisy = np.round(np.clip(noisy, 0, 1) * 255).astype(np.float32) / 255
            found = jaxdae.estimate_noise_level(noisy)
            verdict = "trusted" if found.trusted else "depends" if found.usable else "refused"
            ratio = found.level / float(np.sqrt(np.mean((noisy - clean) ** 2)))
            yield {"images": name, "noise": kind, "image": index, "verdict": verdict, "ratio": ratio}


def _other_summary(others: pd.DataFrame) -> pd.DataFrame:
    """For each set and kind: what is said of the pictures, and the errors of the levels that are given."""
    rows = []
    for (name, kind), group in others.groupby(["images", "noise"], sort=False):
        row: dict[str, Any] = {"images": name, "noise": kind}
        for verdict in ("depends", "refused", "trusted"):
            chosen = group[group["verdict"] == verdict]
            row[verdict] = f"{len(chosen)} of {len(group)}"
            if verdict != "refused":
                errors = 100 * (chosen["ratio"] - 1)
                shown = f"{errors.min():+.0f} to {errors.max():+.0f} %" if len(chosen) else ""
                row[f"error where it {'depends' if verdict == 'depends' else 'is trusted'}"] = shown
        rows.append(row)
    return pd.DataFrame(rows).set_index("images")


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """For each set and level: how many are trusted, and the errors of those; scikit-image on the same pictures."""
    rows = []
    for (name, level, clipped), group in table.groupby(["images", "level", "clipped"], sort=False):
        kept = group[group["trusted"]]
        row = {"images": name, "level": _level(level), "values": "8-bit" if clipped else "unclipped"}
        row["trusted"] = f"{len(kept)} of {len(group)}"
        for method in ("jaxdae", "scikit-image"):
            errors = 100 * (kept[method] - 1)
            worst = errors.loc[errors.abs().idxmax()] if len(kept) else np.nan
            row |= {f"{method}: median": f"{errors.median():+.1f} %", "worst": f"{worst:+.1f} %"} if len(kept) else {}
            row[f"{method}: worst"] = row.pop("worst", "")
            row[f"{method}: within 10 %"] = f"{100 * (errors.abs() < 10).mean():.0f} %" if len(kept) else ""
        rows.append(row)
    return pd.DataFrame(rows).set_index("images")


def _check_summary(checks: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (name, denoiser, level), group in checks.groupby(["images", "denoiser", "level"], sort=False):
        row = {"images": name, "denoiser": denoiser, "level": _level(level)}
        for column in ("size", "correlation"):
            row[column] = f"{group[column].min():.2f} to {group[column].max():.2f}"
        rows.append(row | {"warned": f"{group['warned'].sum()} of {len(group)}"})
    return pd.DataFrame(rows).set_index("images")


def _level(level: float) -> str:
    return f"{level:.3g} ({255 * level:.0f} of 255)"


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
