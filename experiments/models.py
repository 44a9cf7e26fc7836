"""One model or many, and which: families of networks, biases, the noise level as an input, targets that are noisy.

    python experiments/models.py                                                # MNIST
    python experiments/models.py --dataset digits --seeds 0 --epochs 2 --large-epochs 2 --levels 0.25 0.5 \
        --test-levels 0.25 0.5 --baselines identity gaussian                    # a quick try

Trains every family at level 0.5 and blind over 0:1, with and without biases and with the level as an input; specialists
of the U-Net at each level; one large U-Net; and Noise2Noise beside supervised training, on the autoencoder. All but the
large one are one run, resumed if it was stopped. Each has the weights of its epoch of least validation loss on held-out
training images. Writes results/models/.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import _baselines as classical
import _figures as figures
import _model_facts as model_facts
import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd
from _model_facts import MIDDLE, PLAIN
from _tables import Row, pick

import jaxdae
from jaxdae import evaluation
from jaxdae.models import count_parameters
from jaxdae.noise import check_noise
from jaxdae.training.optimizers import Muon

BLIND = "0:1"
FAST, SLOW = (Muon(rate, schedule="one_cycle") for rate in (0.01, 0.003))
FAMILIES: dict[str, jaxdae.Member] = {
    "autoencoder": jaxdae.Member(model=jaxdae.ConvAutoencoder(), optimizer=FAST),
    "unet": jaxdae.Member(model=jaxdae.UNet(), optimizer=SLOW, objective=jaxdae.Supervised("log_mse")),
    "dncnn": jaxdae.Member(model=jaxdae.DnCNN(), optimizer=SLOW, objective=jaxdae.Supervised("log_mse")),
}
LARGE = jaxdae.PRESETS["unet"]
VARIANTS = {
    "with biases": {},
    "bias-free": {"bias": False},
    "level input": {"level_input": True},
    "bias-free, level input": {"bias": False, "level_input": True},
}


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    levels: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75, 1.0)
    """Training levels of the U-Net's specialists; 0.5 is one."""
    test_levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.2)
    """Noise levels of the test images."""
    test_images: int = 2_000
    """How many test images are measured, from the first."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds of the autoencoders; the slower U-Nets and DnCNN have the first `slow_seeds` of them."""
    slow_seeds: int = 1
    """Seeds of U-Nets and DnCNN."""
    epochs: int = 2
    """Passes over the training images, without the sixth of them that is held out."""
    large_epochs: int = LARGE.epochs
    """Passes of the large U-Net."""
    batch_size: int = LARGE.batch_size
    """Images per step."""
    baselines: tuple[str, ...] = classical.BASELINES
    """Classical denoisers to compare with, on the first 1,000 test images."""
    runs: Path = Path("runs/models")
    """Folder of the run folders; runs in it are resumed."""
    out: Path = Path("results/models")
    """Results folder: table, figures and README."""


class Entry(NamedTuple):
    """A network that is compared, trained with several seeds."""

    family: str
    variant: str
    trained_at: str
    member: jaxdae.Member
    seeds: tuple[int, ...]

    @property
    def keys(self) -> Row:
        """The columns of the table that name it."""
        return {"model": self.family, "variant": self.variant, "trained_at": self.trained_at}


def entries(options: Options) -> list[Entry]:
    """All but the large network, in the order of the table."""
    found, slow = [], options.seeds[: options.slow_seeds]
    for family, member in FAMILIES.items():
        seeds = options.seeds if family == "autoencoder" else slow
        for variant, fields in VARIANTS.items():
            for level in (BLIND,) if "level" in variant else (MIDDLE, BLIND):
                found.append(entry(family, variant, level, with_fields(member, **fields), seeds))
    for name in map("{:g}".format, options.levels):
        if name != MIDDLE:
            found.append(entry("unet", PLAIN, name, FAMILIES["unet"], slow))
    # Few parameters: the error of what Noise2Noise learns grows with their number, and falls with that of noisy pixels.
    clipped = jaxdae.Member(model=jaxdae.ConvAutoencoder(prediction="image"), optimizer=FAST)
    unclipped = clipped.replace(noise=jaxdae.Noise(clip=False))  # type: ignore[attr-defined]
    for variant, member in {
        "supervised, unclipped": unclipped,
        "noise2noise, unclipped": unclipped.replace(objective=jaxdae.Noise2Noise()),
        "noise2noise, clipped": clipped.replace(objective=jaxdae.Noise2Noise(allow_bias=True)),  # type: ignore[attr-defined]
    }.items():
        found.append(entry("autoencoder", variant, MIDDLE, member, options.seeds))
    return found


