"""The file layouts of Keras: what is stored where. Nothing in a file is executed, and no other file is opened.

legacy HDF5    `model_config` (JSON) as an attribute, the weights of each top layer in a group with `weight_names`
               (Keras 2, and Keras 3 as .h5); with the weights only, the groups are at the root
.keras         a zip of config.json, metadata.json and model.weights.h5
.weights.h5    layers/conv2d_1/vars/0: groups are named by the class and its count, in every model anew
"""

import contextlib
import dataclasses
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from jaxtyping import Float

from jaxdae.errors import InputError
from jaxdae.paths import require_regular_file

MAX_CONFIG, MAX_WEIGHTS = 2**26, 2**31
"""Bytes: a configuration and the weights of larger files are not read."""
CONTAINERS = ("layers", "_layer_checkpoint_dependencies", "_self_tracked_trackables")
"""What the group of a model's layers is called in a .weights.h5 (the later names: Keras 2.12 to 2.15)."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of a configuration; of a nested model, with its own layers."""

    class_name: str
    name: str
    config: dict[str, Any]
    weights: tuple[str, ...] = ()
    """The roles of its weights, in their order: kernel, bias .."""
    trained: int = 0
    """How many of them, the first ones, are trainable."""
    layers: tuple["Layer", ...] | None = None
    """Of a model."""
    nodes: tuple[Any, ...] = ()
    """Where it is used, as the file has it (`inbound_nodes`)."""


@dataclasses.dataclass(frozen=True)
class KerasFile:
    """An open file."""

    path: Path
    config: dict[str, Any] | None
    """{class_name, config}; None: weights only."""
    root: h5py.Group
    version: str
    """Of Keras, if the file says it."""

    @property
    def legacy(self) -> bool:
        """Whether the weights are stored in the layout of Keras 2."""
        return "layer_names" in self.root.attrs or "layer_names0" in self.root.attrs


@contextlib.contextmanager
def open_keras(path: Path) -> Iterator[KerasFile]:
    """Opens a file of Keras; InputError, in one sentence, if it is none, is damaged, or would unpack to too much."""
    try:
        with contextlib.ExitStack() as stack:
            yield _opened(path, stack)
    except InputError as error:
        named = str(path) in str(error)
        raise error if named else InputError(f"{path} is damaged, or no file of Keras ({error})") from None
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, RuntimeError, RecursionError,
            NotImplementedError, EOFError, IndexError) as error:  # fmt: skip
        reason = str(error).split("\n")[0][:200]
        raise InputError(f"{path} is damaged, or no file of Keras ({type(error).__name__}: {reason})") from None


def _opened(path: Path, stack: contextlib.ExitStack) -> KerasFile:
    if path.is_dir():
        raise InputError(f"{path} is a folder (a TensorFlow SavedModel holds programs, not layers); save it as .keras")
    require_regular_file(path)
    with path.open("rb") as opened:
        start = opened.read(8)
    if start[:4] == b"PK\x03\x04":
        return _opened_archive(path, stack)
    if path.suffix == ".keras" and not h5py.is_hdf5(path):
        raise InputError(f"{path} is no .keras file: it is no zip archive")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is no file of Keras: it is neither HDF5 nor a .keras archive")
    file = stack.enter_context(h5py.File(path, "r"))
    version = _text(file.attrs.get("keras_version", ""))
    config = file.attrs.get("model_config")
    if config is not None:
        return KerasFile(path, _json(_text(config)), _group(file, "model_weights"), version)
    found = KerasFile(path, None, file, version)
    if not found.legacy and not any(re.split(r"[/\\]", name)[0] in CONTAINERS for name in file):
        raise InputError(f"{path} is HDF5, but no file of Keras: it has neither layer_names nor layers")
    return found


def _opened_archive(path: Path, stack: contextlib.ExitStack) -> KerasFile:
    archive = stack.enter_context(zipfile.ZipFile(path))
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    for name, most in (("config.json", MAX_CONFIG), ("metadata.json", MAX_CONFIG), ("model.weights.h5", MAX_WEIGHTS)):
        if name not in sizes:
            raise InputError(f"{path} is a zip archive, but no .keras file: it has no {name}")
        info = archive.getinfo(name)
        # Keras stores the weights as they are; floats do not pack a hundredfold.
        if info.file_size > most or info.file_size > 2**24 + 100 * info.compress_size:
            raise InputError(f"{path} is not read: {name} would unpack to {info.file_size:,} bytes")
    version = _text(_json(archive.read("metadata.json").decode()).get("keras_version", ""))
    weights = io.BytesIO(archive.read("model.weights.h5"))
    root = stack.enter_context(h5py.File(weights, "r"))
    return KerasFile(path, _json(archive.read("config.json").decode()), root, version)


