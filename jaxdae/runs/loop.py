"""The loop: members and data to a run, with checkpoints, logs, progress, signals and exact resume."""

import contextlib
import dataclasses
import itertools
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxdae import components, distributed, evaluation, parallel, rng, training
from jaxdae.arguments import require_flag, require_path
from jaxdae.data import Data, OwnPictures, Source, load_again
from jaxdae.errors import InputError
from jaxdae.memory import is_out_of_memory, memory_named
from jaxdae.noise import format_level
from jaxdae.runs import checkpoints, folder, writers
from jaxdae.runs.disk import failures_named
from jaxdae.runs.doors import require_data, require_train_arguments
from jaxdae.runs.duration import expected_seconds
from jaxdae.runs.folder import Config, Loop
from jaxdae.runs.frozen import frozen_members, name_frozen
from jaxdae.runs.lock import locked
from jaxdae.runs.placement import place
from jaxdae.runs.position import Position
from jaxdae.runs.run import Run, make_run, train_loss
from jaxdae.runs.signals import Interrupted, caught_signals
from jaxdae.runs.writers import Kind
from jaxdae.training import Best, Group, Member, Plan, TrainState
from jaxdae.training.member import check_members


@rng.pinned()
def train(
    members: Member | Sequence[Member],
    data: Data,
    *,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    progress: bool = False,
    log: Sequence[str | Kind] = (),
    log_pictures: int = 1,
    initial: Any = None,
    on_estimate: Callable[[float], None] | None = None,
    **loop: int,
) -> Run:
    """Trains members, those of equal structure in one compiled program.

    Args:
        members: what to train (`grid` makes many).
        data: the images (`load`), or pictures of your own (`read_own`).
        out: a folder for the configuration, the log and the checkpoints; nothing is written without it.
        overwrite: replace the run that is in `out`.
        progress: show a progress bar.
        log: writers beside metrics.jsonl, by the names in `runs.writers.WRITERS` or classes of your own; for a run in
            `out`. One that fails on the way is warned of and left out.
        log_pictures: every how many epochs they get denoised validation images; 0: never.
        initial: the parameters that one member starts from, in place of random ones; its optimizer starts afresh.
        on_estimate: called once before the training with its expected duration in seconds, for which a few steps are
            tried out and dropped.
        **loop: the fields of `Loop`: epochs, batch_size, holdout, evaluation_seed ...

    Raises:
        InputError: a setting is not allowed, the data does not fit, a writer cannot start, or `out` is in use.
        Interrupted: Ctrl-C or SIGTERM came while training with `out`.
        CannotWrite: the disk is full, or `out` cannot be written any more; the checkpoints in it are whole.
    """
    require_train_arguments(members, data, out=out, overwrite=overwrite, progress=progress, initial=initial)
    checked = check_members(members)
    writers.check_writers(log, log_pictures)
    config = Config(checked, folder.check_loop(components.make(Loop, loop), checked), data.describe())
    distributed.require_same(folder.as_json(config) | {"out": out and str(out)})
    sources = place(_split(config, data), data)
    if on_estimate is not None:
        groups, states, _ = _untrained(config, initial)
        on_estimate(expected_seconds(config, sources[0], groups, states))
    if out is None:
        if log:
            raise InputError("a log beside the history needs a run folder; name one (out)")
        return _run_epochs(config, sources, _untrained(config, initial), None, [], progress)
    path = Path(out)
    distributed.by_first(lambda: folder.require_room(path, overwrite))
    untrained = _untrained(config, initial)  # fails, if the memory is too small, before anything is written
    with locked(path):
        folder.require_shared(path)
        distributed.by_first(lambda: _start_folder(path, config))
        if initial is not None:  # a run that is killed in its first epoch starts from them again
            with checkpoints.open_manager(path / folder.CHECKPOINTS, config.loop.keep) as manager:
                checkpoints.save(manager, 0, *untrained[1:])
                checkpoints.finish(manager)
        try:
            return _run_epochs(config, sources, untrained, path, [], progress, (log, log_pictures))
        except (writers.CannotStart, MemoryError, RuntimeError) as error:
            if _nothing_trained(path, error):
                folder.make_room(path)
            raise


