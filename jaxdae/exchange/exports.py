"""Denoisers as files for other programs. A new format is one file of its own and a line in `FORMATS`."""

import functools
import importlib.util
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxdae import rng
from jaxdae.arguments import require_flag, require_instance, require_names, require_path
from jaxdae.errors import InputError, require_name
from jaxdae.exchange.onnx import write_onnx
from jaxdae.exchange.saved import FILES, NO_CARD, WEIGHTS, Card, require_denoiser, save_denoiser
from jaxdae.exchange.stablehlo import write_stablehlo
from jaxdae.models.denoiser import Denoiser
from jaxdae.paths import exists_at_all
from jaxdae.runs.files import atomic_files


class Format(NamedTuple):
    """One way to write a denoiser to a file."""

    write: Callable[[Denoiser, Path], str | None]
    """Writes the file; a sentence, if it computes something else than the denoiser. InputError if it cannot."""
    file: str
    """Its usual name."""
    package: str = ""
    """The package that it needs beyond jaxdae's own."""
    extra: str = ""
    """The extra of jaxdae that has this package."""
    files: tuple[str, ...] = ()
    """All files that it writes, if more than one: it then makes a folder only."""


def _write_safetensors(denoiser: Denoiser, path: Path, card: Card = NO_CARD) -> None:
    save_denoiser(denoiser, path.parent, card=card, overwrite=True)


def _write_keras(denoiser: Denoiser, path: Path) -> str | None:
    from jaxdae.exchange.keras_export import write_keras  # h5py is loaded where it is needed

    return write_keras(denoiser, path)


FORMATS: dict[str, Format] = {
    "keras": Format(_write_keras, "model.keras"),
    "onnx": Format(write_onnx, "model.onnx", "onnx", "onnx"),
    "safetensors": Format(_write_safetensors, WEIGHTS, files=FILES),
    "stablehlo": Format(write_stablehlo, "model.stablehlo", "flatbuffers", "stablehlo"),
}


def export_denoiser(
    denoiser: Denoiser, formats: Sequence[str], out: Path, *, card: Card = NO_CARD, overwrite: bool = False
) -> Generator[str, None, list[Path]]:
    """Writes a denoiser in one or several formats: all of them, or nothing. Yields sentences to print.

    Args:
        denoiser: what to write.
        formats: names of `FORMATS`.
        out: a folder, for the files under their usual names; for one format also a file with the format's suffix.
        card: for the model card (safetensors).
        overwrite: replace files that exist.

    Returns:
        The files.

    Raises:
        InputError: a format is not known or needs a package that is not installed, a file exists, or a format has not
            what the denoiser needs.
    """
    require_denoiser(denoiser)
    require_names("formats", formats)
    require_path("out", out)
    require_instance("card", card, Card, "give Card(title=...), or leave it out")
    require_flag("overwrite", overwrite)
    if not formats:
        raise InputError(f"there is no format to export to; give one or several of {', '.join(FORMATS)}")
    out = Path(out)
    chosen = {name: _checked(name) for name in dict.fromkeys(formats)}
    folder, names = _names(chosen, out)
    targets = [folder / name for written in names.values() for name in written]
    for path in targets:
        if path.is_dir() or (exists_at_all(path) and not overwrite):
            raise InputError(f"{path} exists; choose another --out, or replace it with --overwrite")
    if "safetensors" in chosen:
        write = functools.partial(_write_safetensors, card=card)
        chosen["safetensors"] = chosen["safetensors"]._replace(write=write)
    with atomic_files(folder) as temporary:
        for name, how in chosen.items():
            with rng.pinned():
                note = how.write(denoiser, temporary / names[name][0])
            if note:
                yield note
    return targets


def _checked(name: str) -> Format:
    require_name("format", name, FORMATS)
    how = FORMATS[name]
    if how.package and importlib.util.find_spec(how.package) is None:
        raise InputError(
            f"{name} needs the package {how.package}, which is not installed: pip install 'jaxdae[{how.extra}]'"
        )
    return how


def _names(chosen: dict[str, Format], out: Path) -> tuple[Path, dict[str, tuple[str, ...]]]:
    """The folder, and the names of the files of each format in it; InputError if `out` cannot be used."""
    suffixes = {Path(how.file).suffix: name for name, how in FORMATS.items()}
    named_as = None if out.is_dir() else suffixes.get(out.suffix)
    if named_as is not None:
        [*others, name] = chosen
        if others or name != named_as:
            raise InputError(f"{out} is a file's name of the format {named_as}; for {' '.join(chosen)} give a folder")
        if chosen[name].files:
            raise InputError(f"{name} makes several files ({', '.join(chosen[name].files)}); give a folder, not {out}")
        return out.parent, {name: (out.name,)}
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file and none of the format's; give a folder, or a name as {_example(chosen)}")
    return out, {name: how.files or (how.file,) for name, how in chosen.items()}


def _example(chosen: dict[str, Format]) -> str:
    return next(iter(chosen.values())).file
