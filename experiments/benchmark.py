"""How fast are a training step and a prediction, next to the peers that people come from?

    pip install -e '.[benchmark]'
    python experiments/benchmark.py

Every contestant runs in a process of its own, all on the same images, batch and cores, and they take turns, round after
round; the ratios are medians over the rounds of two times measured one after the other. A peer that is not installed is
left out and named. Writes results/benchmark/.
"""

import contextlib
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.figure import Figure

BATCH = 128
KERAS = "Keras on TensorFlow"


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the benchmark."""

    rounds: int = 7
    """Rounds in which every contestant has one turn."""
    steps: int = 20
    """Training steps of a turn."""
    images: int = 10_000
    """Images of a prediction."""
    dataset: str = "mnist"
    """The images."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    out: Path = Path("results/benchmark")
    """Where the table and the chart go."""
    worker: str = ""
    """Be this contestant, and take orders from standard input (used by the script itself)."""


Turns = tuple[Callable[[int], Any], Callable[[], Any]]
"""A function that takes a number of training steps, and one that predicts all images."""


def jaxdae_contestant(clean: np.ndarray, noisy: np.ndarray, steps: int) -> Turns:
    """This package: noise, gather and step on the device, in chunks; prediction by `jaxdae.denoise`."""
    from jaxdae.cli import cores_as_devices

    cores_as_devices()
    import jax

    import jaxdae
    from jaxdae import parallel, training

    config = jaxdae.RunConfig(draw="fixed", chunk_steps=steps)
    images, members = parallel.replicate((clean[: steps * BATCH], training.population(config)))
    states, best = parallel.replicate(training.initial_states(config, 1))
    state = [states]
    run = jaxdae.Run(config, jax.device_get(states.params), best, [])

    def train(_: int) -> None:
        state[0], losses = training.train_chunk(state[0], members, images, 1, 0, config=config)
        jax.block_until_ready(losses)

    return train, lambda: jaxdae.denoise(run, noisy)


def flax_loop(clean: np.ndarray, noisy: np.ndarray, steps: int) -> Turns:
    """The step as most people write it: `nn.Conv`, one jit-compiled step, called in a Python loop."""
    import jax
    import optax
    from flax import linen as nn

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            for _ in range(2):
                x = nn.max_pool(nn.relu(nn.Conv(32, (3, 3))(x)), (2, 2), (2, 2))
            for _ in range(2):
                x = nn.relu(nn.Conv(32, (3, 3))(x)).repeat(2, axis=1).repeat(2, axis=2)
            return nn.Conv(1, (3, 3))(x)

    model, optimizer = Plain(), optax.adadelta(1.0, rho=0.95, eps=1e-7)
    params = model.init(jax.random.key(0), noisy[:1])
    state = [params, optimizer.init(params)]
    targets = clean.astype(np.float32) / 255

    @jax.jit
    def step(params: Any, opt_state: Any, x: Any, y: Any) -> Any:
        loss = lambda p: optax.sigmoid_binary_cross_entropy(model.apply(p, x), y).mean()  # noqa: E731
        updates, opt_state = optimizer.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    predict = jax.jit(lambda params, x: jax.nn.sigmoid(jax.numpy.asarray(model.apply(params, x))))

    def train(count: int) -> None:
        for i in range(count):
            state[:] = step(*state, noisy[i * BATCH : (i + 1) * BATCH], targets[i * BATCH : (i + 1) * BATCH])
        jax.block_until_ready(state)

    def predict_all() -> None:
        jax.block_until_ready([predict(state[0], noisy[i : i + 1000]) for i in range(0, len(noisy), 1000)])

    return train, predict_all


def keras_contestant(backend: str) -> Callable[[np.ndarray, np.ndarray, int], Turns]:
    """The classic script's model in Keras."""

    def make(clean: np.ndarray, noisy: np.ndarray, steps: int) -> Turns:
        os.environ["KERAS_BACKEND"] = backend
        import keras
        from keras import layers

        def conv(filters: int, activation: str) -> Any:
            return layers.Conv2D(filters, 3, padding="same", activation=activation)

        model = keras.Sequential(
            [
                keras.Input((*noisy.shape[1:],)),
                *(layer for _ in range(2) for layer in (conv(32, "relu"), layers.MaxPooling2D(2, padding="same"))),
                *(layer for _ in range(2) for layer in (conv(32, "relu"), layers.UpSampling2D(2))),
                conv(1, "sigmoid"),
            ]
        )
        optimizer = keras.optimizers.Adadelta(1.0, rho=0.95, epsilon=1e-7)
        model.compile(optimizer=optimizer, loss="binary_crossentropy")
        targets = clean.astype(np.float32) / 255

        def train(count: int) -> None:
            for i in range(count):
                model.train_on_batch(noisy[i * BATCH : (i + 1) * BATCH], targets[i * BATCH : (i + 1) * BATCH])

        return train, lambda: model.predict(noisy, batch_size=1000, verbose=0)

    return make