def _nothing_trained(path: Path, error: BaseException) -> bool:
    """Whether a run failed before its first checkpoint, so that nothing of it is worth keeping."""
    if isinstance(error, writers.CannotStart):
        return True
    begun = checkpoints.newest_step(path / folder.CHECKPOINTS) or 0
    return distributed.is_first() and is_out_of_memory(error) and not begun


def _start_folder(path: Path, config: Config) -> None:
    folder.make_room(path)
    folder.write_config(path, config)


@rng.pinned()
def resume(
    path: str | os.PathLike,
    data: Data | None = None,
    *,
    epochs: int | None = None,
    progress: bool = False,
    log: Sequence[str | Kind] | None = None,
    log_pictures: int | None = None,
) -> Run:
    """Continues a run from its newest checkpoint, bit-for-bit as if it had never stopped.

    Args:
        path: the run folder.
        data: the images; by default those of the run's dataset.
        epochs: a new total of epochs; by default the run's own.
        progress: show a progress bar.
        log: as in `train`; by default the run's own, save classes of your own. A writer that is new here starts with
            the next epoch.
        log_pictures: as in `train`; by default the run's own.

    Raises:
        InputError: there is no run, it already has more epochs, a schedule has an end, or a writer cannot start.
        Interrupted, CannotWrite: as in `train`.
    """
    require_path("path", path, ", or load_run(path) to read it without training")
    require_flag("progress", progress)
    path = Path(path)
    config = folder.load_config(path)
    own_log, own_pictures = writers.saved_settings(path) if log is None else (log, 1)
    log_to = own_log, own_pictures if log_pictures is None else log_pictures
    writers.check_writers(*log_to)
    if data is None:
        data = load_again(config.source)
    require_data(data)
    folder.check_source(path, config.source, data)
    if epochs is not None:
        config = _with_epochs(path, config, epochs)
    distributed.require_same(folder.as_json(config) | {"run": str(path)})
    sources = place(_split(config, data), data)
    distributed.by_first(lambda: folder.require_own_folders(path))
    with locked(path):
        return _run_epochs(config, sources, _untrained(config), path, folder.read_history(path), progress, log_to)


def _with_epochs(path: Path, config: Config, epochs: int) -> Config:
    schedules = {member.optimizer.schedule for member in config.members} - {"constant"}
    if schedules and epochs != config.loop.epochs:
        raise InputError(
            f"{path} follows a {schedules.pop()} schedule over {config.loop.epochs} epochs, which {epochs} would "
            "change; start another run"
        )
    return dataclasses.replace(config, loop=components.checked(dataclasses.replace(config.loop, epochs=epochs)))


def _split(config: Config, data: Data) -> tuple[Source, Source]:
    """The images to train and to validate on."""
    for member in config.members:
        _require_objective(member, data)
        if member.model.multiple > max(data.image[:2]):
            raise InputError(
                f"images of {data.image[:2]} pixels are too small for a network that works on multiples of "
                f"{member.model.multiple} pixels; take a smaller depth"
            )
    with memory_named(data.name or "this training"):
        return data.sources(config.loop.holdout)


def _require_objective(member: Member, data: Data) -> None:
    """InputError unless a member can be trained on the targets of the data."""
    name, wanted = type(member.objective).__name__, getattr(member.objective, "pairs", None)
    if data.pairs == "noisy" and wanted != "noisy":
        raise InputError(f"the targets of these pairs are noisy, no clean ones for {name}; use objective noise2noise")
    if data.pairs == "clean" and wanted != "clean":
        raise InputError(
            f"{name} takes no clean targets; train pairs with supervised, or read them with noisy_target=True"
        )
    if isinstance(data, OwnPictures) and data.beyond and member.objective.loss == "bce" and not member.noise.clip:
        raise InputError(
            f"loss bce has no minimum for targets beyond [0, 1], which {data.name} has; use loss mse, or clip the noise"
        )


