"""TensorBoard, by tensorboardX: a run of TensorBoard's for each member, so that members overlay in one chart."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdae import components
from jaxdae.runs.folder import Config
from jaxdae.training import labels
from jaxdae.training import member as members_module


class TensorBoard:
    """Event files below `path`, in a folder for each member. The step is the epoch."""

    package = "tensorboardX"
    extra = "tensorboard"

    def __init__(self, path: Path, config: Config, epochs: int) -> None:
        """Opens the files; TensorBoard drops what older ones have beyond the finished epochs."""
        from tensorboardX import SummaryWriter

        names = [f"member {i} {label}".replace("/", "_") for i, label in enumerate(labels(config.members))]
        more: dict[str, Any] = {"purge_step": epochs + 1, "filename_suffix": f".{epochs}"} if epochs else {}
        self._writers = [SummaryWriter(str(path / name), **more) for name in names]
        for writer, member in zip(self._writers, config.members, strict=True) if not epochs else ():
            about = {"member": members_module.to_dict(member), "loop": components.to_dict(config.loop)}
            text = json.dumps(about | {"source": config.source}, indent=1)
            writer.add_text("config", f"```\n{text}\n```", 0)

    def scalars(self, lines: Sequence[dict[str, Any]]) -> None:
        """Every number of a line under its own name; what is not finite as NaN."""
        for line in lines:
            writer = self._writers[line["member"]]
            for name in set(line) - {"epoch", "member", "noise_level", "seed"}:
                writer.add_scalar(name, math.nan if line[name] is None else line[name], line["epoch"])
            writer.flush()

    def picture(self, epoch: int, member: int, picture: np.ndarray) -> None:
        """Under the names of its rows."""
        self._writers[member].add_image("noisy_denoised_clean", picture, epoch, dataformats="HWC")
        self._writers[member].flush()

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers:
            writer.close()
