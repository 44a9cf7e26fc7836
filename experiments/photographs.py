"""How good are blind denoisers of photographs: the packaged one, the same recipe on the field's pictures, and DnCNN?

    python experiments/photographs.py --pictures photos                          # train400/, bsd68/, set12/ in photos/
    python experiments/photographs.py --pictures photos --parts train --trainings photos      # the packaged one alone
    python experiments/photographs.py --pictures photos --epochs 1 --coverage 1 --limit 2     # a quick try

Trains one recipe on the embedded photographs and on Train400, and a DnCNN on Train400, all on Gaussian noise of 0 to 55
of 255 without clipping; measures them on BSD68 and Set12 beside BM3D, non-local means and total variation. Trainings
are resumed if they were stopped. Each part writes its own table into results/photographs/; `--parts ship` makes the
first network the packaged denoiser `photos`, `--parts card` writes the card of the packaged one again.
"""

import concurrent.futures
import dataclasses
import importlib.util
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import _eight_bit as eight_bit
import _figures as figures
import _file_facts as file_facts
import _overlap as overlap
import _photographs_card as photographs_card
import _report as report
import _shell as shell
import jax
import numpy as np
import pandas as pd
from skimage import restoration

import jaxdae
from jaxdae import metrics
from jaxdae.data import pictures, read_own
from jaxdae.data.photographs import PHOTOGRAPHS
from jaxdae.exchange.packaged import HOME, load_denoiser
from jaxdae.exchange.saved import save_denoiser
from jaxdae.models import count_parameters
from jaxdae.noise import check_noise
from jaxdae.training.optimizers import Muon