def _untrained(config: Config, initial: Any = None) -> tuple[list[Group], list[TrainState], list[Best]]:
    """The groups of a run, their untrained states (or one of given parameters) and bests, on all devices."""
    mesh, divided = parallel.data_mesh(), config.loop.ways.divided
    place = parallel.divide if divided else parallel.replicate
    groups = []
    for group in training.group_members(config.members):
        if divided and len(group.indices) % mesh.size:
            raise InputError(
                f"{len(group.indices)} members of one structure cannot be divided evenly over {mesh.size} devices; "
                "take others, or divide the batches"
            )
        groups.append(Group(group.indices, place(group.members, mesh)))
    untrained = [training.initial_states(group.members, config.source["image"][-1]) for group in groups]
    if initial is not None:
        untrained = [_starting_from(initial, *state) for state in untrained]
    states, bests = map(list, zip(*jax.block_until_ready(place(untrained, mesh)), strict=True))
    return groups, states, bests


def _starting_from(params: Any, state: TrainState, best: Best) -> tuple[TrainState, Best]:
    """The untrained state and best of one member with other parameters; InputError if they are another network's."""
    given = jax.tree.map(lambda x: np.asarray(x, np.float32)[None], params)
    if jax.tree.map(np.shape, given) != jax.tree.map(np.shape, state.params):
        raise InputError("the parameters to start from are not those of this one member's network and channels")
    return state.replace(params=given), best.replace(params=given)


def _run_epochs(
    config: Config,
    sources: tuple[Source, Source],
    untrained: tuple[list[Group], list[TrainState], list[Best]],
    path: Path | None,
    history: list[dict[str, Any]],
    progress: bool,
    log_to: tuple[Sequence[str | Kind], int] = ((), 0),
) -> Run:
    """Trains from the newest checkpoint in `path`, or from the start, to the last epoch."""
    train_source, val_source = sources
    (groups, states, bests), loop = untrained, config.loop
    plan = Plan.of(train_source.examples, loop.batch_size, loop.chunk_steps)

    with contextlib.ExitStack() as stack:
        done, caught = 0, []
        if path:
            stack.enter_context(failures_named(path))
            manager = stack.enter_context(checkpoints.open_manager(path / folder.CHECKPOINTS, loop.keep))
            caught = stack.enter_context(caught_signals())
            if manager.latest_step() is not None:
                done, states, bests = checkpoints.restore(manager, states, bests)
                folder.check_history(path, history, checkpoints.metadata(manager).get("log"))
            history = _continue(path, config, history, done / (plan.chunks * len(groups)))
        finished_epochs = done // (plan.chunks * len(groups))
        first = distributed.is_first()
        log_path = path if first else None
        log = stack.enter_context(contextlib.closing(writers.open_log(log_path, config, *log_to, finished_epochs)))
        bar = stack.enter_context(_progress_bar(loop.epochs, plan, done, groups, progress and first))
        rates: list[float | None] = [None] * len(groups)
        started, images, losses, frozen = time.perf_counter(), 0, None, frozen_members(groups, states)

        for epoch, g, chunk in plan.turns_from(done, loop.epochs, len(groups)):
            if chunk == 0:
                started, images, losses = time.perf_counter(), 0, None
            previous = losses
            states[g], losses = training.train_chunk(
                states[g], groups[g].members, train_source, epoch, chunk,
                plan=plan, epochs=loop.epochs, population=loop.ways,
            )  # fmt: skip
            done += 1
            taken = plan.examples_in(chunk) * len(groups[g].indices)
            images += taken
            bar.update(taken)
            last = chunk == plan.chunks - 1
            if last:
                jax.block_until_ready(losses)
                rates[g] = images / (time.perf_counter() - started)
            seen = losses if last else previous  # which the device has, while it is busy with the next chunk
            if seen is not None:
                bar.set_postfix_str(f"loss {np.mean(seen):.4f}", refresh=False)
                name_frozen(config, groups[g], states[g], np.asarray(seen), epoch, plan, frozen)
            finished = done % (plan.chunks * len(groups)) == 0
            if finished:
                lines = _finish_epoch(config, groups, states, bests, val_source, epoch, rates)
                history = history + lines
                log.finish_epoch(lines, lambda: _pictures(config, groups, states, val_source))
                rates = [None] * len(groups)
            stopped = bool(path) and distributed.any_of(bool(caught))
            if path and (stopped or finished):
                frozen_now = tuple(sorted(frozen_members(groups, states)))
                now = Position(done, len(groups), plan, frozen_now)
                metadata = {"log": folder.mark_of(history), "position": now.to_dict()}
                checkpoints.save(manager, done, states, bests, metadata)
                if stopped:
                    checkpoints.finish(manager)
                    raise Interrupted(caught[0] if caught else signal.SIGTERM, path)
        if path:
            checkpoints.finish(manager)
            if distributed.any_of(bool(caught)):  # while the last epoch was saved
                raise Interrupted(caught[0] if caught else signal.SIGTERM, path)
    params, lowest = parallel.to_host(([training.trained_params(state) for state in states], bests))
    end = Position(done, len(groups), plan, tuple(sorted(frozen)))
    return make_run(config, params, lowest, history, path, end.progress(groups))


