"""Weights & Biases. WANDB_MODE=offline writes to the run folder only, for a later `wandb sync`."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdae import components
from jaxdae.paths import require_regular_file
from jaxdae.runs.files import write_text
from jaxdae.runs.folder import Config
from jaxdae.training import labels
from jaxdae.training import member as members_module


class WeightsAndBiases:
    """One run of theirs for all members, whose names begin with the member. The step is the epoch."""

    package = "wandb"
    extra = "wandb"

    def __init__(self, path: Path, config: Config, epochs: int) -> None:
        """Starts a run, or continues the one that `path`/run.json names."""
        import wandb

        path.mkdir(parents=True, exist_ok=True)
        require_regular_file(path / "run.json")
        self._state, self._image = path / "run.json", wandb.Image
        saved: Any = json.loads(self._state.read_text()) if self._state.exists() else {"id": None, "epoch": 0}
        members = [members_module.to_dict(member) for member in config.members]
        about = {"members": members, "loop": components.to_dict(config.loop), "source": config.source}
        self._run = wandb.init(
            project="jaxdae", name=path.parents[1].resolve().name, dir=path, id=saved["id"], resume="allow",
            config=about, reinit="create_new", settings=wandb.Settings(console="off"),  # the user may have a run open
        )  # fmt: skip
        self._labels = [f"member {i} {label}" for i, label in enumerate(labels(config.members))]
        self._has = saved["epoch"]
        self._save(self._has)

    def scalars(self, lines: Sequence[dict[str, Any]]) -> None:
        """The numbers of all members in one step; an epoch that it has already is left out."""
        epoch = lines[0]["epoch"]
        if epoch <= self._has:
            return
        numbers = {
            f"{self._labels[line['member']]}/{name}": math.nan if line[name] is None else line[name]
            for line in lines
            for name in line
            if name not in ("epoch", "member", "noise_level", "seed")
        }
        self._save(epoch)  # before: a kill between the two may lose an epoch here, but none is there twice
        self._run.log(numbers, step=epoch)

    def picture(self, epoch: int, member: int, picture: np.ndarray) -> None:
        """Under the member's name."""
        if epoch <= self._has:
            return
        image = self._image(np.round(255 * picture).astype(np.uint8).squeeze())
        self._run.log({f"{self._labels[member]}/noisy, denoised, clean": image}, step=epoch)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()

    def _save(self, epoch: int) -> None:
        write_text(self._state, json.dumps({"id": self._run.id, "epoch": epoch}) + "\n")