def entry(family: str, variant: str, level: str, member: jaxdae.Member, seeds: Sequence[int]) -> Entry:
    """An entry at a training level."""
    noise = check_noise(member.noise.replace(level=level))  # type: ignore[attr-defined]
    return Entry(family, variant, level, member.replace(noise=noise), tuple(seeds))  # type: ignore[attr-defined]


def with_fields(member: jaxdae.Member, **fields: Any) -> jaxdae.Member:
    """The member with other fields of its model."""
    return member.replace(model=member.model.clone(**fields))  # type: ignore[attr-defined]


def experiment(options: Options) -> None:
    """Trains, measures and writes the table."""
    check(options)
    data, small = options.load(), entries(options)
    large = entry("large unet", PLAIN, MIDDLE, LARGE.member, options.seeds[:1])
    holdout = len(data.train) // 6
    trainings = [
        shell.Training(members_of(some), data, options.runs / name, epochs, options.batch_size, holdout)
        for name, some, epochs in (("small", small, options.epochs), ("large", [large], options.large_epochs))
    ]
    trained = shell.train_or_resume(trainings)
    measured_since = time.perf_counter()
    images, everything = len(data.train) - holdout, [*small, large]
    denoisers = [denoiser for run in trained for denoiser in run.select(weights="best")]
    seconds = [value for run in trained for value in seconds_per_epoch(run, images)]
    places = positions(everything)
    rows = rows_of_tests(options, everything, places, denoisers, data)
    tables.write_table(options.out, tables.make_table("models", rows))
    costs = [
        named.keys
        | {
            "parameters": count_parameters(denoisers[of[0]].params),
            "seconds_per_epoch": float(np.mean([seconds[i] for i in of])),
            "epochs": options.large_epochs if named is large else options.epochs,
        }
        | {f"reference_{name}": score for name, score in report.reference_scores(denoisers[of[0]], data).items()}
        for named, of in zip(everything, places, strict=True)
    ]
    duration = report.duration(sum(report.training_seconds(run, images) for run in trained), measured_since)
    report.write_about(
        options.out,
        report.provenance(duration, report.model_seeds(options.seeds)),
        dataset=options.dataset,
        seeds=options.seeds,
        slow_seeds=options.slow_seeds,
        levels=[f"{level:g}" for level in options.levels],
        holdout=holdout,
        train_images=images,
        batch_size=options.batch_size,
        costs=costs,
    )


def check(options: Options) -> None:
    """Raises InputError for settings that would fail, or answer nothing, after the training."""
    for level in (*options.levels, *options.test_levels):
        check_noise(jaxdae.Noise(level=level))
    if float(MIDDLE) not in options.levels or float(MIDDLE) not in options.test_levels:
        raise jaxdae.InputError(
            f"levels {options.levels} and test levels {options.test_levels} must both hold {MIDDLE}"
        )
    if options.test_images < 1:
        raise jaxdae.InputError(f"test images {options.test_images} is not allowed: give an integer of at least 1")
    classical.require_installed(options.baselines)


def members_of(some: Sequence[Entry]) -> tuple[jaxdae.Member, ...]:
    """The members of entries, seed by seed."""
    listed = [named.member.replace(seed=seed) for named in some for seed in named.seeds]  # type: ignore[attr-defined]
    return jaxdae.training.member.check_members(listed)


def positions(some: Sequence[Entry]) -> list[list[int]]:
    """The indices of each entry's members among all."""
    ends = np.cumsum([len(named.seeds) for named in some])
    return [list(range(end - len(named.seeds), end)) for named, end in zip(some, ends, strict=True)]


def seconds_per_epoch(run: jaxdae.Run, images: int) -> list[float]:
    """How long an epoch of each member took, by the median over the epochs."""
    rates = pd.DataFrame(run.history).groupby("member")["images_per_second"].median()
    return [images / rates[index] for index in range(len(run.members))]


