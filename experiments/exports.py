"""How large are a denoiser's exports, how far are they from jaxdae's own result, and how fast are they?

    pip install -e '.[experiments,onnx,stablehlo]' onnxruntime
    python experiments/exports.py
    python experiments/exports.py --dataset digits --rounds 2 --images 100 --side 64    # a quick try

The networks of results/models_speed, with initial weights. jaxdae, ONNX Runtime and JAX with the StableHLO file take
turns in one process, on test images and on one larger picture; the ratios are medians over the rounds of two times
measured one after the other. Writes results/exports/.
"""

import dataclasses
import functools
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _report as report
import _shell as shell
import _tables as tables
import benchmark
import jax
import numpy as np
import pandas as pd
from _contestants import NETWORKS, at_best_batch

import jaxdae
from jaxdae.exchange.exports import FORMATS, export_denoiser
from jaxdae.models import initialize
from jaxdae.models.denoiser import About

PEERS = {"onnx": "ONNX Runtime", "stablehlo": "JAX with StableHLO"}
"""What runs each format."""
PAUSE = 0.1
"""Seconds between turns, in which the threads of the last one come to rest."""


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    images: int = 1_000
    """Test images of a turn."""
    side: int = 512
    """Side of the larger picture."""
    rounds: int = 15
    """Turns of each."""
    out: Path = Path("results/exports")
    """Results folder: table and README."""


def experiment(options: Options) -> None:
    """Exports every network, compares its results, and measures the times of all in turn."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise jaxdae.InputError("onnxruntime is not installed; pip install onnxruntime")
    data = options.load()
    noise = jaxdae.Noise(level=0.5)
    noisy = np.asarray(jaxdae.noisy_examples(data.test[: options.images], noise))
    picture = np.random.default_rng(0).random((1, options.side, options.side, 1), np.float32)
    tasks = {f"{len(noisy)} images": noisy, f"{options.side}x{options.side}": picture}
    networks = {"autoencoder": jaxdae.ConvAutoencoder(), **{name: _network(name) for name in NETWORKS}}
    rows, files = [], []
    for name, module in networks.items():
        params = jax.device_get(initialize(jax.random.key(0), module, 1))
        denoiser = jaxdae.Denoiser(module, params, About(noise, channels=1))
        with tempfile.TemporaryDirectory() as folder:
            files += [{"network": name} | file for file in _files(denoiser, Path(folder))]
            runners = {peer: runner_of(format, Path(folder)) for format, peer in PEERS.items()}
        for task, images in tasks.items():
            for file in (file for file in files if file["network"] == name):
                if runner := runners.get(PEERS.get(file["format"], "")):
                    file[f"difference, {task}"] = float(np.abs(runner(images[:100]) - denoiser(images[:100])).max())
            turns: dict[str, Callable[[], Any]] = {"jaxdae": functools.partial(denoiser, images)}
            turns |= {peer: _batched(runner, images) for peer, runner in runners.items()}
            rows += [{"network": name, "task": task} | row for row in in_turn(turns, options.rounds)]
    tables.write_table(options.out, pd.DataFrame(rows))
    made = report.provenance(f"{options.rounds} rounds", "0 (noise and weights)")
    report.write_about(options.out, made, rounds=options.rounds, files=files)


def publish(options: Options) -> None:
    """Writes the README from the files in the results folder."""
    times, about = pd.read_csv(options.out / tables.TABLE), report.read_about(options.out)
    speeds = speed_table(times, [(peer, "jaxdae") for peer in PEERS.values()])
    files = pd.DataFrame(about["files"]).set_index("network")
    for name in files.columns[1:]:
        shown = "{:.1e}" if name.startswith("difference") else "{:,.0f}" if name == "bytes" else "{:.1f}"
        files[name] = files[name].map(lambda value, shown=shown: "" if pd.isna(value) else shown.format(value))
    report.write_readme(options.out, "exports", speeds=speeds, files=files)


def speed_table(times: pd.DataFrame, ratios: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """The times of jaxdae and the ratios of two contestants each, as text: a row for each network."""
    columns = {}
    for task in times["task"].unique():
        seconds = times[times["task"] == task].pivot(index="round", columns=["contestant", "network"], values="seconds")
        columns[f"jaxdae, {task} (ms)"] = (1000 * seconds["jaxdae"].median()).map("{:,.1f}".format)
        for one, other in ratios:
            columns[f"{one} / {other}, {task}"] = benchmark.spread(seconds[one].div(seconds[other]))
    return pd.DataFrame(columns).loc[list(times["network"].unique())].rename_axis("network")


def _network(name: str) -> Any:
    return (jaxdae.DnCNN if name == "dncnn" else jaxdae.UNet)(**NETWORKS[name])


def _files(denoiser: jaxdae.Denoiser, folder: Path) -> list[dict[str, Any]]:
    """Writes every format; its size, and how long it took."""
    found = []
    for name, how in FORMATS.items():
        started = time.perf_counter()
        try:
            list(export_denoiser(denoiser, [name], folder))
        except jaxdae.InputError:
            continue  # Keras has not all layers
        seconds = time.perf_counter() - started
        found.append({"format": name, "bytes": (folder / how.file).stat().st_size, "export (s)": seconds})
    return found


def runner_of(format: str, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """What maps noisy images to denoised ones by an exported file."""
    content = (folder / FORMATS[format].file).read_bytes()
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return lambda noisy: session.run(None, {"noisy": noisy})[0]
    from jax import export

    call = jax.jit(export.deserialize(bytearray(content)).call)
    return lambda noisy: np.asarray(call(noisy))


def _batched(run: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> Callable[[], Any]:
    """A turn over all images, in batches of the size that is the fastest."""
    if len(images) == 1:
        return lambda: run(images)
    return at_best_batch(lambda size: [run(images[i : i + size]) for i in range(0, len(images), size)])


def in_turn(turns: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """The time of every turn in every round; a first round, which compiles, is not counted."""
    rows = []
    for number in range(rounds + 1):
        for name, turn in turns.items():
            time.sleep(PAUSE)
            started = time.perf_counter()
            turn()
            rows.append({"contestant": name, "round": number, "seconds": time.perf_counter() - started})
    return [row for row in rows if row["round"]]


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
