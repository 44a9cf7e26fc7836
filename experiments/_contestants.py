"""The contestants of the benchmark, jaxdae and its peers: each in a process of its own, measured turn by turn."""

import contextlib
import dataclasses
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

BATCH = 128


@dataclasses.dataclass(frozen=True)
class Job:
    """The work of a contestant."""

    name: str = "jaxdae"
    """One of CONTESTANTS."""
    steps: int = 10
    """Training steps of a turn."""
    images: int = 10_000
    """Images of a prediction."""
    dataset: str = "mnist"
    """The images."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand."""
    enlarge: int = 1
    """How many times each pixel is repeated along both axes."""
    batch: int = BATCH
    """Images per step."""
    members: int = 1
    """Members in training (jaxdae only)."""
    population: Literal["map", "vmap", "products"] = "map"
    """How members step (jaxdae only): `jaxdae.parallel.Population`."""
    members_at_once: int = 0
    """Members that step together (jaxdae only), where they do; 0: all."""
    devices: int = 0
    """CPU devices (jaxdae only); 0 for all cores."""
    model: str = "autoencoder"
    """The network: that of the classic experiment, or one of `NETWORKS` (jaxdae and PyTorch only)."""


NETWORKS: dict[str, dict[str, Any]] = {"unet": {"width": 32}, "large unet": {"width": 64}, "dncnn": {"width": 32}}
"""Networks by name, with their width; trained on squared errors by Adam."""
KERAS = "Keras on TensorFlow"

Turns = dict[str, Callable[[], Any]]
"""Turns by name: `train` takes the steps of a turn, `predict` denoises all images, Keras's `fit` trains an epoch."""


def at_best_batch(predict: Callable[[int], Any]) -> Callable[[], None]:
    """A turn that predicts all images in batches of the size that its first turn found the fastest."""
    best: list[int] = []

    def seconds(size: int) -> float:
        predict(size)  # compiles
        started = time.perf_counter()
        predict(size)
        return time.perf_counter() - started

    def turn() -> None:
        if not best:
            best.append(min((25, 100, 250, 1000), key=seconds))
        predict(best[0])

    return turn


def jaxdae_contestant(clean: np.ndarray, noisy: np.ndarray, job: Job) -> Turns:
    """This package: noise, gather and step on the device, in chunks; prediction by a `Denoiser`."""
    from jaxdae.devices import cores_as_devices

    if job.devices:
        os.environ["JAX_NUM_CPU_DEVICES"] = str(job.devices)
    cores_as_devices()
    import jax

    import jaxdae
    from jaxdae import parallel, training
    from jaxdae.data.source import InMemory
    from jaxdae.models.denoiser import About

    member = jaxdae.Member(noise=jaxdae.Noise(redraw=False))
    if job.model != "autoencoder":
        network = jaxdae.DnCNN if job.model == "dncnn" else jaxdae.UNet
        member = member.replace(model=network(**NETWORKS[job.model]), optimizer=jaxdae.Adam())  # type: ignore[attr-defined]
    grid = jaxdae.grid(member, {"seed": range(job.members)})
    source, members = parallel.replicate((InMemory(clean[: job.steps * job.batch]), training.stack(grid)))
    plan = training.Plan.of(source.examples, job.batch, job.steps)
    states, best = parallel.replicate(training.initial_states(members, channels=1))
    state = [states]
    params = jax.tree.map(lambda leaf: leaf[0], jax.device_get(best.params))
    denoiser = jaxdae.Denoiser(grid[0].model, params, About(grid[0].noise, channels=1))

    population = parallel.Population(job.population, job.members_at_once)

    def train() -> None:
        state[0], losses = training.train_chunk(state[0], members, source, 1, 0, plan=plan, population=population)
        jax.block_until_ready(losses)

    return {"train": train, "predict": lambda: denoiser(noisy)}


def flax_loop(clean: np.ndarray, noisy: np.ndarray, job: Job) -> Turns:
    """The usual way: `nn.Conv`, one jit-compiled step, called in a Python loop."""
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

    def train() -> None:
        for i in range(job.steps):
            state[:] = step(
                *state, noisy[i * job.batch : (i + 1) * job.batch], targets[i * job.batch : (i + 1) * job.batch]
            )
        jax.block_until_ready(state)

    def predict_all(size: int) -> None:
        jax.block_until_ready([predict(state[0], noisy[i : i + size]) for i in range(0, len(noisy), size)])

    return {"train": train, "predict": at_best_batch(predict_all)}


