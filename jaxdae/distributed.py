"""Several processes that train one run, by JAX's own runtime: how one joins, and what the first does for all.

In a single process everything here does nothing, or what it is asked at once.
"""

import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax._src import distributed as jax_distributed  # its client is in no public module
from jax.experimental import multihost_utils

from jaxdae.errors import InputError

_log = logging.getLogger("jaxdae")

START_SECONDS, HEARTBEAT_SECONDS, END_SECONDS = 120, 60, 7 * 24 * 3600
"""How long a process waits for the others to start, until one that is not heard of counts as dead, and, when it is
done, for others that are still at work."""


def join(coordinator: str | None = None, processes: int | None = None, process_id: int | None = None) -> None:
    """Joins a job of `jax.distributed`; before JAX computes anything.

    Args:
        coordinator: HOST:PORT of the first process; None: as JAX finds it (Slurm, Open MPI, Kubernetes, TPU pods).
        processes: how many there are; with a coordinator.
        process_id: which this one is, from 0; with a coordinator.

    Raises:
        InputError: no job was found, the coordinator does not answer, or the numbers do not go together.
    """
    given = coordinator, processes, process_id
    if any(x is None for x in given) and given != (None, None, None):
        raise InputError("--coordinator, --processes and --process-id go together; give all of them, or none")
    if processes is not None and processes < 1:
        raise InputError(f"{processes} processes are not allowed; give an integer of at least 1")
    if processes is not None and process_id is not None and not 0 <= process_id < processes:
        raise InputError(f"process id {process_id} is not one of {processes} processes; give 0 to {processes - 1}")
    if coordinator is not None:
        port = coordinator.rpartition(":")[2]
        if not port.isdecimal() or not 0 < int(port) < 2**16:
            raise InputError(f"coordinator {coordinator!r} has no port; give HOST:PORT, such as 10.0.0.1:12355")
    if coordinator is not None and process_id:
        _wait_for(coordinator)
    # JAX itself would abort the process without a sentence, a little later.
    missing = threading.Timer(START_SECONDS, _give_up, [processes, process_id])
    missing.daemon = True
    missing.start()
    try:
        jax.distributed.initialize(
            *given, initialization_timeout=2 * START_SECONDS, heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=END_SECONDS,
        )  # fmt: skip
    except (ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0][:200]
        found = f"the coordinator {coordinator}" if coordinator else "no job (of Slurm, Open MPI, Kubernetes or a TPU)"
        raise InputError(
            f"{found} could not be joined as process {process_id}: {reason}; check --coordinator, --processes and that "
            "every process has an id of its own"
        ) from None
    finally:
        missing.cancel()
    _require_one_number()
    if not is_first():
        _log.setLevel(logging.ERROR)  # the first one warns


def _require_one_number() -> None:
    """Raises InputError in all processes that joined unless all were told the same number.

    Through the coordinator, since JAX's own means wait for as many as this process was told.
    """
    state: Any = jax_distributed.global_state
    own, number = state.process_id, state.num_processes
    state.client.key_value_set(f"jaxdae/processes/{own}", str(number))
    wait = 1000 * START_SECONDS
    for other in range(number):
        told = state.client.blocking_key_value_get(f"jaxdae/processes/{other}", wait)
        if int(told) != number:
            raise InputError(
                f"process {own} was told that there are {number} processes, process {other} that "
                f"there are {told}; give all of them the same --processes"
            )


def _give_up(processes: int | None, process_id: int | None) -> None:
    """Ends the process, which waits in JAX and cannot be interrupted otherwise."""
    of = "the processes of the job" if processes is None else f"{processes} processes"
    print(
        f"jaxdae: process {process_id} waited {START_SECONDS} seconds for the others: not all of {of} came, two have "
        "the same id, or they were told different numbers of processes; start all of them, each with an id of its own",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    os._exit(2)


def _wait_for(coordinator: str) -> None:
    """Waits until something listens; JAX itself would abort the process where nothing does."""
    host, _, port = coordinator.rpartition(":")
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > end:
                raise InputError(
                    f"the coordinator {coordinator} did not answer for {START_SECONDS} seconds ({error}); start "
                    "process 0, which listens there, and check host and port"
                ) from None
        time.sleep(0.2)


def is_first() -> bool:
    """Whether this process is the one that writes, draws and shows progress."""
    return jax.process_index() == 0


def by_first(action: Callable[[], Any]) -> None:
    """Lets the first process do something while the others wait; its InputError is raised in all."""
    said = ""
    if is_first():
        try:
            action()
        except InputError as error:
            said = str(error)
    if said := of_first(said):
        raise InputError(said)


def any_of(value: bool) -> bool:
    """Whether a value is true in any process."""
    return bool(np.any(multihost_utils.process_allgather(np.array(value)))) if jax.process_count() > 1 else value


def require_same(settings: Mapping[str, Any]) -> None:
    """Raises InputError in all processes unless all have the same settings, a tree that JSON can hold."""
    own = dict(_flat("", json.loads(json.dumps(settings))))
    first = json.loads(of_first(json.dumps(own)))
    other = [name for name in {**own, **first} if own.get(name) != first.get(name)]
    if not any_of(bool(other)):
        return
    if not other:
        raise InputError("another process was given other options; give all processes the same")
    raise InputError(
        f"process {jax.process_index()} has {other[0]} {own.get(other[0])}, process 0 has {first.get(other[0])}; "
        "give all processes the same options"
    )


def _flat(name: str, value: Any) -> Any:
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        yield name, value
        return
    for key, part in parts:
        yield from _flat(f"{name}.{key}" if name else str(key), part)


def of_first(text: str) -> str:
    """The text of the first process."""
    if jax.process_count() == 1:
        return text
    own = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(own.size)))
    padded = np.zeros(length, np.uint8)
    padded[: min(length, own.size)] = own[:length]
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(padded), np.uint8)).decode() if length else ""
