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


def train_or_resume(config: jaxdae.RunConfig, data: jaxdae.ImageData, path: Path) -> jaxdae.Run:
    """Trains a run in a folder, or goes on with the one that is there, to as many epochs as the configuration says.

    Raises:
        InputError: what is there was trained with other settings, or on other images.
    """
    if not (path / run_folder.CONFIG).exists():
        return jaxdae.train(config, data, out=path, progress=True)
    saved = run_folder.load_config(path)
    if dataclasses.replace(saved, epochs=config.epochs) != config:
        raise InputError(f"{path} was trained with other settings; remove it, or choose another folder")
    return jaxdae.resume(path, data, epochs=config.epochs, progress=True)