def _continue(path: Path, config: Config, history: list[dict[str, Any]], epochs: float) -> list[dict[str, Any]]:
    """Drops what a killed process left beyond the newest checkpoint, and writes a new total of epochs down."""
    if epochs > config.loop.epochs:
        raise InputError(f"{path} is at epoch {math.ceil(epochs)} already; {config.loop.epochs} epochs are too few")
    kept = folder.cut_history(path, history, math.floor(epochs))
    if distributed.is_first():
        folder.remove_half_written(path)
        if config.loop != folder.load_config(path).loop:
            folder.write_config(path, config)
        folder.write_history(path, kept)
    return kept


def _finish_epoch(
    config: Config,
    groups: Sequence[Group],
    states: list[TrainState],
    bests: list[Best],
    val_source: Source,
    epoch: int,
    rates: Sequence[float | None],
) -> list[dict[str, Any]]:
    """Validates every group, replaces its state and best parameters, and returns the log lines, a member each."""
    lines = []
    for g, (group, state, rate) in enumerate(zip(groups, states, rates, strict=True)):
        train_losses = training.epoch_losses(state)
        val_losses, val_psnr = evaluation.validate(
            training.trained_params(state), group.members, val_source,
            seed=config.loop.evaluation_seed, population=config.loop.ways,
        )  # fmt: skip
        measured = parallel.to_host((train_losses, val_losses, val_psnr))
        states[g], bests[g] = training.finish_epoch(state, bests[g], val_losses, epoch)
        for index, *numbers in zip(group.indices, *measured, strict=True):
            lines.append(_log_line(config, index, epoch, numbers, rate))
    return sorted(lines, key=lambda line: line["member"])


def _log_line(config: Config, index: int, epoch: int, numbers: Sequence[Any], rate: float | None) -> dict[str, Any]:
    member, to_noisy = config.members[index], config.source.get("noisy_target", False)
    names = (train_loss(member), f"val_{member.objective.loss}", "val_psnr_to_noisy" if to_noisy else "val_psnr")
    rounded = [round(float(value), 6) if math.isfinite(value) else None for value in numbers]
    what = {"epoch": epoch, "member": index, "noise_level": format_level(member.noise.level), "seed": member.seed}
    return what | dict(zip(names, rounded, strict=True)) | {"images_per_second": rate and round(rate, 1)}


def _pictures(
    config: Config, groups: Sequence[Group], states: Sequence[TrainState], val_source: Source
) -> Iterator[tuple[int, np.ndarray]]:
    """A picture for each member: some validation images, noisy, denoised and clean in three rows."""
    for group, state in zip(groups, states, strict=True):
        params, seed = training.trained_params(state), config.loop.evaluation_seed
        shown = params, group.members, val_source
        if jax.process_count() > 1:  # only the first process shows them
            shown = parallel.to_host(shown)
        rows = jax.device_get(evaluation.sample_images(*shown, seed=seed))
        for position, index in enumerate(group.indices):
            picture = np.concatenate([np.concatenate(images[position], axis=1) for images in rows])
            yield index, picture if picture.shape[-1] in (1, 3) else picture[..., :1]


def _progress_bar(epochs: int, plan: Plan, done: int, groups: Sequence[Group], progress: bool) -> tqdm:
    sizes = [len(group.indices) for group in groups]
    before = itertools.islice(plan.turns_from(0, epochs, len(groups)), done)
    taken, total = (
        sum(plan.examples_in(chunk) * sizes[g] for _, g, chunk in before),
        epochs * plan.examples * sum(sizes),
    )
    look: dict[str, Any] = {"unit": " images", "unit_scale": True, "dynamic_ncols": True}
    return tqdm(initial=taken, total=total, disable=not progress, **look)