def keras_contestant(backend: str) -> Callable[[np.ndarray, np.ndarray, Job], Turns]:
    """The classic script's model in Keras."""

    def make(clean: np.ndarray, noisy: np.ndarray, job: Job) -> Turns:
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

        def train() -> None:
            for i in range(job.steps):
                model.train_on_batch(
                    noisy[i * job.batch : (i + 1) * job.batch], targets[i * job.batch : (i + 1) * job.batch]
                )

        def fit() -> None:
            validation = noisy[:10_000], targets[:10_000]
            model.fit(noisy, targets, batch_size=job.batch, shuffle=True, validation_data=validation, verbose=0)

        predict = at_best_batch(lambda size: model.predict(noisy, batch_size=size, verbose=0))
        return {"train": train, "predict": predict, "fit": fit}

    return make


def torch_contestant(channels_last: bool, bfloat16: bool) -> Callable[[np.ndarray, np.ndarray, Job], Turns]:
    """The same model in PyTorch."""

    def make(clean: np.ndarray, noisy: np.ndarray, job: Job) -> Turns:
        import torch
        from torch import nn

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        layout = torch.channels_last if channels_last else torch.contiguous_format
        classic = job.model == "autoencoder"
        model = (torch_autoencoder(nn) if classic else torch_network(job.model)).to(memory_format=layout)
        if classic:
            optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0, rho=0.95, eps=1e-7)
        else:
            optimizer = torch.optim.Adam(model.parameters())
        loss = nn.BCEWithLogitsLoss() if classic else nn.MSELoss()
        x = torch.from_numpy(noisy).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        y = torch.from_numpy(clean.astype(np.float32) / 255).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        narrow = (lambda: torch.autocast("cpu", torch.bfloat16)) if bfloat16 else contextlib.nullcontext

        def train() -> None:
            for i in range(job.steps):
                optimizer.zero_grad()
                with narrow():
                    logits = model(x[i * job.batch : (i + 1) * job.batch])
                loss(logits.float(), y[i * job.batch : (i + 1) * job.batch]).backward()
                optimizer.step()

        def predict(size: int) -> None:
            with torch.inference_mode(), narrow():
                for i in range(0, len(x), size):
                    predicted = model(x[i : i + size])
                    torch.sigmoid(predicted) if classic else predicted

        return {"train": train, "predict": at_best_batch(predict)}

    return make


def torch_autoencoder(nn: Any) -> Any:
    """The classic network."""
    return nn.Sequential(
        *(m for i in (1, 32) for m in (nn.Conv2d(i, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))),
        *(m for _ in range(2) for m in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Upsample(scale_factor=2))),
        nn.Conv2d(32, 1, 3, padding=1),
    )


def torch_network(name: str) -> Any:
    """`jaxdae.UNet` of depth 2 or `jaxdae.DnCNN` of depth 8, with the same parameters, predicting a residual."""
    import torch
    from torch import nn

    width = NETWORKS[name]["width"]

    class DnCNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            hidden = [m for i in [1] + [width] * 6 for m in (nn.Conv2d(i, width, 3, padding=1), nn.ReLU())]
            self.layers = nn.Sequential(*hidden, nn.Conv2d(width, 1, 3, padding=1))

        def forward(self, x: Any) -> Any:
            return x + self.layers(x)

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            sizes = [width, 2 * width, 4 * width]
            self.encoder = nn.ModuleList(
                nn.Conv2d(i, o, 3, padding=1) for i, o in zip([1, *sizes[1:]], sizes, strict=True)
            )
            self.down = nn.ModuleList(nn.Conv2d(i, 2 * i, 2, 2) for i in sizes[:2])
            self.up = nn.ModuleList(nn.ConvTranspose2d(2 * o, o, 2, 2) for o in sizes[:2])
            self.decoder = nn.ModuleList(nn.Conv2d(2 * o, o, 3, padding=1) for o in sizes[:2])
            self.output = nn.Conv2d(width, 1, 3, padding=1)

        def forward(self, x: Any) -> Any:
            skips = []
            hidden = x
            for encode, down in zip(self.encoder, self.down, strict=False):
                skips.append(torch.relu(encode(hidden)))
                hidden = down(skips[-1])
            hidden = torch.relu(self.encoder[2](hidden))
            for i in (1, 0):
                hidden = torch.relu(self.decoder[i](torch.cat([self.up[i](hidden), skips[i]], 1)))
            return x + self.output(hidden)

    return DnCNN() if name == "dncnn" else UNet()


