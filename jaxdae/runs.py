"""The shell around training: the run folder, signals, progress, logs, resuming and loading."""

import contextlib
import dataclasses
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
from tqdm import tqdm

from jaxdae import checkpoints, evaluation, parallel, run_folder, training
from jaxdae.config import InputError, RunConfig, default_member, require_name
from jaxdae.data import ImageData, load
from jaxdae.model import ConvAutoencoder

Checkpoint = Literal["last", "best"]

_log = logging.getLogger("jaxdae")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM stopped the training; what was done is saved in `path`."""

    def __init__(self, signal_number: int, path: Path) -> None:
        """Remembers the signal and the run folder."""
        super().__init__(f"{signal.Signals(signal_number).name}: saved in {path}")
        self.signal_number, self.path = signal_number, path


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained population."""

    config: RunConfig
    params: Any
    """The last parameters, NumPy arrays with a leading `model` axis."""
    best: training.Best
    """The parameters at each model's lowest validation loss, that loss and its epoch."""
    history: list[dict[str, Any]]
    """The lines of metrics.jsonl."""
    path: Path | None = None

    @property
    def model(self) -> ConvAutoencoder:
        """The Flax module."""
        return training.make_model(self.config)

    @property
    def channels(self) -> int:
        """The channels of the images that it was trained on."""
        return self.params["output"]["bias"].shape[-1]

    @property
    def diverged(self) -> list[int]:
        """The positions of the models that were frozen because their loss was not finite."""
        last = self.history[-len(self.config.members) :]
        return [line["model"] for line in last if line[f"train_{self.config.loss}"] is None]

    def stacked_params(self, checkpoint: Checkpoint = "last") -> Any:
        """The parameters of all models at the last or at their best epoch."""
        require_name("checkpoint", checkpoint, get_args(Checkpoint))
        return self.best.params if checkpoint == "best" else self.params

    def member(self, number: int | None = None) -> int:
        """The position of the model that is asked for, or the one nearest level 0.5 with the lowest seed.

        Raises:
            InputError: there is no such model.
        """
        count = len(self.config.members)
        if number is not None and not 0 <= number < count:
            raise InputError(f"model {number} does not exist; this run has models 0 to {count - 1}")
        return default_member(self.config) if number is None else number

    def member_params(self, number: int | None = None, checkpoint: Checkpoint = "last") -> Any:
        """The parameters of one model."""
        position = self.member(number)
        return jax.tree.map(lambda x: x[position], self.stacked_params(checkpoint))

    def only(self, number: int) -> "Run":
        """The population of that one model."""
        level, seed = self.config.members[number]
        config = dataclasses.replace(self.config, noise_levels=(level,), seeds=(seed,), models_at_once=0)
        params, best = jax.tree.map(lambda x: x[number][None], (self.params, self.best))
        history = [line | {"model": 0} for line in self.history if line["model"] == number]
        return Run(config, params, best, history, self.path)

    def describe(self, number: int, checkpoint: Checkpoint = "last") -> str:
        """One model in words: its position, noise level, seed and epoch."""
        level, seed = self.config.members[number]
        finished = self.history[-1]["epoch"] if self.history else 0
        epoch = self.best.epoch[number] if checkpoint == "best" else finished
        return f"model {number} (noise level {level}, seed {seed}), {checkpoint} epoch {epoch}"


