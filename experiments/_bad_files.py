"""The files of `_bad_input`: good ones, and one of each kind of damage."""

import base64
import contextlib
import functools
import gzip
import io
import json
import marshal
import pickle
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from PIL import Image

import jaxdae
from jaxdae.data import load
from jaxdae.exchange import save_denoiser
from jaxdae.exchange.exports import FORMATS
from jaxdae.models.denoiser import Denoiser
from jaxdae.runs.files import sealed

MARKER = "executed"
"""What code in a file would make, if it were executed."""
CODE = f"open({MARKER!r}, 'w').close()"
MOST = 2**31 - 1
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)

PICTURES = {
    "empty.png": "it is empty", "text.png": "cannot be read as a picture", "magic.png": "it is cut off",
    "cut.png": "cannot be read as a picture", "bomb.png": "has more than 500000000 pixels", "bomb.apng": "apng",
    "cut.jpg": "cannot be read as a picture", "cmyk.jpg": "CMYK without a colour profile",
    "bomb.jpg": "has more than 500000000 pixels", "cut.gif": "cannot be read", "bomb.gif": "has more than",
    "grows.gif": "has more than",
    "cut.webp": "cannot be read", "bomb.webp": "has more than",
    "cut.bmp": "cannot be read", "bomb.bmp": "has more than",
    "jpeg2000.png": "is a JPEG2000 file", "cut.tif": "cannot be read", "bomb.tif": "has more than",
    "samples.tif": "cannot be read", "loop.tif": "values of several types",
    "nan.tif": "holds values that are not finite", "complex.tif": "complex numbers",
    "types.tif": "values of several types", "zero.pgm": "it holds no pixel", "cut.pgm": "cannot be read",
    "bomb.pgm": "has more than", "maximum.pgm": "its largest value is 70000", "letters.ppm": "cannot be read",
    "postscript.png": "is a EPS file", "folder.png": "folder.png",
}  # fmt: skip
ARRAYS = {
    "pickled.npy": "allow_pickle", "pickled.npz": "allow_pickle", "text.npz": "cannot be read as an array",
    "cut.npy": "cannot be read as an array", "cut.npz": "cannot be read as an array", "bomb.npy": "cannot be read",
    "bomb.npz": "cannot be read", "member.npz": "cannot be read as an array", "empty.npy": "cannot be read as an array",
    "nan.npy": "holds values that are not finite", "complex.npy": "values of type complex",
    "nothing.npy": "has a picture without pixels",
    "five.npy": "has an array of shape", "bad-crc.npz": "cannot be read as an array",
    "pickle.npy": "it is neither an .npy nor an .npz file", "minus.idx": "is not an IDX file of images",
    "labels.idx": "is an IDX file of labels", "cut.idx": "is not an IDX file of images", "bomb.idx": "not an IDX file",
    "cut.idx.gz": "is not a complete gzip file", "text.idx.gz": "is not an IDX file", "zlib.idx.gz": "is damaged",
}  # fmt: skip
RUNS = {
    "nothing": "nothing is no run folder", "good.png": "good.png is no run folder", "runs/old": "another version",
    "runs/rbg": "another version of jaxdae", "runs/text": "config.json cannot be read", "runs/list": "cannot be read",
    "runs/changed": "it has changed since it was written", "runs/member": "did you mean autoencoder?",
    "runs/checkpoint": "is damaged",
    "runs/log": "metrics.jsonl is damaged", "runs/shorter": "metrics.jsonl is damaged",
    "runs/source": "config.json cannot be read",
}  # fmt: skip
CONFIGURATIONS = {
    "runs/number": "dataset 7 in the configuration of a run is not allowed", "runs/patch": "patch 'x' in the config",
    "runs/nameless": "does not say its dataset", "runs/command": "setting of a run's images 'command' is not known",
    "runs/range": "value_range [0, 'x'] in the configuration of a run is not allowed",
}  # fmt: skip
SAVED = {
    "saves/text": "denoiser.json cannot be read", "saves/schema": "another version of jaxdae",
    "saves/weights": "has changed since it was saved", "saves/width": "does not fit denoiser.json",
    "saves/kind": "kind 'resnet' is not known", "saves/cut": "holds no denoiser that can be read",
    "saves/bomb": "holds no denoiser that can be read", "saves/missing": "holds no denoiser that can be read",
    "saves/pickle": "holds no denoiser that can be read", "saves/level": "noise level 9 is out of range",
    "saves/range": "value_range (255.0,) of a denoiser is not allowed", "saves/size": "size (28, 'x') of a denoiser",
}  # fmt: skip
KERAS = {
    "empty.h5": "is no file of Keras", "text.h5": "is no file of Keras", "other.h5": "is HDF5, but no file of Keras",
    "cut.h5": "is damaged, or no file of Keras", "empty.keras": "it is no zip archive", "cut.keras": "is damaged",
    "other.keras": "it has no config.json", "bomb.keras": "would unpack to", "lambda.keras": "is code, which is not",
    "custom.keras": "is a custom object, which is not executed", "module.keras": "is a custom object, which is not",
    "nan.keras": "hold numbers that are not finite", "list.keras": "list.keras is damaged",
    "deep.keras": "is damaged", "text.keras": "it is no zip archive", "link.keras": "not stored in the file",
}  # fmt: skip
READERS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "pictures": (PICTURES, ("denoise {} --run saved --out new", "train --dataset {} --out new --no-progress",
                 "denoise good.png --run saved --out new --reference {}")),
    "arrays": (ARRAYS, ("train --dataset {} --out new --strict",)),
    "runs": (RUNS, ("resume {} --no-progress", "evaluate {}", "plot {}", "denoise good.png --out new --run {}",
             "export {} --to onnx --out new")),
    "configurations": (CONFIGURATIONS, ("resume {} --no-progress", "evaluate {}", "plot {}")),
    "saved": (SAVED, ("evaluate {} --dataset digits", "denoise good.png --out new --run {}",
              "export {} --to onnx --out new",
              "plot {} --dataset digits", "resume {} --dataset digits")),
    "keras": (KERAS, ("import {} --out new", "denoise good.png --out new --run {}",
              "resume {} --dataset digits --out new",
              "evaluate {} --dataset digits", "export {} --to onnx --out new", "plot {} --dataset digits")),
}  # fmt: skip
"""Bad files by kind, what is said of them, and the calls that read them."""


