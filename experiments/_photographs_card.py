"""What the packaged denoiser of photographs says of itself."""

from pathlib import Path

import _file_facts as file_facts
import pandas as pd

from jaxdae.data import read_own
from jaxdae.data.photographs import PHOTOGRAPHS
from jaxdae.exchange.saved import Card


def card(out: Path) -> Card:
    """The card, with the numbers of the shipped parameters from the tables of a results folder."""
    unclipped, files = (pd.read_csv(out / f"{name}.csv") for name in ("networks", "files"))
    losses = file_facts.losses(unclipped, files, "photos")["loss"]
    sources = [f"{Path(name).stem} ({whose})" for name, (_, whose) in PHOTOGRAPHS.items()]
    count = len(read_own("photos").train)
    train, held_out = sources[:count], sources[count:]
    return Card(
        title="Photographs, Gaussian noise of 0 to 55 of 255",
        data=f"{len(train)} photographs inside scikit-image and scikit-learn, as grey pictures: {', '.join(train)}; "
        f"held out: {', '.join(held_out)}",
        licence="apache-2.0",
        command="python experiments/photographs.py --parts train networks files ship --trainings photos",
        numbers=card_numbers(unclipped, losses),
        limits="made for grey photographs with independent Gaussian noise that is not clipped; in 8-bit files, which "
        f"clip it, pictures with many black or white values lost up to {losses.max():.1f} dB, and dark areas stay too "
        "bright; of JPEG artifacts, blur, blotches, scans and stronger noise it removes little or the wrong things, "
        "and colour is denoised channel by channel",
    )


def card_numbers(unclipped: pd.DataFrame, losses: pd.Series) -> dict[str, float]:
    """The mean PSNR of the packaged denoiser in each test, and what the same pictures lose as 8-bit files."""
    psnr = unclipped[unclipped["denoiser"] == "photos"].groupby(["set", "level"])["psnr"].mean()
    lost = losses.groupby(["set", "level"])
    return {f"PSNR, {of}, level {level} of 255": round(float(mean), 2) for (of, level), mean in psnr.items()} | {
        f"dB lost in 8-bit files, {len(values)} pictures of {of}, level {level} of 255": round(float(values.mean()), 2)
        for (of, level), values in lost
    }
