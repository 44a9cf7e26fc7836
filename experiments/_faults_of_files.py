"""Faults on the disk and in the numbers: rotten files; losses, gradients and parameters that are not finite."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tifffile
from _faults_of_processes import Bench, Tried
from flax import struct

import jaxdae
from jaxdae import rng
from jaxdae.components import number, structure
from jaxdae.data import ImageData
from jaxdae.exchange import packaged
from jaxdae.objectives import OBJECTIVES, Supervised
from jaxdae.runs import checkpoints, folder
from jaxdae.training.epoch import epoch_order
from jaxdae.training.optimizers import SGD

DAMAGES: dict[str, Callable[[bytes, np.random.Generator], bytes | None]] = {
    "truncated": lambda content, draw: content[: draw.integers(len(content))] if content else None,
    "zeroed": lambda content, draw: bytes(len(content)),
    "one bit flipped": lambda content, draw: _flipped(content, int(draw.integers(8 * len(content)))),
    "gone": lambda content, draw: None,
}


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _damage(path: Path, name: str, draw: np.random.Generator) -> bool:
    """Damages a file; False where that changes nothing."""
    content = path.read_bytes()
    damaged = DAMAGES[name](content, draw) if content else None
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged)
    return damaged != content


class _Said(logging.Handler):
    """Keeps the warnings of jaxdae."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def __enter__(self) -> list[str]:
        logging.getLogger("jaxdae").addHandler(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        logging.getLogger("jaxdae").removeHandler(self)


def _same(a: jaxdae.Run, b: jaxdae.Run) -> bool:
    pairs = zip(jax.tree.leaves((a.params, a.best)), jax.tree.leaves((b.params, b.best)), strict=True)
    drop = "images_per_second"
    logs = [[{k: v for k, v in line.items() if k != drop} for line in run.history] for run in (a, b)]
    return all(np.array_equal(x, y) for x, y in pairs) and logs[0] == logs[1] and a.config == b.config


def rotten_checkpoints(tried: Bench, tries: int) -> Iterator[Tried]:
    """Every file of the newest checkpoint, damaged in every way: named, and the one before read."""
    draw, data = np.random.default_rng(tried.seed), jaxdae.load("digits")
    expected = jaxdae.load_run(tried.undisturbed)
    newest = str(checkpoints.newest_step(tried.undisturbed / folder.CHECKPOINTS))
    home = tried.undisturbed / folder.CHECKPOINTS / newest
    files = sorted(path.relative_to(home) for path in home.rglob("*") if path.is_file())
    without = tried.new("rotten") / "run"
    shutil.copytree(tried.undisturbed, without)
    shutil.rmtree(without / folder.CHECKPOINTS / newest)
    before_it = jaxdae.load_run(without)
    for name in DAMAGES:
        for file in files[:tries]:
            copy = tried.new("rotten") / "run"
            shutil.copytree(tried.undisturbed, copy)
            if not _damage(copy / folder.CHECKPOINTS / newest / file, name, draw):
                continue
            with _Said() as loading:
                read = _loaded(copy)
            with _Said() as said:
                same = _same(jaxdae.resume(copy, data), expected)
            # Without the digests alone, the checkpoint is read as it is: nothing in it is wrong.
            named = any(f"/{newest} is damaged" in line for line in said) or str(file) == checkpoints.DIGESTS
            wrong = "" if same and named else f"{file} {name}: {'not named' if same else 'another end'}"
            if not isinstance(read, jaxdae.Run):
                wrong = f"{file} {name}: load_run did not go back: {read}"
            elif not _same(read, expected) and not (loading and _same(read, before_it)):
                wrong = f"{file} {name}: load_run gave other numbers"
            shutil.rmtree(copy.parent)
            yield Tried(
                f"a file of the newest checkpoint {name}",
                not wrong,
                wrong or "".join(said[:1]).replace(str(copy), "RUN"),
            )
    for name in DAMAGES:
        copy = tried.new("rotten") / "run"
        shutil.copytree(tried.undisturbed, copy)
        for file in (copy / folder.CHECKPOINTS).glob("*/state/manifest.ocdbt"):
            _damage(file, name, draw)
        before = sorted(path for path in copy.rglob("*") if path.is_file())
        try:
            jaxdae.resume(copy, data)
            wrong = "resumed from damaged checkpoints"
        except jaxdae.InputError as error:
            wrong = "" if sorted(p for p in copy.rglob("*") if p.is_file()) == before else "something was deleted"
            said = [str(error)]
        yield Tried(f"all checkpoints {name}", not wrong, wrong or said[0].replace(str(copy), "RUN"))


def _loaded(path: Path) -> jaxdae.Run | str:
    try:
        return jaxdae.load_run(path)
    except jaxdae.InputError as error:
        return str(error)


def rotten_files(tried: Bench, tries: int) -> Iterator[Tried]:
    """Configuration, log, packaged, imported and cached files, damaged: refused, or read as the numbers they were."""
    draw = np.random.default_rng(tried.seed)
    expected = jaxdae.load_run(tried.undisturbed)
    for file in (folder.CONFIG, folder.METRICS):
        for name in DAMAGES:
            for _ in range(1 if name in ("gone", "zeroed") else tries):
                copy = tried.new("rotten") / "run"
                shutil.copytree(tried.undisturbed, copy)
                if not _damage(copy / file, name, draw):
                    continue
                with _Said() as said:
                    found = _loaded(copy)
                whole = isinstance(found, jaxdae.Run) and _same(found, expected)
                ok = isinstance(found, str) or whole or (file == folder.METRICS and bool(said))
                text = found if isinstance(found, str) else "".join(said[:1]) or "read as it was"
                yield Tried(f"{file} {name}", ok, text.replace(str(copy), "RUN"))
                shutil.rmtree(copy.parent)
    digits, golden = packaged.HOME / "digits", Path(__file__).parents[1] / "tests" / "golden" / "keras"
    sources: list[tuple[str, Path, str, Callable[[Path], Any]]] = [
        ("a packaged model", digits, "model.safetensors", jaxdae.load_denoiser),
        ("a packaged model's denoiser.json", digits, "denoiser.json", jaxdae.load_denoiser),
        ("an imported .keras file", golden, "classic.keras", lambda path: jaxdae.load_denoiser(path / "classic.keras")),
        ("an imported .h5 file", golden, "classic.h5", lambda path: jaxdae.load_denoiser(path / "classic.h5")),
    ]
    for what, home, file, load in sources:
        expected_params = jax.tree.leaves(load(home).params)
        for name in DAMAGES:
            for _ in range(1 if name in ("gone", "zeroed") else tries):
                copy = tried.new("rotten")
                shutil.copytree(home, copy, dirs_exist_ok=True)
                if not _damage(copy / file, name, draw):
                    continue
                try:
                    params = jax.tree.leaves(load(copy).params)
                    ok = len(params) == len(expected_params) and all(map(np.array_equal, params, expected_params))
                    text = "read as it was" if ok else "read as other numbers"
                except jaxdae.InputError as error:
                    ok, text = True, str(error)
                yield Tried(f"{what} {name}", ok, text.replace(str(copy), "FOLDER"))
                shutil.rmtree(copy)


def rotten_data(tried: Bench, tries: int, manual_dir: Path | None) -> Iterator[Tried]:
    """MNIST's files as a user keeps them, damaged; without them, nothing is tried."""
    home = Path(manual_dir or os.environ.get("JAXDAE_MANUAL_DIR", "")) / "mnist"
    images = "t10k-images-idx3-ubyte.gz"
    if not (home / images).exists():
        print("a cached data set is not tried: name the folder with MNIST's files (--manual-dir)")
        return
    draw, expected = np.random.default_rng(tried.seed), jaxdae.load("mnist", manual_dir=home.parent).sha256
    for name in list(DAMAGES)[:3]:  # one that is gone is downloaded again
        for _ in range(tries):
            copy = tried.new("rotten") / "mnist"
            copy.mkdir()
            for file in home.glob("*-images-idx3-ubyte.gz"):
                shutil.copyfile(file, copy / file.name)
            _damage(copy / images, name, draw)
            try:
                ok = jaxdae.load("mnist", manual_dir=copy.parent).sha256 == expected
                text = "read as it was" if ok else "read as other images"
            except jaxdae.InputError as error:
                ok, text = True, str(error)
            yield Tried(f"a cached data set {name}", ok, text.replace(str(copy), "FOLDER"))
            shutil.rmtree(copy.parent)


@struct.dataclass
class Faulty(Supervised):
    """A loss that goes wrong at one example of one epoch: its value, its gradient, or all parameters after its step."""

    fault: str = structure("loss", "what is not finite")
    epoch: float = number(1.0, "when")
    index: float = number(1e9, "at which example; one that there is not: never")

    def losses(self, predict: Any, example: Any, draws: Any) -> Any:
        """The loss of every image."""
        losses = super().losses(predict, example, draws)
        hit = (draws.epoch == self.epoch) & (draws.index == self.index)
        if self.fault == "loss":
            return jnp.where(hit, jnp.inf, losses)
        if self.fault == "gradient":  # the root of zero has none
            return losses + jnp.where(hit, jnp.sqrt(jnp.where(hit, 0 * losses, 1)), 0)
        return losses * jnp.where(hit, 1e6, 1)


def wrong_numbers(tried: Bench, tries: int) -> Iterator[Tried]:
    """A member whose numbers go wrong at a known step is named with it; the other member trains as it does alone."""
    OBJECTIVES["faulty"] = Faulty
    digits = jaxdae.load("digits")
    data = ImageData(digits.train[:500], digits.test[:50])
    draw = tried.draw("numbers")
    network = jaxdae.ConvAutoencoder(width=2, depth=1)
    for fault in ("loss", "gradient", "parameters"):
        rate = 1e35 if fault == "parameters" else 0.1
        for _ in range(tries):
            epoch = 1 if fault == "parameters" else draw.randint(1, 3)
            order = np.asarray(epoch_order(rng.draw_key(0, rng.ORDER, epoch), 500))
            step = 1 if fault == "parameters" else draw.randint(1, 10)
            index = float(order[50 * step - draw.randint(1, 50)])
            whole = jaxdae.Member(model=network, objective=Faulty("bce", fault), optimizer=SGD(learning_rate=0.1))
            faulty = Faulty("bce", fault, float(epoch), index)
            member = jaxdae.Member(model=network, objective=faulty, optimizer=SGD(learning_rate=rate))
            loop: Any = {"epochs": 3, "batch_size": 50, "chunk_steps": 3}
            out = tried.new("numbers") / "run"
            with _Said() as said:
                run = jaxdae.train([member, whole], data, out=out, **loop)
            alone = jaxdae.train(whole, data, **loop)
            named = f"is frozen since epoch {epoch}, step {step} of 10"
            wrong = "" if len(said) == 1 and said[0].startswith("member 0 ") and named in said[0] else f"said: {said}"
            if not all(map(np.array_equal, *map(jax.tree.leaves, (run.params[1], alone.params[0])))):
                wrong = wrong or "the other member trained otherwise"
            kept = jaxdae.load_run(out)
            if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((kept.params, kept.best[0].params))):
                wrong = wrong or "parameters that are not finite were saved"
            yield Tried(f"{fault} not finite", not wrong, wrong or said[0])
    picture = tried.new("numbers") / "scans"
    picture.mkdir()
    values = np.full((64, 64), 0.5, np.float32)
    values[3, 5] = np.nan
    tifffile.imwrite(picture / "a.tif", values)
    try:
        jaxdae.read_own(picture)
        yield Tried("data not finite", False, "read")
    except jaxdae.InputError as error:
        yield Tried("data not finite", True, str(error).replace(str(picture), "scans"))