def make_files(folder: Path) -> None:
    """Fills a folder with good files (run, saved, good.*, wide.keras, pictures) and bad ones."""
    with contextlib.chdir(folder):
        for name in ("nothing", "folder.png", "folder.npz", "pictures", "taken", "runs", "saves"):
            Path(name).mkdir()
        _make_pictures()
        _make_arrays()
        _make_downloads()
        member = jaxdae.Member(model=jaxdae.ConvAutoencoder(width=1, depth=1))
        run = jaxdae.train(member, load("digits"), out="run", epochs=1, batch_size=1500, chunk_steps=1)
        _make_runs()
        _make_saved(run.denoisers[0])
        _make_keras(run.denoisers[0])


class Executed:
    """A pickle of it executes `CODE`."""

    def __reduce__(self) -> Any:
        """What unpickling calls."""
        return exec, (CODE,)


def _write(name: str, content: bytes | str) -> None:
    path = Path(name)
    path.write_text(content) if isinstance(content, str) else path.write_bytes(content)


def _cut(name: str, part: float = 0.5, new: str = "") -> None:
    content = Path(name).read_bytes()
    _write(new or f"cut{''.join(Path(name).suffixes)}", content[: int(len(content) * part)])


def _make_pictures() -> None:
    for name in ("good", "cut"):
        for suffix in ("png", "jpg", "gif", "webp", "bmp", "tif", "pgm"):
            Image.fromarray(np.tile(GREY, (4, 4)) if name == "cut" else GREY).save(f"{name}.{suffix}")
    for suffix in ("png", "gif", "webp", "bmp", "tif", "pgm"):
        _cut(f"cut.{suffix}")
    _cut("cut.jpg", 0.2)
    for number, name in enumerate("abcd"):
        Image.fromarray(np.tile(GREY + np.uint8(number), (5, 5))[: 70 + number]).save(f"pictures/{name}.png")
    Image.fromarray(GREY).save("taken/good.png")
    for suffix in ("png", "npz", "h5", "keras"):
        _write(f"text.{suffix}", "no picture\n")
        _write(f"empty.{suffix}", "")
    _write("text.txt", "text")
    _write("magic.png", b"\x89PNG\r\n\x1a\n")
    huge = struct.pack(">IIBBBBB", MOST, MOST, 8, 0, 0, 0, 0)
    _write("bomb.png", b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", huge) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""))
    _write("bomb.apng", _many_frames())
    _write("bomb.jpg", b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 65535, 65535, 1) + b"\1\x11\0\xff\xd9")
    _write("bomb.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
           + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\2\x4c\1\0;")  # fmt: skip
    dot, huge = (b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\2\2\x44\1\0" for side in (1, 65535))
    _write("grows.gif", b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + dot + huge + b";")
    riff = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff" * 6
    _write("bomb.webp", b"RIFF" + struct.pack("<I", len(riff)) + riff)
    _write("bomb.bmp", b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, MOST, MOST, 1, 24) + bytes(24))
    _write("bomb.tif", _tiff({256: MOST, 257: MOST}))
    _write("samples.tif", _tiff({277: 65535, 256: 20_000, 257: 20_000}))
    with tifffile.TiffWriter("loop.tif") as file:  # whose third page is followed by the second
        for kind in (np.uint8, np.uint16, np.uint8):
            file.write(GREY.astype(kind), metadata=None)
    with tifffile.TiffFile("loop.tif") as file:
        second, third = (page.offset for page in file.pages[1:])
    content = Path("loop.tif").read_bytes()
    end = third + 2 + 12 * int.from_bytes(content[third : third + 2], "little")
    _write("loop.tif", content[:end] + struct.pack("<I", second) + content[end + 4 :])
    _write("bomb.pgm", f"P5 {2**31} {2**31} 255\n")
    _write("zero.pgm", "P5 0 0 255\n")
    _write("maximum.pgm", b"P5 4 4 70000\n" + bytes(64))
    _write("letters.ppm", "P3 2 2 255\n1 2 x 4 5 6 7 8 9 10 11 12\n")
    _write("postscript.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) (w) file\n")
    Image.new("CMYK", (9, 9)).save("cmyk.jpg")
    Image.fromarray(GREY).save("jpeg2000.png", format="JPEG2000")
    tifffile.imwrite("nan.tif", np.full((9, 9), np.nan, np.float32))
    tifffile.imwrite("complex.tif", np.ones((9, 9), np.complex64))
    with tifffile.TiffWriter("types.tif") as file:
        file.write(GREY, metadata=None)
        file.write(GREY.astype(np.uint16), metadata=None)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _many_frames() -> bytes:
    """A PNG file of 16 bits that claims 2^31 - 1 frames and has one."""
    deep = zlib.compress(b"".join(b"\0" + bytes(32) for _ in range(16)))
    control = struct.pack(">IIIIIHHBB", 0, 16, 16, 0, 0, 1, 10, 0, 0)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 0, 0, 0, 0)), (b"acTL", struct.pack(">II", MOST, 0)),
              (b"fcTL", control), (b"IDAT", deep), (b"IEND", b"")]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _tiff(changes: dict[int, int]) -> bytes:
    tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: MOST, 279: 16} | changes
    entries = b"".join(struct.pack("<HHII", code, 4, 1, value) for code, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def _make_arrays() -> None:
    np.save("pickled.npy", np.array([Executed()], dtype=object))
    np.savez("pickled.npz", picture=np.array([Executed()], dtype=object))
    _write("pickle.npy", pickle.dumps(Executed()))
    np.save("cut.npy", GREY)
    np.savez_compressed("cut.npz", a=GREY)
    content = bytearray(Path("cut.npz").read_bytes())
    content[60:70] = bytes(10)
    _write("bad-crc.npz", bytes(content))
    for name in ("cut.npy", "cut.npz"):
        _cut(name)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (MOST, MOST)})
    _write("bomb.npy", header.getvalue())
    _zip("bomb.npz", {"a.npy": header.getvalue()})
    _zip("member.npz", {"readme.txt": b"text"})
    _write("empty.npy", "")
    for name, array in (("nan", np.full((9, 9), np.nan)), ("complex", np.ones((9, 9), complex)),
                        ("nothing", np.ones((0, 9))), ("five", np.ones((1, 2, 3, 4, 5)))):  # fmt: skip
        np.save(f"{name}.npy", array)
    images = struct.pack(">IIII", 2051, 2, 16, 16) + GREY.tobytes() * 2
    _write("labels.idx", struct.pack(">II", 2049, 2) + bytes(2))
    _write("cut.idx", images[:-9])
    _write("minus.idx", struct.pack(">IiiI", 2051, -1, -4, 4) + bytes(16))
    _write("bomb.idx", struct.pack(">IIII", 2051, MOST, MOST, MOST))
    _write("cut.idx.gz", gzip.compress(images)[:-9])
    _write("text.idx.gz", "text")
    _write("zlib.idx.gz", gzip.compress(images)[:12] + bytes(30))


