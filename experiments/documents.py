"""Can two scanned pages teach a network to clean a third one?

    python experiments/documents.py --pages field/documents

The pages lie in noisy/ and clean/, by equal names. Each is cleaned by a U-Net trained on patches of the others, and by
division by its background (a median filter, no learning), beside a threshold, a small median filter and the packaged
denoisers. Trainings are resumed if they were stopped. Writes results/documents/.
"""

import dataclasses
import os
import shutil
import time
from pathlib import Path
from typing import Any

import _command
import _figures as figures
import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd
from scipy import ndimage
from skimage import filters

import jaxdae
from jaxdae import metrics
from jaxdae.data import pictures, read_own
from jaxdae.noise import check_noise
from jaxdae.training.member import check_members
from jaxdae.training.optimizers import Adam

MEMBER = jaxdae.Member(
    noise=check_noise(jaxdae.Noise(level=0.0)),  # that of the pages is real
    model=jaxdae.UNet(width=16, depth=2),
    objective=jaxdae.Supervised("mse"),
    optimizer=Adam(learning_rate=0.003, schedule="one_cycle", ema_decay=0.99),
)
ROWS = ("noisy", "background", "network", "clean")
WINDOW = 25
"""Side in pixels of the median filter that estimates a page's background: wider than any stroke, about one line."""


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    pages: Path = Path(os.environ.get("JAXDAE_MANUAL_DIR", ".")) / "field" / "documents"
    """Folder with noisy/ and clean/."""
    epochs: int = 16
    """Passes of each training."""
    coverage: int = 8
    """How many times an epoch covers the area of the pages."""
    crop: tuple[int, int, int, int] = (20, 100, 60, 300)
    """Rows and columns of the figure: first, end, first, end."""
    runs: Path = Path("runs/documents")
    """Folder of the run folders; runs in it are resumed."""
    out: Path = Path("results/documents")
    """Results folder: table, figure and README."""


def experiment(options: Options) -> None:
    """Trains without each page in turn, and cleans it."""
    names = sorted(path.name for path in (options.pages / "noisy").glob("*"))
    if len(names) < 2:
        raise jaxdae.InputError(f"{options.pages}/noisy holds {len(names)} pages; give --pages a folder of at least 2")
    trainings = [training(options, names, held_out) for held_out in names]
    runs = shell.train_or_resume(trainings)
    started, rows = time.perf_counter(), []
    shown: dict[str, np.ndarray] = {}
    for name, run in zip(names, runs, strict=True):
        noisy, clean = (page(options.pages / side / name) for side in ("noisy", "clean"))
        cleaned = everything(noisy, run.denoisers[0])
        rows += [{"page": name, "method": method} | scored(result, clean) for method, result in cleaned.items()]
        shown = {"clean": clean, **cleaned} if not is_repeated(options.pages, name, names) else shown
    top, bottom, left, right = options.crop
    crops = {row: [np.clip(shown[row][top:bottom, left:right], 0, 1)] for row in ROWS}
    shell.save_strip(options.out, crops)
    tables.write_table(options.out, pd.DataFrame(rows))
    examples = [t.data.sources()[0].examples for t in trainings]
    seconds = sum(report.training_seconds(run, count) for run, count in zip(runs, examples, strict=True))
    report.write_about(
        options.out,
        report.provenance(report.duration(seconds, started), "0"),
        patches=examples[0] * options.epochs,
        window=WINDOW,
        command=_command.train_command(trainings[0], "scans/noisy", "scans/clean", "runs/scans"),
        repeated=[name for name in names if is_repeated(options.pages, name, names)],
        pages=len(names),
    )


