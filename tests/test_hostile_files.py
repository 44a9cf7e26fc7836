"""Every parser, on damaged files and random words, returns or raises InputError, and nothing else."""

import functools
import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import MEMBER

from jaxdae.data import pictures
from jaxdae.data.folder import read_folder
from jaxdae.data.idx import parse_idx_images
from jaxdae.data.own import load_again, read_own
from jaxdae.errors import InputError
from jaxdae.exchange.keras import read_keras
from jaxdae.exchange.packaged import load_denoiser
from jaxdae.exchange.saved import load_card, load_saved, save_denoiser
from jaxdae.noise import Noise, check_noise, level_range
from jaxdae.runs import folder
from jaxdae.runs.folder import Config, Loop

MOST_PIXELS = 10**5
"""Headers that claim more are refused, lest a test fills the memory."""

on_one_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Every example writes the same file anew."""


def or_refused(function, *args, **kwargs):
    """What a function returns; None for an InputError of one sentence."""
    try:
        return function(*args, **kwargs)
    except InputError as error:
        assert str(error)
    return None


@st.composite
def damaged(draw, whole):
    """A file with bytes changed, inserted or left out, or cut short; most changes are in the head."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(len(content), draw(st.sampled_from((40, 300, len(whole)))))))
        new = draw(
            st.sampled_from((b"", b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x80")) | st.binary(min_size=1, max_size=4)
        )
        how = draw(st.sampled_from(("replace", "insert", "delete", "cut")))
        if how == "cut":
            del content[at:]
        else:
            content[at : at + (0 if how == "insert" else max(1, len(new)))] = b"" if how == "delete" else new
    return bytes(content)


JUNK = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
JSON = st.recursive(
    JUNK, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def places(tree, path=()):
    """The paths of everything in a tree of JSON."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path] * bool(path) + [place for key, value in inner for place in places(value, (*path, key))]


@st.composite
def mangled(draw, tree):
    """A tree of JSON with one or two values, of any depth, replaced, left out or added."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 2))):
        *above, last = draw(st.sampled_from(places(tree)))
        parent = functools.reduce(lambda part, key: part[key], above, tree)
        how = draw(st.sampled_from(("replace", "replace", "delete", "add")))
        if how == "delete":
            del parent[last]
        elif how == "add" and isinstance(parent, dict):
            parent[draw(st.text(max_size=5))] = draw(JSON)
        else:
            parent[last] = draw(JSON)
        if not places(tree):
            break
    return tree


def written(write, *args, **settings):
    """What a function writes to a file."""
    file = io.BytesIO()
    write(file, *args, **settings)
    return file.getvalue()


def every_kind():
    """A small file of each format of pictures, and some of the unusual ones."""
    grey = np.random.default_rng(0).integers(0, 256, (12, 10), np.uint8)
    image, frames = Image.fromarray(grey), [Image.fromarray(np.roll(grey, n)) for n in range(3)]
    several = {"save_all": True, "append_images": frames[1:]}
    pillow = {
        "a.png": (image, {}), "a.jpg": (image, {}), "a.bmp": (image, {}), "a.gif": (image, {}), "a.pgm": (image, {}),
        "a.webp": (image, {"lossless": True}), "a.pbm": (image.convert("1"), {}), "a.ppm": (image.convert("RGB"), {}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 257), {}), "palette.png": (image.convert("P"), {}),
        "frames.png": (frames[0], several), "frames.gif": (frames[0], several),
        "fax.tif": (Image.fromarray(grey > 99), {"compression": "group4"}), "cmyk.tif": (image.convert("CMYK"), {}),
    }  # fmt: skip
    tiff = {
        "a.tif": (grey, {}), "float.tif": (grey.astype(np.float32), {}),
        "imagej.tif": (np.stack([grey] * 3), {"imagej": True}),
        "pages.tif": (np.stack([grey] * 3), {"photometric": "minisblack"}),
        "lzw.tif": (grey, {"compression": "lzw", "predictor": True}),
    }  # fmt: skip
    forms = Image.registered_extensions()
    return (
        {name: written(x.save, forms[Path(name).suffix], **how) for name, (x, how) in pillow.items()}
        | {name: written(tifffile.imwrite, values, **how) for name, (values, how) in tiff.items()}
        | {"plain.pgm": b"P2\n# x\n2 2\n255\n0 1 2 3\n"}
    )


PICTURES = every_kind()


@pytest.mark.filterwarnings("ignore")  # the libraries warn of damaged files in many ways
@pytest.mark.parametrize("name", PICTURES)
@on_one_file
@given(data=st.data())
def test_pictures(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(PICTURES[name])))
    found = or_refused(pictures.read, path, max_pixels=MOST_PIXELS)
    assert found is None or pictures.unit_scale(found)


IDX = struct.pack(">4i", 2051, 3, 4, 4) + bytes(range(48))
NUMBERS = np.ones((3, 4, 4), np.float32)
ARRAYS = {
    "a.idx": IDX, "b.idx.gz": gzip.compress(IDX), "c.npy": written(np.save, NUMBERS),
    "d.npz": written(np.savez, x=NUMBERS), "e.npz": written(np.savez_compressed, x=NUMBERS),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ARRAYS)
@on_one_file
@given(data=st.data())
def test_arrays(tmp_path, name, data):
    (tmp_path / name).write_bytes(data.draw(damaged(ARRAYS[name])))
    or_refused(read_folder, tmp_path)


@given(st.binary(max_size=60) | damaged(IDX))
def test_idx_files_of_any_bytes(content):
    or_refused(parse_idx_images, Path("a"), content)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_denoiser(load_denoiser("digits"), tmp_path_factory.mktemp("saved"))


@on_one_file
@given(data=st.data())
def test_saved_denoisers(saved, tmp_path, data):
    fields = json.loads((saved / "denoiser.json").read_text())
    del fields["sha256"]
    tree = data.draw(mangled(fields))
    (tmp_path / "denoiser.json").write_text(json.dumps(tree))
    (tmp_path / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    or_refused(load_saved, tmp_path)
    or_refused(load_card, tmp_path)


@on_one_file
@given(data=st.data())
def test_weights(saved, tmp_path, data):
    fields = json.loads((saved / "denoiser.json").read_text())
    del fields["sha256"], fields["weights"]
    (tmp_path / "denoiser.json").write_text(json.dumps(fields))
    (tmp_path / "model.safetensors").write_bytes(data.draw(damaged((saved / "model.safetensors").read_bytes())))
    or_refused(load_saved, tmp_path)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    for number in range(4):
        (path / f"{number}.png").write_bytes(PICTURES["a.png"])
    return path


@on_one_file
@given(data=st.data())
def test_configurations_of_runs(own, tmp_path, data):
    folder.write_config(tmp_path, Config((MEMBER,), Loop(), read_own(own, patch=12).describe()))
    fields = json.loads((tmp_path / "config.json").read_text())
    del fields["sha256"]
    (tmp_path / "config.json").write_text(json.dumps(data.draw(mangled(fields))))
    or_refused(folder.load_config, tmp_path)


@on_one_file
@given(data=st.data())
def test_images_of_a_configuration(own, data):
    or_refused(load_again, data.draw(mangled(read_own(own, patch=12).describe())))


@on_one_file
@given(data=st.data())
def test_logs(tmp_path, data):
    line = json.dumps({"epoch": 1, "member": 0, "train_bce": 0.1}).encode() + b"\n"
    (tmp_path / "metrics.jsonl").write_bytes(data.draw(damaged(line * 3)))
    or_refused(folder.read_history, tmp_path)


KERAS = {
    name: (Path(__file__).parent / "golden" / "keras" / name).read_bytes() for name in ("classic.h5", "classic.keras")
}


@pytest.mark.parametrize("name", KERAS)
@on_one_file
@given(data=st.data())
def test_files_of_keras(tmp_path, name, data):
    (tmp_path / name).write_bytes(data.draw(damaged(KERAS[name])))
    or_refused(read_keras, tmp_path / name)


@on_one_file
@given(data=st.data())
def test_models_of_keras(tmp_path, data):
    with zipfile.ZipFile(io.BytesIO(KERAS["classic.keras"])) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = data.draw(mangled(json.loads(parts["config.json"])))
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        for name, content in (parts | {"config.json": json.dumps(config)}).items():
            archive.writestr(name, content)
    or_refused(read_keras, tmp_path / "a.keras")


@given(st.text(max_size=8) | st.text("0123456789.:-e+naif_ ", max_size=8) | JSON)
def test_noise_levels(level):
    pair = or_refused(level_range, level)
    checked = or_refused(check_noise, Noise(level=level))
    assert checked is None or (0 <= checked.level[0] <= checked.level[1] and pair == checked.level)