def torch_contestant(channels_last: bool, bfloat16: bool) -> Callable[[np.ndarray, np.ndarray, int], Turns]:
    """The same model in PyTorch."""

    def make(clean: np.ndarray, noisy: np.ndarray, steps: int) -> Turns:
        import torch
        from torch import nn

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        layout = torch.channels_last if channels_last else torch.contiguous_format
        model = nn.Sequential(
            *(m for i in (1, 32) for m in (nn.Conv2d(i, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))),
            *(m for _ in range(2) for m in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2))),
            nn.Conv2d(32, 1, 3, padding=1),
        ).to(memory_format=layout)
        optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0, rho=0.95, eps=1e-7)
        loss = nn.BCEWithLogitsLoss()
        x = torch.from_numpy(noisy).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        y = torch.from_numpy(clean.astype(np.float32) / 255).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        narrow = (lambda: torch.autocast("cpu", torch.bfloat16)) if bfloat16 else contextlib.nullcontext

        def train(count: int) -> None:
            for i in range(count):
                optimizer.zero_grad()
                with narrow():
                    logits = model(x[i * BATCH : (i + 1) * BATCH])
                loss(logits.float(), y[i * BATCH : (i + 1) * BATCH]).backward()
                optimizer.step()

        def predict() -> None:
            with torch.inference_mode(), narrow():
                for i in range(0, len(x), 1000):
                    torch.sigmoid(model(x[i : i + 1000]))

        return train, predict

    return make


CONTESTANTS: dict[str, Callable[[np.ndarray, np.ndarray, int], Turns]] = {
    "jaxdae": jaxdae_contestant,
    KERAS: keras_contestant("tensorflow"),
    "Keras on JAX": keras_contestant("jax"),
    "PyTorch": torch_contestant(False, False),
    "PyTorch, channels_last": torch_contestant(True, False),
    "PyTorch, channels_last, bfloat16": torch_contestant(True, True),
    "Flax, a Python loop": flax_loop,
}


def work(options: Options) -> None:
    """The contestant's side: gets ready, then answers every `train` or `predict` with its seconds."""
    from jaxdae.data import load

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print as they like
    clean = load(options.dataset, manual_dir=options.manual_dir).train[: options.images]
    noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    noisy = np.clip(clean / np.float32(255) + np.float32(0.5) * noise, 0, 1)
    train, predict = CONTESTANTS[options.worker](clean, noisy, options.steps)
    turns: dict[str, Callable[[], Any]] = {"train": lambda: train(options.steps), "predict": predict}
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        turns[line.strip()]()
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([seconds, peak]), file=answers, flush=True)