Part = Literal["train", "networks", "baselines", "files", "overlap", "cost", "ship", "card"]
SETS = ("bsd68", "set12")
NOISE = check_noise(jaxdae.Noise(level=(0.0, 55 / 255), clip=False))
RECIPE = jaxdae.Member(
    noise=NOISE,
    model=jaxdae.UNet(width=48, depth=2, repeat=2),
    objective=jaxdae.Supervised("log_mse"),
    optimizer=Muon(learning_rate=0.003, schedule="one_cycle", ema_decay=0.999),
)
DNCNN = dataclasses.replace(RECIPE, model=jaxdae.DnCNN(width=64, depth=20))
TRAININGS: dict[str, tuple[jaxdae.Member, str, int]] = {
    "photos": (RECIPE, "photos", 100),
    "train400": (RECIPE, "train400", 32),
    "dncnn": (DNCNN, "train400", 32),
}
"""Member, pictures, and how many times an epoch covers their area: about 92,000 patches of 64x64."""
PUBLISHED = {
    "BM3D": (31.07, 28.57, 25.62),
    "DnCNN-S": (31.73, 29.23, 26.23),
    "DnCNN-B": (31.61, 29.16, 26.23),
}
"""PSNR on BSD68 at 15, 25 and 50 of 255 (Zhang et al. 2017, arXiv 1608.03981)."""
TV_WEIGHTS = (0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
"""Times the noise level; the best on ten pictures of Train400 is taken."""
COST_SIDE = 2048
CROP_LEVELS = (25, 50)
ROWS = ("noisy", "denoised")
SEEDS = "0 (models), (level, picture) (noise)"


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    pictures: Path | None = None
    """Folder with train400/, bsd68/ and set12/; by default $JAXDAE_MANUAL_DIR/photos."""
    parts: tuple[Part, ...] = ("train", "networks", "baselines", "files", "overlap", "cost")
    """What to do; the tables of other parts stay."""
    trainings: tuple[str, ...] = tuple(TRAININGS)
    """Which networks."""
    epochs: int = 16
    """Passes of the recipe."""
    dncnn_epochs: int = 8
    """Passes of DnCNN."""
    coverage: int | None = None
    """In place of the coverage of all trainings, for a quick try."""
    levels: tuple[int, ...] = (15, 25, 50)
    """Noise levels of the test pictures, of 255."""
    limit: int | None = None
    """Only the first pictures of each set."""
    baselines: tuple[str, ...] = ("tv", "nlm", "bm3d")
    """Classical denoisers, which are told the level; bm3d's licence allows non-commercial use only."""
    runs: Path = Path("runs/photographs")
    """Folder of the run folders; runs in it are resumed."""
    out: Path = Path("results/photographs")
    """Results folder: tables, figure and README."""

    @property
    def home(self) -> Path:
        """The folder of the pictures."""
        return self.pictures or Path(os.environ.get("JAXDAE_MANUAL_DIR", ".")) / "photos"


def experiment(options: Options) -> None:
    """Does the parts, each with a table of its own."""
    check(options)
    options.out.mkdir(parents=True, exist_ok=True)
    if "train" in options.parts:
        trainings = [training(options, name) for name in options.trainings]
        write_trained(options, trainings, shell.train_or_resume(trainings))
    parts: dict[str, Callable[[Options], list[dict[str, Any]]]] = {
        "networks": network_rows, "baselines": baseline_rows, "cost": cost_rows,
    }  # fmt: skip
    for name, rows in parts.items():
        if name in options.parts:
            started = time.perf_counter()
            pd.DataFrame(rows(options)).to_csv(options.out / f"{name}.csv", index=False)
            minutes = f"{(time.perf_counter() - started) / 60:.0f} minutes"
            report.write_about(options.out / name, report.provenance(minutes, SEEDS))
    if "files" in options.parts:
        measure_files(options)
    if "overlap" in options.parts:
        look_for_overlap(options)
    if {"ship", "card"} & {*options.parts}:
        denoiser = shipped(options) if "ship" in options.parts else load_denoiser("photos")
        card = photographs_card.card(options.out)
        save_denoiser(denoiser, HOME / "photos", card=card, dtype="float16", overwrite=True)
    if "networks" in options.parts and "photos" in options.trainings:
        save_figure_images(options)


def check(options: Options) -> None:
    """Raises InputError for what would fail after the training."""
    for name in options.trainings:
        jaxdae.errors.require_name("training", name, TRAININGS)
    bm3d = "files" in options.parts or ("bm3d" in options.baselines and "baselines" in options.parts)
    if bm3d and importlib.util.find_spec("bm3d") is None:
        raise jaxdae.InputError("baseline bm3d needs the package bm3d, which is not installed: pip install bm3d")
    needed = {TRAININGS[name][1] for name in options.trainings if "train" in options.parts} - {"photos"}
    tested = {"networks", "baselines", "files", "overlap"} & {*options.parts}
    for folder in {*needed, *(SETS if tested else ())}:
        if not (options.home / folder).is_dir():
            raise jaxdae.InputError(f"{options.home / folder} does not exist; give its parent as --pictures")


def training(options: Options, name: str) -> shell.Training:
    """A network of the comparison."""
    member, source, coverage = TRAININGS[name]
    data = read_own(
        source if source == "photos" else options.home / source,
        patch=64, augment=True, coverage=options.coverage or coverage,
    )  # fmt: skip
    epochs = options.dncnn_epochs if name == "dncnn" else options.epochs
    members = jaxdae.training.member.check_members(member)
    return shell.Training(members, data, options.runs / name, epochs, 64)


def denoiser_of(options: Options, name: str) -> jaxdae.Denoiser:
    """A trained network; the one of the embedded photographs with its parameters as the package ships them."""
    denoiser = jaxdae.load_run(options.runs / name).denoisers[0]
    if name != "photos":
        return denoiser
    rounded = jax.tree.map(lambda leaf: np.asarray(leaf, np.float16).astype(np.float32), denoiser.params)
    return dataclasses.replace(denoiser, params=rounded)


def shipped(options: Options) -> jaxdae.Denoiser:
    """The network of the embedded photographs, as a user knows it."""
    denoiser = jaxdae.load_run(options.runs / "photos").denoisers[0]
    origin = "embedded photographs, blind for Gaussian noise of 0 to 55 of 255"
    return dataclasses.replace(denoiser, about=dataclasses.replace(denoiser.about, origin=origin))


def test_pictures(options: Options) -> list[tuple[str, str, np.ndarray]]:
    """(set, name, picture on the [0, 1] scale) of all test pictures."""
    return [
        (name, path.stem, pictures.unit_scale(pictures.read(path))[0].astype(np.float64))
        for name in SETS
        for path in sorted((options.home / name).glob("*.png"))[: options.limit]
    ]


def add_noise(clean: np.ndarray, level: int, index: int) -> np.ndarray:
    """Gaussian noise, not clipped, by NumPy: anyone can repeat it."""
    return clean + level / 255 * np.random.default_rng((level, index)).standard_normal(clean.shape)


def scored(denoised: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM, after clamping to [0, 1]."""
    pair = np.clip(denoised, 0, 1)[None].astype(np.float32), clean[None].astype(np.float32)
    return {name: float(values[0]) for name, values in metrics.score(*pair).items() if name in ("psnr", "ssim")}


def network_rows(options: Options) -> list[dict[str, Any]]:
    """Every network and the noisy picture, on every picture at every level."""
    rows = []
    networks = {name: denoiser_of(options, name) for name in options.trainings}
    for level in options.levels:
        for index, (of, name, clean) in enumerate(test_pictures(options)):
            noisy = add_noise(clean, level, index)
            keys = {"set": of, "picture": name, "level": level}
            rows.append(keys | {"denoiser": "noisy"} | scored(noisy, clean))
            for label, denoiser in networks.items():
                rows.append(
                    keys
                    | {"denoiser": label}
                    | scored(denoiser(noisy[None].astype(np.float32), mirrored=True)[0], clean)
                )
    return rows


def measure_files(options: Options) -> None:
    """The pictures as 8-bit files through the packaged denoiser and BM3D, a row at a time, and a black one."""
    started = time.perf_counter()
    black = np.zeros((eight_bit.BLACK_SIDE, eight_bit.BLACK_SIDE, 1))
    means = {level: eight_bit.black_means(level, add_noise(black, level, 0)) for level in options.levels}
    unfinished = report.provenance("stopped before its end", SEEDS)
    report.write_about(options.out / "files", unfinished, black=means)
    jobs = []
    for index, (of, name, clean) in enumerate(test_pictures(options)):
        for level in options.levels:
            noisy = add_noise(clean, level, index)
            jobs += [eight_bit.Job(of, name, level, label, clean, noisy) for label in eight_bit.DENOISERS]
    eight_bit.measure(jobs, options.out / "files.csv")
    minutes = f"{(time.perf_counter() - started) / 60:.0f} minutes"
    report.write_about(options.out / "files", report.provenance(minutes, SEEDS), black=means)


def look_for_overlap(options: Options) -> None:
    """How alike each test picture is to the training photograph that is most like it."""
    started, embedded = time.perf_counter(), read_own("photos").train
    names = [*PHOTOGRAPHS][: len(embedded)]  # the last ones are held out
    train = {name: overlap.sizes(picture[..., 0]) for name, picture in zip(names, embedded, strict=True)}
    rows = []
    for of, name, clean in test_pictures(options):
        other, correlation = overlap.most_alike(overlap.sizes(clean[..., 0]), train)
        rows.append({"set": of, "picture": name, "most_alike": other, "correlation": correlation})
    pd.DataFrame(rows).to_csv(options.out / "overlap.csv", index=False)
    parts = {name: overlap.control(picture[..., 0]) for name, picture in zip(names, embedded, strict=True)}
    minutes = f"{(time.perf_counter() - started) / 60:.0f} minutes"
    report.write_about(options.out / "overlap", report.provenance(minutes, "none"), parts=parts)


def baseline_rows(options: Options) -> list[dict[str, Any]]:
    """Every classical denoiser on every picture at every level, on all cores."""
    os.environ["OMP_NUM_THREADS"] = "1"
    weights = tv_weights(options) if "tv" in options.baselines else {}
    jobs = [
        (label, clean, level, index, weights.get(level, 0.0), {"set": of, "picture": name, "level": level})
        for label in options.baselines
        for level in options.levels
        for index, (of, name, clean) in enumerate(test_pictures(options))
    ]
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), context) as pool:
        outputs = pool.map(filtered, *zip(*[job[:5] for job in jobs], strict=True))
        return [
            job[5] | {"denoiser": job[0]} | scored(output, job[1]) for job, output in zip(jobs, outputs, strict=True)
        ]


def filtered(name: str, clean: np.ndarray, level: int, index: int, tv_weight: float) -> np.ndarray:
    """A noisy picture through a classical denoiser that knows the level."""
    noisy, sigma = add_noise(clean, level, index)[..., 0], level / 255
    if name == "bm3d":
        import bm3d

        return bm3d.bm3d(noisy, sigma).reshape(clean.shape)
    if name == "nlm":
        settings: Any = {"patch_size": 5, "patch_distance": 6, "h": 0.8 * sigma, "sigma": sigma}
        return restoration.denoise_nl_means(noisy, **settings)[..., None]
    return restoration.denoise_tv_chambolle(noisy, tv_weight * sigma)[..., None]


def tv_weights(options: Options) -> dict[int, float]:
    """The best weight of total variation at each level, on ten training pictures."""
    paths = sorted((options.home / "train400").glob("*.png"))[:10]
    clean = [pictures.unit_scale(pictures.read(path))[0].astype(np.float64) for path in paths]

    def mean_psnr(level: int, weight: float) -> float:
        return float(np.mean([scored(filtered("tv", c, level, i, weight), c)["psnr"] for i, c in enumerate(clean)]))

    return {level: max(TV_WEIGHTS, key=lambda weight: mean_psnr(level, weight)) for level in options.levels}


def cost_rows(options: Options) -> list[dict[str, Any]]:
    """Time and peak memory per megapixel of each network, beside what other machines have measured."""
    hardware, path = report.provenance("", "")["hardware"], options.out / "cost.csv"
    kept = pd.read_csv(path).to_dict("records") if path.exists() else []
    rows = [row for row in kept if row["hardware"] != hardware or row["denoiser"] not in options.trainings]
    context = multiprocessing.get_context("spawn")
    for name in options.trainings:
        with concurrent.futures.ProcessPoolExecutor(1, context) as alone:  # its memory is its own
            rows.append(
                {"hardware": hardware, "denoiser": name} | alone.submit(cost, denoiser_of(options, name)).result()
            )
    return rows


def cost(denoiser: jaxdae.Denoiser) -> dict[str, float]:
    """Of a picture of 4 megapixels: the second call, and what the process grows by in both."""
    noisy = np.random.default_rng(0).random((1, COST_SIDE, COST_SIDE, 1), dtype=np.float32)
    before = peak_megabytes()
    denoiser(noisy, mirrored=True)
    started = time.perf_counter()
    denoiser(noisy, mirrored=True)
    seconds = time.perf_counter() - started
    megabytes = peak_megabytes() - before
    megapixels = noisy.size / 1e6
    return {
        "parameters": count_parameters(denoiser.params),
        "seconds_per_megapixel": round(seconds / megapixels, 2),
        "megabytes_per_megapixel": round(megabytes / megapixels),
    }


def peak_megabytes() -> float:
    """The most memory of this process so far, on Linux; getrusage counts that of the process which started it too."""
    [line] = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def save_figure_images(options: Options) -> None:
    """Crops of the held-out embedded photographs, which may be redistributed, noisy and denoised."""
    [cat, rocket] = read_own("photos").held_out
    crops = [cat[60:220, 100:300] / 255.0, rocket[200:360, 220:420] / 255.0]
    noisy = [add_noise(crop, level, i) for i, crop in enumerate(crops) for level in CROP_LEVELS]
    network = denoiser_of(options, "photos")
    denoised = [network(one[None].astype(np.float32), mirrored=True)[0] for one in noisy]
    shell.save_strip(options.out, {row: list(np.clip(x, 0, 1)) for row, x in zip(ROWS, (noisy, denoised), strict=True)})


def write_trained(options: Options, trainings: Sequence[shell.Training], runs: Sequence[jaxdae.Run]) -> None:
    """Keeps how each network was trained, beside what was kept of others."""
    path = options.out / "train"
    kept = report.read_about(path)["networks"] if (path / report.ABOUT).exists() else {}
    for name, trained, run in zip(options.trainings, trainings, runs, strict=True):
        patches = trained.data.sources()[0].examples
        kept[name] = {
            "parameters": count_parameters(run.denoisers[0].params),
            "patches": patches * trained.epochs,
            "minutes": report.training_seconds(run, patches) / 60,
            "hardware": report.provenance("", "")["hardware"],
        }
    report.write_about(path, {}, networks=kept)


def publish(options: Options) -> None:
    """Draws the figure and writes the README from the tables."""
    found = {
        name: pd.read_csv(path)
        for name in ("networks", "baselines", "files", "overlap", "cost")
        if (path := options.out / f"{name}.csv").exists()
    }
    if "networks" not in found:
        if not options.redraw:
            return  # of trainings alone there is nothing to show yet
        raise jaxdae.InputError(f"{options.out} holds no networks.csv; run the experiment without --redraw")
    images = shell.load_strip(options.out)
    titles = [f"{level} of 255" for _ in range(2) for level in CROP_LEVELS]
    figures.save_figures(options.out, {"crops": figures.crops({row: images[row] for row in ROWS}, titles)})
    rows = pd.concat([found[name] for name in ("networks", "baselines") if name in found])
    means = rows.groupby(["denoiser", "set", "level"])["psnr"].mean().unstack(["set", "level"])
    bsd68 = means["bsd68"]
    made = {name: report.read_about(options.out / name)["made"] for name in found if name != "cost"}
    report.write_about(options.out, made["networks"])
    report.write_readme(
        options.out,
        "photographs",
        table=psnr_table(means),
        ssim=text_table(rows.groupby(["denoiser", "set", "level"])["ssim"].mean().unstack(["set", "level"]), ".3f"),
        cost=found["cost"].set_index("hardware") if "cost" in found else None,
        pictures=rows.groupby("set")["picture"].nunique(),
        gains=file_facts.gains(rows, TRAININGS),
        data_cost=[f"{x:.2f}" for x in bsd68.loc["train400"] - bsd68.loc["photos"]]
        if {"train400", "photos"} <= {*bsd68.index} else None,
        trained=report.read_about(options.out / "train")["networks"],
        files=file_facts.files(options.out, rows, found["files"]) if "files" in found else None,
        overlap=file_facts.overlap(options.out, found["overlap"]) if "overlap" in found else None,
        made_of=made,
    )  # fmt: skip


def psnr_table(means: pd.DataFrame) -> pd.DataFrame:
    """PSNR as text, published numbers on BSD68 among them."""
    shown = text_table(means, ".2f")
    for name, values in PUBLISHED.items():
        shown.loc[f"{name}, published"] = {
            f"bsd68 {level}": f"{x:.2f}" for level, x in zip((15, 25, 50), values, strict=True)
        }
    return shown.rename_axis("PSNR in dB")


def text_table(means: pd.DataFrame, form: str) -> pd.DataFrame:
    """The denoisers in order, as text."""
    order = [name for name in ("noisy", "tv", "nlm", "bm3d", *TRAININGS) if name in means.index]
    shown = means.loc[order].map(lambda value: format(value, form))
    shown.columns = [f"{of} {level}" for of, level in shown.columns]
    return shown.rename_axis("SSIM")


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
