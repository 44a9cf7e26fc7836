"""What every script does around its experiment: end well, and go on with a run that was stopped."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jaxdae
from jaxdae import run_folder
from jaxdae.config import InputError


def run_script(main: Callable[[Any], None], options: Any) -> NoReturn:
    """Ends the process after `main(options)`: with status 2 and one sentence where it was given what cannot be used."""
    try:
        main(options)
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(0)


def require_same_settings(config: jaxdae.RunConfig, path: Path) -> None:
    """Raises InputError if there is a run in the folder that this configuration cannot go on with."""
    if not (path / run_folder.CONFIG).exists():
        return
    saved = run_folder.load_config(path)
    longer = config.schedule == "constant" and config.epochs >= saved.epochs
    if (dataclasses.replace(saved, epochs=config.epochs) if longer else saved) != config:
        raise InputError(f"{path} was trained with other settings; remove it, or choose another folder")


def train_or_resume(config: jaxdae.RunConfig, data: jaxdae.ImageData, path: Path) -> jaxdae.Run:
    """Trains a run in a folder, or goes on with the one that is there, to as many epochs as the configuration says.

    Raises:
        InputError: what is there was trained with other settings or on other images, or a model's loss was not finite.
    """
    require_same_settings(config, path)
    if (path / run_folder.CONFIG).exists():
        run = jaxdae.resume(path, data, epochs=config.epochs, progress=True)
    else:
        run = jaxdae.train(config, data, out=path, progress=True)
    if run.diverged:
        raise InputError(f"the loss of models {run.diverged} in {path} was not finite; take other levels or seeds")
    return run
