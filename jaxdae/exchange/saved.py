"""A denoiser as a folder, ready for a model hub: the form of the packaged ones too.

model.safetensors    the parameters, named by layer (encoder_0/kernel): HWIO kernels, float32 or float16
denoiser.json        {schema, weights, model, noise, channels, value_range, size, seed, origin, card, sha256}: `weights`
                     is the digest of model.safetensors, `sha256` that of the other fields
README.md            the model card, with the hub's YAML head
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError
from safetensors.numpy import load as load_weights
from safetensors.numpy import save as serialize_weights

from jaxdae import components
from jaxdae.arguments import require_flag, require_instance, require_path
from jaxdae.errors import InputError, require_name, shown
from jaxdae.models import STORED, count_parameters, initialize
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.noise import Noise, check_noise, format_level
from jaxdae.paths import exists_at_all, require_regular_file
from jaxdae.runs.files import atomic_files, sealed, unsealed

WEIGHTS, ARCHITECTURE, README = "model.safetensors", "denoiser.json", "README.md"
FILES = (WEIGHTS, ARCHITECTURE, README)
SCHEMA = 1

Dtype = Literal["float32", "float16"]


@dataclasses.dataclass(frozen=True)
class Card:
    """What a user of a model wants to know of it. Nothing is guessed: what is left empty is not said."""

    title: str = "Denoiser"
    data: str = ""
    """What it was trained on, with the data's licence."""
    licence: str = ""
    """Of the weights, by the hub's identifier: apache-2.0."""
    command: str = ""
    """What trains it again."""
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What was measured, by a name that says on what."""
    limits: str = ""
    """What it is not for."""


NO_CARD = Card()


def save_denoiser(
    denoiser: Denoiser, path: Path | str, *, card: Card = NO_CARD, dtype: Dtype = "float32", overwrite: bool = False
) -> Path:
    """Writes a denoiser to a folder of three files, all of them or none, and returns the folder.

    Args:
        denoiser: what to save.
        path: the folder; other files in it stay.
        card: what README.md and `load_card` say of it.
        dtype: of the stored parameters; float16 is half as large and rounds them to 11 significant bits.
        overwrite: replace a denoiser that is in the folder.

    Raises:
        InputError: a file exists, the type is not known, or a parameter is too large for it.
    """
    if isinstance(path, Denoiser):
        raise InputError(f"denoiser is {shown(denoiser)} and path is a Denoiser; did you swap them?")
    require_denoiser(denoiser)
    require_path("path", path)
    require_instance("card", card, Card, "give Card(title=...), or leave it out")
    require_flag("overwrite", overwrite)
    require_name("dtype", dtype, get_args(Dtype))
    noise = check_noise(denoiser.about.noise)
    denoiser = dataclasses.replace(denoiser, about=dataclasses.replace(denoiser.about, noise=noise))
    path = Path(path)
    if taken := [name for name in FILES if exists_at_all(path / name) and not overwrite]:
        raise InputError(f"{path / taken[0]} exists; choose another folder, or replace it (overwrite)")
    with np.errstate(over="ignore"):
        tensors = {name: np.asarray(x).astype(dtype) for name, x in flatten_dict(denoiser.params, sep="/").items()}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise InputError(f"{name} holds numbers that are not finite in {dtype}; save another member, or as float32")
    about = vars(denoiser.about) | {"noise": components.to_dict(denoiser.about.noise)}
    fields = {"model": components.to_dict(denoiser.module, STORED)} | about | {"card": vars(card)}
    with atomic_files(path) as temporary:
        content = serialize_weights(tensors, metadata={"format": "jaxdae"})  # its own file ignores the umask
        (temporary / WEIGHTS).write_bytes(content)
        weights = hashlib.sha256(content).hexdigest()
        (temporary / ARCHITECTURE).write_text(sealed({"schema": SCHEMA, "weights": weights} | fields))
        (temporary / README).write_text(_readme(denoiser, card, dtype))
    return path


def require_denoiser(denoiser: Any) -> None:
    """Raises InputError unless a value is one denoiser."""
    way_out = "give one of its .denoisers" if hasattr(denoiser, "denoisers") else "give what load_denoiser returns"
    require_instance("denoiser", denoiser, Denoiser, way_out)


def is_saved(path: Path) -> bool:
    """Whether a folder holds a saved denoiser."""
    return (path / ARCHITECTURE).is_file()


def load_saved(path: Path) -> Denoiser:
    """The denoiser in a folder, with float32 parameters; InputError if a file is missing, damaged or does not fit."""
    fields = _read(path)
    require_regular_file(path / WEIGHTS)
    try:
        content = (path / WEIGHTS).read_bytes()
        if fields.pop("weights", None) not in (None, hashlib.sha256(content).hexdigest()):
            raise InputError(f"{path / WEIGHTS} has changed since it was saved; bring both files back from a copy")
        model, noise = fields.pop("model"), fields.pop("noise")
        module = components.checked(components.from_dict(model, STORED))
        about = About(check_noise(components.make(Noise, noise)), **components.with_tuples(fields))
        wanted = jax.eval_shape(lambda: initialize(jax.random.key(0), module, about.channels))
        params = {name: x.astype(np.float32) for name, x in load_weights(content).items()}
    except InputError as error:
        raise (
            error if str(path) in str(error) else InputError(f"{path / ARCHITECTURE} cannot be read ({error})")
        ) from None
    except (SafetensorError, OSError, TypeError, KeyError, AttributeError, ValueError, ArithmeticError, IndexError,
            AssertionError) as error:  # fmt: skip
        raise InputError(f"{path} holds no denoiser that can be read ({type(error).__name__}: {error})") from None
    for name, leaf in flatten_dict(wanted, sep="/").items():
        if name not in params or params[name].shape != leaf.shape:
            found = params[name].shape if name in params else "missing"
            raise InputError(f"{path / WEIGHTS} does not fit {ARCHITECTURE}: {name} is {found}, not {leaf.shape}")
    return Denoiser(module, unflatten_dict(params, sep="/"), about)


def load_card(path: Path) -> Card:
    """The card of the denoiser in a folder; InputError as in `load_saved`."""
    require_path("path", path)
    path = Path(path)
    try:
        card = Card(**_read(path, card=True))
        if not isinstance(card.numbers, Mapping) or any(
            type(x) is not str for n, x in vars(card).items() if n != "numbers"
        ):
            raise TypeError("its numbers are no object, or another entry is no text")
        return card
    except TypeError as error:
        raise InputError(f"the card in {path / ARCHITECTURE} cannot be read ({error})") from None


def _read(path: Path, card: bool = False) -> dict[str, Any]:
    require_regular_file(path / ARCHITECTURE)
    try:
        fields = unsealed((path / ARCHITECTURE).read_text())
        if fields.pop("schema", None) != SCHEMA:
            raise InputError(f"it was made by another version of jaxdae; schema {SCHEMA} is known")
        own = fields.pop("card")
        return own if card else fields
    except (OSError, KeyError, AttributeError, TypeError, ValueError) as error:
        reason = error if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path / ARCHITECTURE} cannot be read ({reason})") from None


def _readme(denoiser: Denoiser, card: Card, dtype: str) -> str:
    about, kind = denoiser.about, components.kind_of(denoiser.module, STORED)
    noise = about.noise
    kept = "clipped to [0, 1]" if noise.clip else "not clipped"
    head = {"library_name": "jaxdae", "pipeline_tag": "image-to-image", "tags": ["denoising", "jax", "flax"]}
    head |= {"license": card.licence} if card.licence else {}
    size = "any height and width" if about.size is None else f"{about.size[0]}x{about.size[1]} pixels only"
    call = "denoiser(noisy, level)" if denoiser.takes_level else "denoiser(noisy)"
    black_and_white = "black and white are measured of each file"
    if about.value_range is not None:
        low, high = about.value_range
        black_and_white = f"{low:g} stands for 0 and {high:g} for 1 in {about.value_type} files"
    facts = {
        "network": f"{kind}, {count_parameters(denoiser.params):,} parameters ({dtype})",
        "noise": f"{noise.corruption}, level {format_level(noise.level)} on the [0, 1] scale, {kept}",
        "images": f"{about.channels} channels, {size}; {black_and_white}",
        "origin": about.origin,
        "data": card.data,
        "trained by": card.command and f"`{card.command}`",
        "limits": card.limits,
    }
    lines = ["---", *(f"{name}: {json.dumps(value)}" for name, value in head.items()), "---", "", f"# {card.title}", ""]
    lines += [f"- {name}: {text}" for name, text in facts.items() if text]
    if card.numbers:
        lines += ["", "| measured | |", "| --- | --- |", *(f"| {name} | {x} |" for name, x in card.numbers.items())]
    lines += ["", "```python", "import jaxdae", "", 'denoiser = jaxdae.load_denoiser("FOLDER")  # this one',
              f"denoised = {call}  # (image, height, width, channel), floats on [0, 1]", "```", ""]  # fmt: skip
    return "\n".join(lines)
