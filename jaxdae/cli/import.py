"""`jaxdae import`: a model of Keras as a denoiser."""

import os
from collections.abc import Sequence
from pathlib import Path

from jaxdae.cli import options
from jaxdae.components import kind_of
from jaxdae.errors import printable
from jaxdae.exchange.keras import read_keras
from jaxdae.exchange.keras_family import FAMILIES
from jaxdae.exchange.saved import FILES, save_denoiser
from jaxdae.models import STORED, count_parameters
from jaxdae.noise import Noise, check_noise

DESCRIPTION = """Import a denoiser from Keras 2 or 3: .keras archives, HDF5 files with the model or with its weights.

  jaxdae import autoencoder1.h5 --out runs/mine
  jaxdae denoise scan.png --run runs/mine --out clean/

Nothing in the file is executed. What cannot be taken is named with its layer."""


def run(words: Sequence[str]) -> int:
    """Imports and names the files."""
    parser = options.Parser("import", DESCRIPTION, "file")
    parser.add_argument("file", type=Path, help="a .keras archive or an HDF5 file (.h5)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the saved denoiser")
    family = f"the architecture, of a file that holds weights only: {', '.join(FAMILIES)}"
    parser.add_argument("--models", "--model", dest="model", metavar="NAME", help=family)
    corruption = "what the model was trained on, which the file does not say (default: gaussian, as an assumption)"
    parser.add_argument("--corruptions", "--corruption", dest="corruption", metavar="NAME", help=corruption)
    level = "noise level 0.5, or a range 0:1, of its training (default: 0.5, as an assumption)"
    parser.add_argument("--noise-levels", "--noise-level", dest="level", metavar="LEVEL", help=level)
    parser.add_argument("--overwrite", action="store_true", help="replace a denoiser that is in the folder")
    arguments = parser.parse(words)
    noise = None
    told = {name: value for name in ("corruption", "level") if (value := getattr(arguments, name)) is not None}
    if told:
        noise = check_noise(Noise(**told))
    made = read_keras(arguments.file, noise=noise, model=arguments.model)
    denoiser = made.denoiser
    path = save_denoiser(denoiser, arguments.out, card=made.card, overwrite=arguments.overwrite)
    kind, parameters = kind_of(denoiser.module, STORED), count_parameters(denoiser.params)
    print(f"{printable(arguments.file)}: {kind}, {parameters:,} parameters, {denoiser.about.channels} channels")
    print(*map(printable, made.notes), sep="\n")
    for name in FILES:
        print(f"{printable(path / name)}  {os.path.getsize(path / name):,} bytes")
    return 0