def rows_of_tests(
    options: Options,
    everything: Sequence[Entry],
    places: Sequence[Sequence[int]],
    denoisers: Sequence[jaxdae.Denoiser],
    data: jaxdae.ImageData,
) -> list[Row]:
    """Every network at every level with its own clipping, the blind ones' differences to the specialists, baselines."""
    images = data.test[: options.test_images]
    counts = classical.image_counts(dataclasses.replace(data, test=images))
    rows: list[Row] = []
    scores: dict[int, tables.Scores] = {}
    for clip in (True, False):
        chosen = [i for i, denoiser in enumerate(denoisers) if denoiser.about.noise.clip == clip]
        noise = jaxdae.Noise(clip=clip)
        found, identity = evaluation.measure([denoisers[i] for i in chosen], images, noise, options.test_levels)
        for position, index in enumerate(chosen):
            scores[index] = {metric: values[:, position] for metric, values in found.items()}
        if clip:
            for i, level in enumerate(options.test_levels):
                noisy = {metric: values[[i]] for metric, values in identity.items()}
                rows += tables.summarize({"kind": "identity", "model": "identity", "test_level": level}, noisy, counts)
    for i, level in enumerate(options.test_levels):
        of = [
            {metric: np.stack([scores[j][metric][i] for j in place]) for metric in scores[place[0]]} for place in places
        ]
        for named, values in zip(everything, of, strict=True):
            keys = {"kind": "denoiser", **named.keys, "test_level": level}
            rows += tables.summarize(keys, values, counts, named.seeds)
        rows += differences(everything, of, level, counts)
    noises = [jaxdae.Noise(level=level) for level in options.test_levels]
    baselines = classical.baseline_scores(options.baselines, data, noises)
    for level, by_name in zip(options.test_levels, baselines, strict=True):
        for name, one in by_name.items():
            rows += tables.summarize({"kind": "baseline", "model": name, "test_level": level}, one, counts[:1])
    return rows


def differences(
    everything: Sequence[Entry], scores: Sequence[tables.Scores], level: float, counts: Sequence[int]
) -> list[Row]:
    """Blind U-Nets minus the specialist of the level, and Noise2Noise minus supervised training, paired."""
    named = {(e.family, e.variant, e.trained_at): values for e, values in zip(everything, scores, strict=True)}
    pairs = {("unet", variant, BLIND): ("unet", PLAIN, f"{level:g}") for variant in VARIANTS}
    if f"{level:g}" == MIDDLE:
        pairs["autoencoder", "noise2noise, unclipped", MIDDLE] = ("autoencoder", "supervised, unclipped", MIDDLE)
    rows: list[Row] = []
    for ours, theirs in pairs.items():
        if ours in named and theirs in named:
            keys = {"kind": "difference", "model": ours[0], "variant": ours[1], "trained_at": ours[2]}
            rows += tables.summarize(
                keys | {"test_level": level}, tables.difference(named[ours], named[theirs]), counts
            )
    return rows


def publish(options: Options) -> None:
    """Draws the figures and writes the README, from the files in the results folder."""
    table, costs = tables.read_table(options.out, "models"), pd.DataFrame(report.read_about(options.out)["costs"])
    psnr = tables.of_most_images(pick(table, metric="psnr", seed=None))
    own = psnr["test_level"] == float(MIDDLE)
    drawn = {
        "levels": figures.blind_curves(table, "unet", BLIND, (PLAIN, "bias-free, level input")),
        "gaps": figures.gap_curves(pick(psnr, kind="difference", trained_at=BLIND), tuple(VARIANTS)),
        "time": figures.quality_over_time(
            pick(psnr[own], kind="denoiser", trained_at=MIDDLE), costs, (PLAIN, "bias-free")
        ),
    }
    figures.save_figures(options.out, drawn)
    longer = model_facts.beside_longer(options.out, table)
    report.write_readme(options.out, "models", longer=longer, **facts(table, costs))


