"""`jaxdae check`: does this machine compute the truth?"""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version

from jaxdae.cli import options
from jaxdae.errors import InputError

DESCRIPTION = """Compare what this machine computes with plain NumPy in float64.

Draws, noise, metrics, optimizers, and the gradients and images of every family of networks. Exit status 1 if a
difference is larger than rounding explains."""

MOST_IMAGES = 1_000_000
"""They take 3 GB."""
LIBRARIES = ("jaxdae", "jax", "jaxlib", "flax", "optax", "numpy")


def run(words: Sequence[str]) -> int:
    """Compares and prints a line for each comparison."""
    parser = options.Parser("check", DESCRIPTION)
    help = "how many are made noisy, denoised and scored (default: 10000)"
    parser.add_argument("--images", type=int, default=10_000, metavar="N", help=help)
    arguments = parser.parse(words)
    if not 1 <= arguments.images <= MOST_IMAGES:
        raise InputError(f"images {arguments.images} is not allowed: give an integer from 1 to {MOST_IMAGES}")
    import jax

    from jaxdae.verification import canaries, run_checks

    devices = jax.local_devices()
    print(", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in LIBRARIES)]))
    print(f"{len(devices)} x {devices[0].device_kind} ({devices[0].platform}); compiled programs in "
          f"{os.environ.get('JAX_COMPILATION_CACHE_DIR', 'no folder')}")  # fmt: skip
    failed = []
    for outcome in run_checks(arguments.images):
        word = "ok  " if outcome.passed else "FAIL"
        print(f"{word}  {outcome.name:52}  {outcome.difference:8.1e}  (allowed {outcome.allowed:g})", flush=True)
        failed += [] if outcome.passed else [outcome.name]
    for canary in canaries():
        state = f"{canary.wrong} wrong values" if canary.wrong else "right"
        print(f"note  the compiler, in a program that jaxdae does not use: {canary.program}: {state} ({canary.report})")
    if failed:
        print(
            f"{len(failed)} of these are wrong here ({failed[0]} first): do not trust numbers of this machine. Install "
            "the versions of the constraints file, or run with JAX_PLATFORMS=cpu; then check again."
        )
        return 1
    print("this machine computes what it should")
    return 0
