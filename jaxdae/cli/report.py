"""What the command prints of a run."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from jaxdae.data import Data
from jaxdae.errors import printable
from jaxdae.evaluation import evaluate
from jaxdae.metrics import SSIM_WINDOW, has_ssim
from jaxdae.runs import Run, checkpoints, folder
from jaxdae.runs.below_input import below_input, describe_below
from jaxdae.runs.figures import write_figures


def report_run(run: Run, data: Data) -> int:
    """Measures one member of a trained run, draws its figures, and says where things are; the exit status."""
    index = run.index()
    print(f"\n{run.describe(index)}, on {len(data.test)} test images:")
    seed = run.loop.evaluation_seed
    noisy: Any = {"noisy": data.noisy_test, "noisy_target": data.pairs == "noisy"}
    print_scores(evaluate(run.denoisers, data.test, members=[index], seed=seed, **noisy), data)
    written = write_figures(run, data)
    assert run.path
    saved = run.path / folder.CHECKPOINTS
    print(f"\nfigures     {printable(', '.join(map(str, written)))}")
    print(f"checkpoint  {printable(saved / str(checkpoints.newest_step(saved)))}")
    if below := below_input(run, data):
        print(f"warning: {describe_below(below)}", file=sys.stderr)
    for index in run.diverged:
        print(f"{run.describe(index)}: frozen, its loss was not finite; a lower --learning-rate may help")
    return 1 if run.diverged else 0


def print_scores(rows: Sequence[dict[str, Any]], data: Data) -> None:
    """Prints the rows of an evaluation, and which metric they lack."""
    print_table(rows)
    if data.pairs == "noisy":
        print("no clean image is known: measured against the other noisy image of each pair, whose own noise remains")
    elif not has_ssim(data.test.shape):
        window, (height, width) = SSIM_WINDOW, data.test.shape[1:3]
        print(f"without SSIM: images of {height}x{width} pixels are smaller than its window of {window}x{window}")


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Prints rows of equal keys in columns."""

    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)

    table = Table(box=None, pad_edge=False, show_edge=False)
    for name in rows[0]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(cell, row.values()))
    Console(width=200, highlight=False).print(table, soft_wrap=True)
