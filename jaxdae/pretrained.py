"""The denoiser that comes with the package: the seed experiment's model, trained on MNIST with noise 0.5.

`experiments/reproduce_seed.py` makes it.
"""

import json
from importlib import resources
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxdae.config import RunConfig
from jaxdae.runs import Run
from jaxdae.training import Best

FOLDER = Path(str(resources.files("jaxdae"))) / "pretrained_seed"


def load_pretrained() -> Run:
    """The pretrained denoiser, as a population of one."""
    description = json.loads((FOLDER / "run.json").read_text())
    with np.load(FOLDER / "params.npz") as arrays:
        params = unflatten_dict({name: arrays[name][None] for name in arrays}, sep="/")
    last = description["history"][-1]
    best = Best(params, jnp.array([last["val_bce"]]), jnp.array([last["epoch"]]))
    return Run(RunConfig.from_dict(description["config"]), params, best, description["history"])


def save_pretrained(run: Run, folder: Path = FOLDER) -> None:
    """Makes a run of one model the pretrained denoiser: its last parameters, configuration and last log line."""
    folder.mkdir(exist_ok=True)
    params = jax.tree.map(lambda x: np.asarray(x[0]), run.params)
    np.savez(folder / "params.npz", **flatten_dict(params, sep="/"))
    description = {"config": run.config.to_dict(), "history": run.history[-1:]}
    (folder / "run.json").write_text(json.dumps(description, indent=2) + "\n")