def facts(table: pd.DataFrame, costs: pd.DataFrame) -> dict[str, Any]:
    """The tables and numbers of the README."""
    rows = pick(table, seed=None)
    most, fewest = tables.of_most_images(rows), tables.of_fewest_images(rows)
    psnr = pick(most, metric="psnr")
    order = list(map(tuple, costs[["model", "variant", "trained_at"]].to_numpy()))
    ssim = pick(most, metric="ssim", kind="denoiser", test_level=float(MIDDLE))
    bce = pick(most, metric="bce", kind="denoiser", test_level=float(MIDDLE))
    named = ["model", "variant", "trained_at"]
    levels = pick(psnr, kind="denoiser").assign(text=lambda t: t["mean"].map("{:.2f}".format))
    wide = levels.pivot(index=named, columns="test_level", values="text").loc[order]
    wide.columns = [f"{level:g}" for level in wide.columns]
    wide["SSIM at 0.5"] = ssim.set_index(named)["mean"].loc[order].map("{:.3f}".format)
    logits = [model == "autoencoder" and variant in VARIANTS for model, variant, _ in order]
    wide["BCE at 0.5"] = [
        f"{value:.4f}" if kept else ""
        for value, kept in zip(bce.set_index(named)["mean"].loc[order], logits, strict=True)
    ]
    costs = costs.set_index(named).loc[order]
    wide["parameters"] = costs["parameters"].map("{:,}".format)
    wide["epochs"] = costs["epochs"].map("{:.0f}".format)
    wide["s per epoch"] = costs["seconds_per_epoch"].map("{:.0f}".format)
    gaps = pick(psnr, kind="difference", trained_at=BLIND)
    shown = gaps.assign(text=tables.mean_and_error(gaps, "+.2f"))
    gap_table = shown.pivot(index="variant", columns="test_level", values="text").loc[list(VARIANTS)]
    few = pick(fewest, metric="psnr")
    few = few[~few["variant"].astype(str).str.contains("unclipped")]  # the baselines saw clipped noise
    beaten = beaten_levels(few)
    n2n = pick(psnr, kind="difference", variant="noise2noise, unclipped", test_level=float(MIDDLE)).iloc[0]
    clipped = pick(psnr, kind="denoiser", variant="noise2noise, clipped", test_level=float(MIDDLE)).iloc[0]
    large = costs.loc["large unet"].iloc[0]
    worst = gaps[gaps["variant"] == PLAIN]
    best_baseline = pick(few, kind="baseline").sort_values("mean").groupby("test_level").tail(1)
    best_network = pick(few, kind="denoiser").sort_values("mean").groupby("test_level").tail(1)
    beside = pd.DataFrame(
        {
            "best network": tagged(best_network, lambda r: f"{r.model}, {r.variant}, trained at {r.trained_at}"),
            "best classical denoiser": tagged(best_baseline, lambda r: r.model),
            "networks above it": pd.Series(model_facts.networks_above(few)),
        }
    )
    return {
        "matrix": wide.reset_index().set_index("model"),
        "gaps": gap_table.rename(columns="{:g}".format).rename_axis(columns=None),
        "widest": worst.loc[worst["mean"].idxmin()].to_dict(),
        "beside": beside.rename_axis("level"),
        "beaten": beaten,
        "behind": model_facts.families_behind(few),
        "noise2noise": n2n.to_dict() | {"error": n2n["se_seeds"] if pd.notna(n2n["se_seeds"]) else n2n["se_images"]},
        "clipped": clipped["mean"],
        "epochs": {name: int(costs.loc[name]["epochs"].iloc[0]) for name in ("autoencoder", "unet", "large unet")},
        "large": large.to_dict()
        | {
            "parameters": int(large["parameters"]),
            "epochs": int(large["epochs"]),
            "minutes": large["seconds_per_epoch"] * large["epochs"] / 60,
        },
        "most": most["images"].max(),
        "fewest": fewest["images"].max(),
    }


def tagged(rows: pd.DataFrame, name: Any) -> pd.Series:
    """Each level's PSNR with the name of its model."""
    named = {
        f"{row.test_level:g}": f"{row.mean:.2f} ({name(row)})" for row in rows.sort_values("test_level").itertuples()
    }
    return pd.Series(named)


def beaten_levels(rows: pd.DataFrame) -> list[str]:
    """The test levels at which a classical denoiser is above every network."""
    best = rows[rows["kind"].isin(("denoiser", "baseline"))].groupby(["kind", "test_level"])["mean"].max()
    return [
        f"{level:g}"
        for level in best["denoiser"].index
        if best["baseline"].get(level, -np.inf) > best["denoiser"][level]
    ]


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