def train(
    config: RunConfig,
    data: ImageData | None = None,
    *,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Run:
    """Trains a population.

    Args:
        config: what to train.
        data: the images; by default those of `config.dataset`.
        out: a folder for the configuration, the log and the checkpoints; nothing is written without it.
        overwrite: replace the run that is in `out`.
        progress: show a progress bar.

    Returns:
        The trained population.

    Raises:
        InputError: the data does not fit the configuration, or `out` is in use.
        Interrupted: Ctrl-C or SIGTERM came while training with `out`.
    """
    data = data or load(config.dataset)
    _split(config, data)  # fails before anything is written
    if out is None:
        return _run_epochs(config, data, None, [], progress)
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        run_folder.clear(path, overwrite)
    path.mkdir(parents=True, exist_ok=True)
    run_folder.write_config(path, config, data)
    return _run_epochs(config, data, path, [], progress)


def resume(
    path: str | os.PathLike, data: ImageData | None = None, *, epochs: int | None = None, progress: bool = False
) -> Run:
    """Continues a run from its newest checkpoint, exactly as if it had never stopped.

    Args:
        path: the run folder.
        data: the images; by default those of the run's dataset.
        epochs: a new total of epochs; by default the run's own.
        progress: show a progress bar.

    Returns:
        The trained population.

    Raises:
        InputError: there is no run, it already has more epochs, or its schedule has an end.
        Interrupted: as in `train`.
    """
    path = Path(path)
    config = run_folder.load_config(path)
    history = run_folder.read_history(path)
    if epochs not in (None, config.epochs) and config.schedule != "constant":
        raise InputError(
            f"{path} follows a {config.schedule} schedule over {config.epochs} epochs, which --epochs {epochs} would "
            "change; start another run"
        )
    if epochs is not None:
        config = dataclasses.replace(config, epochs=epochs)
    data = data or load(config.dataset)
    run_folder.check_images(path, data)
    return _run_epochs(config, data, path, history, progress)


def load_run(path: str | os.PathLike) -> Run:
    """Loads a run, with its parameters as NumPy arrays, on any machine.

    Raises:
        InputError: the folder holds no run, or one without a checkpoint.
    """
    path = Path(path)
    config = run_folder.load_config(path)
    with checkpoints.open_manager(path / run_folder.CHECKPOINTS) as manager:
        params, best = (checkpoints.restore_arrays(manager, item) for item in ("params", "best"))
    return Run(config, params, training.Best(**best), run_folder.read_history(path), path)


def _split(config: RunConfig, data: ImageData) -> tuple[np.ndarray, np.ndarray]:
    """The images to train and to validate on."""
    for images in data:
        if images.dtype != np.uint8 or images.ndim != 4 or images.size == 0 or images.shape[1:] != data[0].shape[1:]:
            shapes = " and ".join(f"{images.dtype} {images.shape}" for images in data)
            raise InputError(
                f"training and test images must be uint8 (example, height, width, channel) of one size, not {shapes}"
            )
    if 2**config.depth > max(data[0].shape[1:3]):
        raise InputError(f"depth {config.depth} halves images of {data[0].shape[1:3]} pixels to nothing; take less")
    if config.holdout == 0:
        return data.train, data.test
    if config.holdout >= len(data.train):
        raise InputError(f"holdout {config.holdout} leaves nothing of {len(data.train)} training images; take fewer")
    return data.train[: -config.holdout], data.train[-config.holdout :]


def _run_epochs(
    config: RunConfig, data: ImageData, path: Path | None, history: list[dict[str, Any]], progress: bool
) -> Run:
    """Trains from the newest checkpoint in `path`, or from the start, to the last epoch."""
    train_images, val_images, members = parallel.replicate((*_split(config, data), training.population(config)))
    plan = training.epoch_plan(len(train_images), config)
    states, best = parallel.replicate(training.initial_states(config, train_images.shape[-1]))

    with contextlib.ExitStack() as stack:
        step, caught = 0, []
        if path:
            manager = stack.enter_context(checkpoints.open_manager(path / run_folder.CHECKPOINTS, config.keep))
            caught = stack.enter_context(_caught_signals())
            if manager.latest_step() is not None:
                step, states, best = checkpoints.restore(manager, states, best)
            history = run_folder.continue_log(path, config, history, step / plan.steps)
            run_folder.write_config(path, config, data)
        bar = stack.enter_context(_progress_bar(config, plan, step, progress))
        losses, started, first_step = None, time.perf_counter(), step

        for epoch, chunk in plan.chunks_from(step, config.epochs):
            previous = losses
            states, losses = training.train_chunk(states, members, train_images, epoch, chunk, config=config)
            step = plan.step_after(epoch, chunk)
            if previous is not None:  # shown while the device is busy with the next chunk
                bar.set_postfix_str(f"loss {np.mean(previous):.4f}", refresh=False)
            seen = (plan.examples_before(step) - plan.examples_before(first_step)) * len(config.members)
            bar.update(plan.examples_before(step) * len(config.members) - bar.n)
            if step % plan.steps == 0:
                train_loss = jax.device_get(losses)
                rate = seen / (time.perf_counter() - started)
                params = training.trained_params(states, config.average)
                val_loss, val_psnr = evaluation.validate(params, members, val_images, config=config)
                states, best = training.finish_epoch(states, best, val_loss, epoch, config.average)
                lines = _epoch_lines(config, epoch, train_loss, val_loss, val_psnr, rate)
                _warn_of_frozen(config, history, lines)
                history = history + lines
                if path:
                    run_folder.append_history(path, lines)
                started, first_step = time.perf_counter(), step
            if path and (caught or step % plan.steps == 0):
                checkpoints.save(manager, step, states, best, config)
            if path and caught:
                raise Interrupted(caught[0], path)
    params, best = jax.device_get((training.trained_params(states, config.average), best))
    return Run(config, params, best, history, path)


def _progress_bar(config: RunConfig, plan: training.EpochPlan, step: int, progress: bool) -> tqdm:
    models = len(config.members)
    return tqdm(
        total=config.epochs * plan.examples * models,
        initial=plan.examples_before(step) * models,
        unit=" images",
        unit_scale=True,
        disable=not progress,
        dynamic_ncols=True,
    )


def _epoch_lines(
    config: RunConfig, epoch: int, train_loss: Any, val_loss: Any, val_psnr: Any, rate: float
) -> list[dict[str, Any]]:
    def number(value: Any) -> float | None:
        return round(float(value), 6) if math.isfinite(value) else None

    return [
        {
            "epoch": epoch,
            "model": i,
            "noise_level": member.noise_level,
            "seed": member.seed,
            f"train_{config.loss}": number(train_loss[i]),
            f"val_{config.loss}": number(val_loss[i]),
            "val_psnr": number(val_psnr[i]),
            "images_per_second": round(rate, 1),
        }
        for i, member in enumerate(config.members)
    ]


def _warn_of_frozen(config: RunConfig, history: list[dict[str, Any]], lines: list[dict[str, Any]]) -> None:
    models = len(config.members)
    loss = f"train_{config.loss}"
    before = history[-models:] or [{loss: 0.0}] * models
    for was, now in zip(before, lines, strict=True):
        if was[loss] is not None and now[loss] is None:
            level, seed = now["noise_level"], now["seed"]
            _log.warning(
                f"model {now['model']} (noise level {level}, seed {seed}) is frozen since epoch {now['epoch']}: "
                "its loss or gradient is not finite; a lower --learning-rate may help"
            )


@contextlib.contextmanager
def _caught_signals() -> Iterator[list[int]]:
    """Notes Ctrl-C and SIGTERM in a list instead of dying of them; the second one acts as usual."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def note(number: int, frame: Any) -> None:
        caught.append(number)
        os.write(2, b"\nstopping after this chunk; once more to stop at once\n")
        signal.signal(number, previous[number])

    previous = {int(number): signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