def _json(text: str) -> dict[str, Any]:
    if len(text) > MAX_CONFIG:
        raise ValueError("its configuration is too large to be one")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("its configuration is no JSON object")
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _texts(group: h5py.Group, name: str) -> list[str]:
    """A list of strings, which Keras stores in parts (name0, name1 ..) if it is long."""
    parts = [group.attrs[name]] if name in group.attrs else []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{name}{len(parts)}"])
    return [_text(x) for part in parts for x in np.atleast_1d(part)]


def _inside(group: h5py.Group, name: str) -> Any:
    """What a group holds under a path; InputError for a link that leads elsewhere."""
    found: Any = group
    for part in [part for part in name.split("/") if part]:
        if not isinstance(found, h5py.Group) or part not in found:
            raise InputError(f"weights {name} are missing in {group.name}")
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise InputError(f"weights {name} in {group.name} are a link; only data of the file itself is read")
        found = found[part]
    return found


def _group(group: h5py.Group, name: str) -> h5py.Group:
    found = _inside(group, name)
    if not isinstance(found, h5py.Group):
        raise InputError(f"{name} in {group.name} is no group")
    return found


def read_array(dataset: Any, shape: tuple[int, ...], what: str) -> Float[np.ndarray, "..."]:
    """The values of a dataset as float32; InputError unless it has that shape and holds finite floats, here."""
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise InputError(f"{what} are not stored in the file itself")
    if dataset.shape != shape:
        raise InputError(f"{what} have the shape {dataset.shape}, not {shape}")
    if dataset.dtype.kind != "f":
        raise InputError(f"{what} are {dataset.dtype}, not floats")
    if dataset.size * 4 > MAX_WEIGHTS:
        raise InputError(f"{what} are too large ({dataset.size:,} numbers)")
    values = np.asarray(dataset[()]).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{what} hold numbers that are not finite")
    return values


def stored_weights(file: KerasFile, layers: Sequence[Layer]) -> dict[tuple[str, ...], list[Any]]:
    """The datasets of every layer that has weights, by the names on its path; InputError if any is missing."""
    return _legacy_weights(file, layers) if file.legacy else _tree_weights(_tree(file.root), layers, (), "")


def _legacy_weights(file: KerasFile, layers: Sequence[Layer]) -> dict[tuple[str, ...], list[Any]]:
    """Of a top layer all trainable weights come first, those of its nested layers in their order, then the others."""
    known, found = set(_texts(file.root, "layer_names")), dict[tuple[str, ...], list[Any]]()
    for top in layers:
        inner = list(leaves(top, ()))
        slots = [(path, role, i) for trained in (True, False) for path, leaf in inner
                 for i, role in enumerate(leaf.weights) if (i < leaf.trained) == trained]  # fmt: skip
        if not slots:
            continue
        if top.name not in known:
            raise InputError(f"layer {top.name} ({top.class_name}) has no weights in the file")
        group = _group(file.root, top.name)
        names = _texts(group, "weight_names")
        if len(names) != len(slots):
            raise InputError(
                f"layer {top.name} ({top.class_name}) has {len(names)} weights in the file, not {len(slots)}"
            )
        for path, leaf in inner:
            if leaf.weights:
                found[path] = [None] * len(leaf.weights)
        for (path, role, i), name in zip(slots, names, strict=True):
            stored = re.sub(r":\d+$", "", name).rsplit("/", 1)[-1]
            if stored in ROLES and stored != role:
                raise InputError(f"layer {'/'.join(path)} has the weights {name} where its {role} should be")
            found[path][i] = _inside(group, name)
    return found


ROLES = {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "alpha"}


def leaves(layer: Layer, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Layer]]:
    """The layers that are no models, with the names on their paths."""
    path = (*path, layer.name)
    if layer.layers is None:
        yield path, layer
    for inner in layer.layers or ():
        yield from leaves(inner, path)


