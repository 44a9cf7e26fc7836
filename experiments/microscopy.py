"""Can a stack of noisy frames clean itself, without one clean image?

    python experiments/microscopy.py --stack field/micro/stack_16bit_5pages.tif

The frames show the same particles at rest. A U-Net learns from the first ones, each frame the input and the next one
the target (noise2noise), and denoises the last, beside filters and the packaged denoiser of photographs. The mean of
the other frames, brought to the mean brightness of the last, is what it should have become, but for its own noise,
whose variance is known and taken off. Writes results/microscopy/.
"""

import dataclasses
import itertools
import os
import time
from pathlib import Path
from typing import Any

import _figures as figures
import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd
from scipy import ndimage

import jaxdae
from jaxdae.data import pictures, read_own
from jaxdae.noise import check_noise
from jaxdae.training.member import check_members
from jaxdae.training.optimizers import Muon

MEMBER = jaxdae.Member(
    noise=check_noise(jaxdae.Noise(level=0.0, clip=False)),  # that of the camera is real
    model=jaxdae.UNet(width=16, depth=2),
    objective=jaxdae.Noise2Noise(),
    optimizer=Muon(learning_rate=0.003, schedule="one_cycle", ema_decay=0.99),
)
TRAIN = (
    "--dataset stack.tif --target next --augment --coverage {coverage} --epochs {epochs} --batch-size {batch_size} "
    "--objectives noise2noise --models unet --widths 16 --depths 2 --optimizers muon --learning-rates 0.003 "
    "--schedules one_cycle --ema-decays 0.99 --out runs/stack"
)
"""The same training by the command line."""
BATCH_SIZE = 16
ROWS = ("noisy", "gaussian, 2", "photos", "noise2noise", "mean of the others")


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    stack: Path = Path(os.environ.get("JAXDAE_MANUAL_DIR", ".")) / "field" / "micro" / "stack_16bit_5pages.tif"
    """A file of grey frames of a scene at rest."""
    epochs: int = 10
    """Passes of the training."""
    coverage: int = 16
    """How many times an epoch covers the area of the frames."""
    crop: tuple[int, int, int, int] = (280, 440, 0, 200)
    """Rows and columns of the figure: first, end, first, end."""
    run: Path = Path("runs/microscopy")
    """Run folder; a run in it is resumed."""
    out: Path = Path("results/microscopy")
    """Results folder: table, figure and README."""


def experiment(options: Options) -> None:
    """Trains on the first frames and denoises the last."""
    data = read_own(options.stack, target="next", augment=True, coverage=options.coverage)
    training = shell.Training(check_members(MEMBER), data, options.run, options.epochs, BATCH_SIZE)
    [run] = shell.train_or_resume([training])
    started = time.perf_counter()
    frames = np.stack(pictures.unit_scale(pictures.read(options.stack)))
    noisy, others = frames[-1], frames[:-1].mean(axis=0)
    step = float(noisy.mean() - others.mean())  # of the lamp or the camera, which is no fault of a denoiser
    others = others + step
    variance = float(np.mean([np.var(a - b) / 2 for a, b in itertools.pairwise(frames)]))
    denoised = everything(noisy, run.denoisers[0])
    particles = peaks(others)
    rows = [
        {"method": method} | scored(image, others, variance / (len(frames) - 1), particles)
        for method, image in denoised.items()
    ]
    tables.write_table(options.out, pd.DataFrame(rows))
    top, bottom, left, right = options.crop
    shown = denoised | {"mean of the others": others}
    shell.save_strip(options.out, {row: [np.clip(shown[row][top:bottom, left:right] / 2, 0, 1)] for row in ROWS})
    examples = data.sources()[0].examples
    report.write_about(
        options.out,
        report.provenance(report.duration(report.training_seconds(run, examples), started), "0"),
        frames=len(frames), trained=len(data.train) + 1, particles=len(particles), noise=variance**0.5,
        patches=examples * options.epochs, step=step,
        train=TRAIN.format(coverage=options.coverage, epochs=options.epochs, batch_size=BATCH_SIZE),
    )  # fmt: skip


def everything(noisy: np.ndarray, denoiser: jaxdae.Denoiser) -> dict[str, np.ndarray]:
    """The last frame by every method."""
    filters = {f"gaussian, {sigma}": ndimage.gaussian_filter(noisy, (sigma, sigma, 0)) for sigma in (1, 2)}
    return {
        "noisy": noisy,
        **filters,
        "median, 3x3": ndimage.median_filter(noisy, (3, 3, 1)),
        "photos": jaxdae.load_denoiser("photos")(noisy[None], mirrored=True)[0],
        "noise2noise": denoiser(noisy[None], mirrored=True)[0],
    }


def peaks(image: np.ndarray) -> np.ndarray:
    """(row, column) of particles: the maxima of 7x7 pixels that are above white."""
    grey = image[..., 0]
    return np.argwhere((grey == ndimage.maximum_filter(grey, 7)) & (grey > 1))


def scored(image: np.ndarray, others: np.ndarray, variance: float, particles: np.ndarray) -> dict[str, float]:
    """PSNR, of the background's range, to the noise-free frame; and how much of the particles' light is left."""
    error = float(np.mean((image - others) ** 2)) - variance

    def light(picture: np.ndarray) -> float:
        return float(np.mean(picture[particles[:, 0], particles[:, 1]]) - np.median(picture))

    return {"psnr": -10 * np.log10(max(error, 1e-9)), "light": light(image) / light(others)}


def publish(options: Options) -> None:
    """Draws the figure and writes the README from the table."""
    table, strip = pd.read_csv(options.out / tables.TABLE), shell.load_strip(options.out)
    images = np.concatenate([strip[row] for row in ROWS])
    figures.save_figures(options.out, {"frame": figures.crops({"": images}, ROWS)})
    shown: Any = table.set_index("method")
    shown["psnr"] = shown["psnr"].map("{:.2f}".format)
    shown["light"] = shown["light"].map("{:.0%}".format)
    by_psnr = list(table.sort_values("psnr", ascending=False)["method"])
    denoised = table[table["method"] != "noisy"]
    faithful = denoised["method"][(denoised["light"] - 1).abs().idxmin()]
    report.write_readme(
        options.out, "microscopy", table=shown.rename(columns={"psnr": "PSNR in dB", "light": "peaks that are left"}),
        **{role: {"method": method, **shown.loc[method]}
           for role, method in (("first", by_psnr[0]), ("second", by_psnr[1]), ("faithful", faithful))},
    )  # fmt: skip


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