def _zip(name: str, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def _make_downloads() -> None:
    """A folder of downloads with damaged files of MNIST."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import resource

    builder = tfds.builder_cls("mnist")
    Path("downloads/downloads").mkdir(parents=True)
    for url, info in builder.url_infos.items():
        _write(f"downloads/downloads/{resource.get_dl_fname(url, info.checksum)}", "text")


def _copied(name: str, source: str, file: str, change: Callable[[bytes], bytes | str]) -> None:
    shutil.copytree(source, name)
    _write(f"{name}/{file}", change((Path(name) / file).read_bytes()))


def _fields(**changes: Any) -> Callable[[bytes], str]:
    """Other fields in a JSON file with its digest; a change may be a function."""

    def change(content: bytes) -> str:
        fields = json.loads(content)
        del fields["sha256"]
        return sealed({name: changes[name](value) if name in changes else value for name, value in fields.items()})

    return change


def _other(changes: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Fields with changes, less a dataset that is none."""
    changed = fields | changes
    return {name: value for name, value in changed.items() if (name, value) != ("dataset", None)}


def _make_runs() -> None:
    shutil.copytree("run", "bare", ignore=lambda *_: ["checkpoints", "figures"])
    old = {"dataset": "digits", "noise_levels": [0.5], "width": 32}
    _copied("runs/old", "bare", "config.json", lambda _: json.dumps(old))
    _copied("runs/rbg", "bare", "config.json", _fields(prng=lambda _: "rbg"))
    _copied("runs/text", "bare", "config.json", lambda _: "no JSON")
    _copied("runs/list", "bare", "config.json", lambda _: "[1]")
    _copied("runs/changed", "bare", "config.json", lambda x: x.replace(b'"epochs": 1', b'"epochs": 7'))
    misspelt = [json.loads(Path("run/config.json").read_bytes())["members"][0] | {"model": {"kind": "autoencodr"}}]
    _copied("runs/member", "bare", "config.json", _fields(members=lambda _: misspelt))
    _copied("runs/source", "run", "config.json", _fields(source=lambda x: x | {"image": [28, 28]}))
    _copied("runs/log", "run", "metrics.jsonl", lambda x: b"{\n" + x)
    _copied("runs/shorter", "run", "metrics.jsonl", lambda x: x.replace(b"0.", b"1."))
    for name, source in (("number", {"dataset": 7}), ("patch", {"patch": "x"}), ("nameless", {"dataset": None}),
                         ("command", {"command": "rm"}), ("range", {"patch": 8, "value_range": [0, "x"]})):  # fmt: skip
        _copied(f"runs/{name}", "bare", "config.json", _fields(source=functools.partial(_other, source)))
        Path(f"runs/{name}/checkpoints").symlink_to(Path("run/checkpoints").resolve())
    shutil.move("bare", "runs/no-checkpoint")
    shutil.copytree("run", "runs/checkpoint")
    for file in Path("runs/checkpoint/checkpoints").glob("*/*/d/*"):
        file.write_bytes(pickle.dumps(Executed()))


def _make_saved(denoiser: Denoiser) -> None:
    save_denoiser(denoiser, "saved")
    weights = Path("saved/model.safetensors").read_bytes()
    _copied("saves/text", "saved", "denoiser.json", lambda _: "no JSON")
    _copied("saves/schema", "saved", "denoiser.json", _fields(schema=lambda _: 9))
    _copied("saves/weights", "saved", "model.safetensors", lambda x: x[:-1] + bytes([x[-1] ^ 1]))
    _copied("saves/width", "saved", "denoiser.json", _fields(model=lambda x: x | {"width": 5}))
    _copied("saves/kind", "saved", "denoiser.json", _fields(model=lambda x: x | {"kind": "resnet"}))
    _copied("saves/level", "saved", "denoiser.json", _fields(noise=lambda x: x | {"level": [9, 9]}))
    _copied("saves/range", "saved", "denoiser.json", _fields(value_range=lambda _: [255.0]))
    _copied("saves/size", "saved", "denoiser.json", _fields(size=lambda _: [28, "x"]))
    for name, content in (("cut", weights[:-9]), ("bomb", struct.pack("<Q", 2**60) + b"{}"),
                          ("pickle", pickle.dumps(Executed()))):  # fmt: skip
        _copied(f"saves/{name}", "saved", "denoiser.json", _fields(weights=lambda _: None))
        _write(f"saves/{name}/model.safetensors", content)
    shutil.copytree("saved", "saves/missing")
    Path("saves/missing/model.safetensors").unlink()


def _make_keras(denoiser: Denoiser) -> None:
    FORMATS["keras"].write(denoiser, Path("good.keras"))
    with zipfile.ZipFile("good.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    _write("good.weights.h5", members["model.weights.h5"])
    text = members["config.json"].decode()
    config = json.loads(text)

    def changed(name: str, **fields: Any) -> None:
        """The file with other fields of its second layer."""
        layers = config["config"]["layers"]
        other = [layers[0], layers[1] | fields, *layers[2:]]
        made = config | {"config": config["config"] | {"layers": other}}
        _zip(f"{name}.keras", members | {"config.json": json.dumps(made).encode()})

    body = marshal.dumps(compile(CODE, "lambda", "exec"))
    code = {"class_name": "__lambda__", "config": {"code": base64.b64encode(body).decode()}}
    changed("lambda", class_name="Lambda", config={"name": "code", "function": code})
    changed("custom", class_name="Own", registered_name="package>Own")
    changed("module", module="subprocess", class_name="Popen", config={"args": ["touch", MARKER]})
    second = config["config"]["layers"][1]
    changed("wide", config=second["config"] | {"activation": "tanh"})
    _zip("list.keras", members | {"config.json": b"[1]"})
    _zip("deep.keras", members | {"config.json": b"[" * 100_000})
    _zip("bomb.keras", members | {"config.json": b" " * 2**25})
    _zip("other.keras", {"readme.txt": b"text"})
    _cut("good.keras", new="cut.keras")
    for name in ("nan", "link"):
        weights = io.BytesIO(members["model.weights.h5"])
        with h5py.File(weights, "r+") as file:
            paths: list[str] = []
            file.visititems(lambda path, item: paths.append(path) if isinstance(item, h5py.Dataset) else None)  # noqa: B023
            shape = file[paths[0]].shape
            if name == "nan":
                file[paths[0]][...] = np.nan
            else:
                del file[paths[0]]
                file.create_dataset(paths[0], shape, "f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])
        _zip(f"{name}.keras", members | {"model.weights.h5": weights.getvalue()})
    with h5py.File("other.h5", "w") as file:
        file["numbers"] = np.arange(3)
    with h5py.File("cut.h5", "w") as file:
        file.attrs["model_config"] = text
        file["model_weights/x"] = np.arange(3000.0)
    _cut("cut.h5")