def onnx_autoencoder() -> bytes:
    """The classic network as an ONNX model, with random weights."""
    from onnx import TensorProto, helper, numpy_helper

    draw, last = np.random.default_rng(0).standard_normal, "input"
    nodes: list[Any] = []
    weights: list[Any] = []

    def add(operator: str, *others: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(operator, [last, *others], [f"{operator}_{len(nodes)}"], **attributes))
        last = nodes[-1].output[0]

    def weight(name: str, values: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    twice = weight("twice", np.array([1, 1, 2, 2], np.float32))
    for i, (channels, features) in enumerate([(1, 32), (32, 32), (32, 32), (32, 32), (32, 1)]):
        kernel = weight(f"kernel_{i}", (0.1 * draw((features, channels, 3, 3))).astype(np.float32))
        add("Conv", kernel, weight(f"bias_{i}", np.zeros(features, np.float32)), pads=[1, 1, 1, 1])
        add("Sigmoid" if i == 4 else "Relu")
        if i < 2:
            add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        elif i < 4:
            add("Resize", "", twice, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    shape: Any = ["batch", 1, "height", "width"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", last)]
    graph = helper.make_graph(nodes, "autoencoder", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def onnx_runtime(clean: np.ndarray, noisy: np.ndarray, job: Job) -> Turns:
    """ONNX Runtime, which only predicts."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(onnx_autoencoder(), options, providers=["CPUExecutionProvider"])
    x = np.ascontiguousarray(noisy.transpose(0, 3, 1, 2))
    return {
        "predict": at_best_batch(
            lambda size: [session.run(None, {"input": x[i : i + size]}) for i in range(0, len(x), size)]
        )
    }


def openvino(clean: np.ndarray, noisy: np.ndarray, job: Job) -> Turns:
    """OpenVINO, which only predicts."""
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)), "INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(onnx_autoencoder()), "CPU", settings)
    x = np.ascontiguousarray(noisy.transpose(0, 3, 1, 2))
    return {"predict": at_best_batch(lambda size: [model(x[i : i + size]) for i in range(0, len(x), size)])}


CONTESTANTS: dict[str, Callable[[np.ndarray, np.ndarray, Job], Turns]] = {
    "jaxdae": jaxdae_contestant,
    KERAS: keras_contestant("tensorflow"),
    "Keras on JAX": keras_contestant("jax"),
    "PyTorch": torch_contestant(False, False),
    "PyTorch, channels_last": torch_contestant(True, False),
    "PyTorch, channels_last, bfloat16": torch_contestant(True, True),
    "Flax, a Python loop": flax_loop,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": openvino,
}


def work(job: Job) -> None:
    """The contestant's process: prepares, then answers the name of every turn with its seconds and peak memory."""
    from jaxdae.data.datasets import load

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to stdout
    clean = load(job.dataset, manual_dir=job.manual_dir).train[: max(job.images, job.steps * job.batch)]
    clean = clean.repeat(job.enlarge, axis=1).repeat(job.enlarge, axis=2)
    noise = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    noisy = np.clip(clean / np.float32(255) + np.float32(0.5) * noise, 0, 1)
    turns = CONTESTANTS[job.name](clean, noisy, job)
    print("ready", *turns, file=answers, flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        turns[line.strip()]()
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([seconds, peak]), file=answers, flush=True)


class Contestant:
    """A contestant's process."""

    def __init__(self, job: Job, kinds: tuple[str, ...]) -> None:
        """Starts it; a first turn of each kind compiles.

        Raises:
            ModuleNotFoundError: a package that it needs is not installed.
        """
        self.job = job
        order = json.dumps(dataclasses.asdict(job), default=str)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, __file__, order], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        assert self.process.stdout
        ready, *offered = self.process.stdout.readline().split() or [""]
        if ready != "ready":
            raise ModuleNotFoundError(self.process.communicate()[1].strip().splitlines()[-1])
        kinds = tuple(kind for kind in kinds if kind in offered)
        self.times: dict[str, list[float]] = {kind: [] for kind in kinds}
        self.first = {kind: self._turn(kind) for kind in kinds}

    def _turn(self, kind: str) -> float:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(kind + "\n")
        self.process.stdin.flush()
        seconds, self.peak = json.loads(self.process.stdout.readline())
        return seconds

    def take_turns(self, kind: str, count: int = 1) -> None:
        """Measures more turns: their seconds, and the process's peak memory (bytes) so far."""
        self.times[kind] += [self._turn(kind) for _ in range(count)]

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()


def start(jobs: Sequence[Job], kinds: tuple[str, ...]) -> tuple[list[Contestant], list[str]]:
    """The contestants that are installed, and the others with the reason."""
    contestants, missing = [], []
    for job in jobs:
        try:
            contestants.append(Contestant(job, kinds))
        except ModuleNotFoundError as error:
            missing.append(f"{job.name} ({error})")
    return contestants, missing


def take_turns(contestants: Sequence[Contestant], kinds: tuple[str, ...], rounds: int) -> None:
    """Measures all of them in turn, round after round, and ends them."""
    for _ in range(rounds):
        for kind in kinds:
            for contestant in contestants:
                if kind in contestant.times:
                    contestant.take_turns(kind)
    for contestant in contestants:
        contestant.stop()


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    folder = fields.pop("manual_dir")
    work(Job(**fields, manual_dir=Path(folder) if folder else None))