class Contestant:
    """A contestant's process."""

    def __init__(self, name: str, options: Options) -> None:
        """Starts it, and has it compile by a first turn of each kind."""
        command = [sys.executable, __file__, "--worker", name, *flags(options)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout
        if self.process.stdout.readline().strip() != "ready":
            raise ModuleNotFoundError(self.process.communicate()[1].strip().splitlines()[-1])
        self.first_seconds = self.turn("train")[0]
        self.turn("predict")

    def turn(self, kind: str) -> tuple[float, float]:
        """Seconds, and the most memory (bytes) that the process has had so far."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(kind + "\n")
        self.process.stdin.flush()
        seconds, peak = json.loads(self.process.stdout.readline())
        return seconds, peak


def flags(options: Options) -> list[str]:
    """The options that a worker needs, as a command line."""
    shared = ["--steps", str(options.steps), "--images", str(options.images), "--dataset", options.dataset]
    return shared + (["--manual-dir", str(options.manual_dir)] if options.manual_dir else [])


def measure(options: Options) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Times of every contestant, and what is missing."""
    contestants, missing = {}, []
    for name in CONTESTANTS:
        try:
            contestants[name] = Contestant(name, options)
        except ModuleNotFoundError as error:
            missing.append(f"{name} ({error})")
    times: dict[str, dict[str, Any]] = {name: {"train": [], "predict": [], "peak": 0.0} for name in contestants}
    for _ in range(options.rounds):
        for kind in ("train", "predict"):
            for name, contestant in contestants.items():
                seconds, times[name]["peak"] = contestant.turn(kind)
                times[name][kind].append(seconds)
    for name, contestant in contestants.items():
        times[name]["first"] = contestant.first_seconds
        contestant.process.kill()
        contestant.process.communicate()
    return times, missing


def ratios(times: dict[str, dict[str, Any]], kind: str, name: str, peer: str) -> list[float]:
    """The ratios of a contestant's times to a peer's, round by round."""
    return [ours / theirs for ours, theirs in zip(times[name][kind], times[peer][kind], strict=True)]


def matrix_product_rate(side: int = 2048) -> float:
    """FLOP/s of float32 matrix products on all cores, the best of ten."""
    a = np.random.default_rng(0).standard_normal((side, side), np.float32)
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


def step_flops(height: int = 28, width: int = 28) -> float:
    """Floating point operations of a step, counted as plain convolutions: forward, and both gradients but the first."""
    pixels = height * width
    layers = [(pixels, 1, 32), (pixels / 4, 32, 32), (pixels / 16, 32, 32), (pixels / 4, 32, 32), (pixels, 32, 1)]
    forward = [2 * 9 * n * i * o for n, i, o in layers]
    return BATCH * (3 * sum(forward) - forward[0])


def main(options: Options) -> None:
    """Measures, and writes the table, the chart and the README."""
    from _report import command_line, markdown_table, provenance

    times, missing = measure(options)
    peer = KERAS if KERAS in times else "jaxdae"
    rate = matrix_product_rate()
    header = [
        "",
        "ms per step",
        "images/s",
        "step",
        "range",
        "predict (s)",
        "predict",
        "first (s)",
        "peak (GB)",
        "FLOP/s",
    ]
    rows = []
    for name, measured in times.items():
        step = statistics.median(measured["train"]) / options.steps
        relative = ratios(times, "train", name, peer)
        predict = statistics.median(ratios(times, "predict", name, peer))
        rows.append(
            [
                name,
                f"{1e3 * step:.0f}",
                f"{BATCH / step:,.0f}",
                f"{statistics.median(relative):.2f}x",
                f"{min(relative):.2f}-{max(relative):.2f}",
                f"{statistics.median(measured['predict']):.2f}",
                f"{predict:.2f}x",
                f"{measured['first']:.1f}",
                f"{measured['peak'] / 1e9:.2f}",
                f"{step_flops() / step / rate:.0%}",
            ]
        )
    against = [
        [name, f"{statistics.median(ratios(times, 'train', 'jaxdae', name)):.2f}x"]
        for name in times
        if name != "jaxdae"
    ]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "times.json").write_text(json.dumps(times, indent=1) + "\n")
    draw(times, peer, options).savefig(options.out / "benchmark.png", dpi=100)
    text = f"""# Speed

How long does a training step of the seed experiment's model (batch {BATCH}) take, and the prediction of
{options.images:,} images, next to the peers?

{markdown_table(header, rows)}

jaxdae's training step against each peer's:

{markdown_table(["", "jaxdae's time"], against)}

![ratios](benchmark.png)

How to read it: medians over {options.rounds} rounds; in a round every contestant takes one turn of {options.steps}
steps and one prediction. "step" and "predict" are medians of the ratio to {peer} in the same round, "range" its
lowest and highest value: on a shared machine trust these, not the milliseconds. jaxdae draws its noise within the
step; the peers are given noisy images. "first" is the first turn, with compilation. "peak" is the process's memory,
the same {options.images:,} images for all. "FLOP/s" counts the step as plain convolutions
({step_flops() / 1e9:.1f} GFLOP), as a
share of this machine's rate in large matrix products ({rate / 1e9:.0f} GFLOP/s): a method that needs fewer products
than plain convolution is credited with those that it saves. Left out: {", ".join(missing) or "none"}.
All times: [times.json](times.json).

{provenance(command_line(), f"{options.rounds} rounds", "0 (noise and weights)")}
"""
    (options.out / "README.md").write_text(text)
    print(text)


def draw(times: dict[str, dict[str, Any]], peer: str, options: Options) -> Figure:
    """Bars of the median ratios, with their range over the rounds."""
    figure = Figure(figsize=(8, 0.55 * len(times) + 1.6), layout="constrained")
    names = list(times)[::-1]
    for axes, kind, title in zip(
        figure.subplots(1, 2, sharey=True), ("train", "predict"), ("training step", f"{options.images:,} predictions"),
        strict=True,
    ):  # fmt: skip
        values = [ratios(times, kind, name, peer) for name in names]
        middle = [statistics.median(v) for v in values]
        spread = [[m - min(v) for m, v in zip(middle, values, strict=True)],
                  [max(v) - m for m, v in zip(middle, values, strict=True)]]  # fmt: skip
        colors = ["#0072b2" if name == "jaxdae" else "0.7" for name in names]
        axes.barh(names, middle, xerr=spread, color=colors, error_kw={"elinewidth": 1, "capsize": 2})
        axes.set(title=title, xlabel=f"time, {peer} = 1")
        axes.grid(axis="x", alpha=0.3)
        for position, value in enumerate(middle):
            axes.annotate(f"{value:.2f}", (0.02, position), va="center", xycoords=("axes fraction", "data"))
    return figure


if __name__ == "__main__":
    chosen = tyro.cli(Options, description=__doc__)
    work(chosen) if chosen.worker else main(chosen)