class _Tree(NamedTuple):
    """What a .weights.h5 holds, by path; Keras 2 on Windows has backslashes in names."""

    datasets: dict[str, h5py.Dataset]
    names: dict[str, str]
    """The own names of layers, which Keras 3.7 and later tell, by the paths of their `vars`."""

    def below(self, path: str) -> list[str]:
        """The names in a group that hold datasets, conv2d, conv2d_1, .. conv2d_10 in this order."""
        found = {name[len(path) :].split("/")[0] for name in self.datasets if name.startswith(path)}
        return sorted(found, key=_natural)


def _tree(root: h5py.Group) -> _Tree:
    found = _Tree({}, {})

    def visit(path: str, item: Any) -> None:  # is not called for links
        path = path.replace("\\", "/")
        if isinstance(item, h5py.Dataset):
            found.datasets[path] = item
        elif "name" in item.attrs:
            found.names[path] = _text(item.attrs["name"])

    root.visititems(visit)
    return found


def _tree_weights(
    tree: _Tree, layers: Sequence[Layer], path: tuple[str, ...], inside: str
) -> dict[tuple[str, ...], list[Any]]:
    weighty = [layer for layer in layers if any(leaf.weights for _, leaf in leaves(layer, ()))]
    if not weighty:
        return {}
    container = next((f"{inside}{name}/" for name in CONTAINERS if tree.below(f"{inside}{name}/")), None)
    if container is None:
        raise InputError(f"the file has no weights of the layers of {'/'.join(path) or 'the model'}")
    found: dict[tuple[str, ...], list[Any]] = {}
    for layer, group in zip(weighty, _groups(tree, container, layers, weighty), strict=True):
        own = (*path, layer.name)
        if layer.layers is not None:
            found |= _tree_weights(tree, layer.layers, own, f"{group}/")
            continue
        stored = tree.below(f"{group}/vars/")
        if stored != [str(i) for i in range(len(layer.weights))]:
            many = f"{len(stored)} weights in the file, not {len(layer.weights)}"
            raise InputError(f"layer {'/'.join(own)} ({layer.class_name}) has {many}")
        found[own] = [tree.datasets[f"{group}/vars/{name}"] for name in stored]
    return found


def _groups(tree: _Tree, container: str, layers: Sequence[Layer], weighty: Sequence[Layer]) -> list[str]:
    """The groups of the layers that have weights: by their own names, else by class and count."""
    named = {name: path.rsplit("/", 1)[0] for path, name in tree.names.items()
             if path.startswith(container) and path.count("/") == container.count("/") + 1}  # fmt: skip
    counts, found = dict[str, int](), []
    # Keras 2 counts layers with weights twice: its groups are taken in turn.
    in_turn = not container.endswith("layers/")
    for layer in weighty if in_turn else layers:
        name = snake_case(layer.class_name)
        count = counts[name] = counts.get(name, -1) + 1
        if layer not in weighty:
            continue
        stored = f"{name}_{count}" if count else name
        if in_turn:
            own = [key for key in tree.below(container) if re.sub(r"_\d+$", "", key) == name]
            stored = own[count] if count < len(own) else stored
        found.append(named.get(layer.name, container + stored))
    return found


def unnamed_weights(file: KerasFile) -> list[tuple[str, Any]]:
    """All weights of a file that holds weights only: (layer, dataset), in the order of the layers."""
    found: list[tuple[str, Any]] = []
    if file.legacy:
        for layer in _texts(file.root, "layer_names"):
            group = _group(file.root, layer)
            found += [(layer, _inside(group, name)) for name in _texts(group, "weight_names")]
        return found
    tree = _tree(file.root)
    container = next((f"{name}/" for name in CONTAINERS if tree.below(f"{name}/")), "layers/")
    for layer in tree.below(container):
        names = tree.below(f"{container}{layer}/vars/")
        found += [(layer, tree.datasets[f"{container}{layer}/vars/{name}"]) for name in names]
    return found


def _natural(name: str) -> tuple[str, int]:
    """conv2d, conv2d_1, .. conv2d_10."""
    stem, _, number = name.rpartition("_")
    return (stem, int(number)) if stem and number.isdigit() else (name, 0)


def snake_case(name: str) -> str:
    """The group's name of a class: conv2d for Conv2D, leaky_re_lu for LeakyReLU."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