def training(options: Options, names: list[str], held_out: str) -> shell.Training:
    """The network that never saw a page, which is held out for validation: the last by name of copied files."""
    folder = options.runs / Path(held_out).stem
    for side in ("noisy", "clean"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for name in names:
            copy = folder / side / f"{'held-out' if name == held_out else 'a'}-{name}"
            if not copy.exists():
                shutil.copyfile(options.pages / side / name, copy)
    share = 1 / len(names)
    data = read_own(
        folder / "noisy",
        target=folder / "clean",
        colour="grey",
        augment=True,
        coverage=options.coverage,
        held_out=share,
    )
    return shell.Training(check_members(MEMBER), data, folder / "run", options.epochs, 16)


def divided_by_background(noisy: np.ndarray) -> np.ndarray:
    """A page over its median-filtered self, at most white: paper becomes white, letters keep their contrast."""
    background = ndimage.median_filter(noisy, (WINDOW, WINDOW, 1))
    return np.clip(noisy / np.maximum(background, 1e-3), 0, 1)


def page(path: Path) -> np.ndarray:
    """A grey page on the [0, 1] scale."""
    return pictures.unit_scale(pictures.read(path))[0][..., :1]


def is_repeated(pages: Path, name: str, names: list[str]) -> bool:
    """Whether another page has the same text: then the network has seen the letters, though not the stains."""
    clean = page(pages / "clean" / name)
    others = (page(pages / "clean" / other) for other in names if other != name)
    return any(clean.shape == other.shape and np.array_equal(clean, other) for other in others)


def everything(noisy: np.ndarray, denoiser: jaxdae.Denoiser) -> dict[str, np.ndarray]:
    """The page by every method."""
    digits, photos = map(jaxdae.load_denoiser, ("digits", "photos"))
    return {
        "noisy": noisy,
        "threshold": (noisy > filters.threshold_otsu(noisy)).astype(np.float32),
        "median": ndimage.median_filter(noisy, (3, 3, 1)),
        "digits, of the negative": 1 - digits(1 - noisy[None])[0],
        "photos": photos(noisy[None])[0],
        "background": divided_by_background(noisy),
        "network": denoiser(noisy[None])[0],
    }


def scored(result: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM and root mean squared error, after clamping to [0, 1]."""
    result = np.clip(result, 0, 1)
    scores = metrics.score(result[None], clean[None])
    rmse = float(np.sqrt(np.mean((result - clean) ** 2)))
    return {name: float(scores[name][0]) for name in ("psnr", "ssim")} | {"rmse": rmse}


def publish(options: Options) -> None:
    """Draws the figure and writes the README from the table."""
    table, strip = pd.read_csv(options.out / tables.TABLE), shell.load_strip(options.out)
    figures.save_figures(options.out, {"page": figures.crops({row: strip[row] for row in ROWS}, [""])})
    order = list(dict.fromkeys(table["method"]))
    wide: Any = table.pivot(index="method", columns="page", values=["psnr", "rmse", "ssim"]).loc[order]
    shown = pd.DataFrame(
        {
            f"{name}: {label}": wide[metric, name].map(lambda x, form=form: format(x, form))
            for name in dict.fromkeys(table["page"])
            for metric, label, form in (("psnr", "PSNR", ".2f"), ("rmse", "RMSE", ".3f"), ("ssim", "SSIM", ".3f"))
        }
    )
    repeated = report.read_about(options.out)["repeated"]
    unseen = [name for name in wide["psnr"] if name not in repeated]
    report.write_readme(
        options.out,
        "documents",
        table=shown,
        unseen={name: described(wide, name) for name in unseen},
        best_unseen=best(wide, unseen),
        best_seen=best(wide, repeated),
    )


def described(wide: Any, name: str) -> dict[str, str]:
    """The scores of every method on a page, in words."""
    return {method: f"{row['psnr', name]:.2f} dB and SSIM {row['ssim', name]:.3f}" for method, row in wide.iterrows()}


def best(wide: Any, names: list[str]) -> dict[str, str]:
    """The best method on some pages, by PSNR and by SSIM."""
    return {metric: wide[metric][names].mean(axis=1).idxmax() for metric in ("psnr", "ssim") if names}


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
