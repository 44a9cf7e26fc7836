"""What does `jaxdae denoise` do with real files, the odd and the damaged ones among them?

    python experiments/field_files.py --folder field

Runs the command on every file of pictures/, micro/ and documents/noisy/ in the folder, one at a time. Writes
results/field_files/.
"""

import contextlib
import dataclasses
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd

import jaxdae
from jaxdae import cli
from jaxdae.data import pictures

FOLDERS = ("pictures", "micro", "documents/noisy")


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    folder: Path = Path(os.environ.get("JAXDAE_MANUAL_DIR", ".")) / "field"
    """The files."""
    out: Path = Path("results/field_files")
    """Results folder: table and README."""


def experiment(options: Options) -> None:
    """Denoises every file and compares it with its result."""
    files = [path for name in FOLDERS for path in sorted((options.folder / name).glob("*")) if path.is_file()]
    if not files:
        raise jaxdae.InputError(f"{options.folder} holds no files in {', '.join(FOLDERS)}; choose another --folder")
    tables.write_table(options.out, pd.DataFrame([_row(path, options.folder) for path in files]))
    report.write_about(options.out, report.provenance("one call of the command for each file", "none"))


def publish(options: Options) -> None:
    """Writes the README from the table."""
    table = pd.read_csv(options.out / tables.TABLE, keep_default_na=False)
    counts = {
        name: int((table["outcome"] == name).sum()) for name in ("cleaned", "refused", "traceback", "silent loss")
    }
    report.write_readme(options.out, "field_files", table=table.set_index("file"), counts=counts)


def _row(path: Path, folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"file": str(path.relative_to(folder)), "outcome": "cleaned", "said": ""}
    row |= dict.fromkeys(("type", "size", "pages", "before", "after", "correlation"), "")
    with tempfile.TemporaryDirectory() as out:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
                status = cli.main(["denoise", str(path), "--out", out])
        except Exception as error:  # what a user would see as a traceback
            return row | {"outcome": "traceback", "said": repr(error)[:200]}
        row["said"] = " ".join(said.getvalue().replace(str(path), path.name).split())[:300]
        if status:
            return row | {"outcome": "refused"}
        before, after = pictures.read(path), pictures.read(Path(out) / path.name)
    same = [(page.shape, page.dtype) for page in before.pages] == [(page.shape, page.dtype) for page in after.pages]
    same &= [alpha is None for alpha in before.alpha] == [alpha is None for alpha in after.alpha]
    first = before.pages[0]
    row |= {"type": str(first.dtype), "size": "x".join(map(str, first.shape)), "pages": len(before.pages)}
    row |= {"before": _range(before), "after": _range(after)}
    if not same:
        return row | {"outcome": "silent loss"}
    noisy, denoised = (np.concatenate([page.ravel() for page in p.pages]).astype(float) for p in (before, after))
    flat = noisy.std() == 0 or denoised.std() == 0
    return row | {"correlation": "" if flat else f"{np.corrcoef(noisy, denoised)[0, 1]:.3f}"}


def _range(picture: pictures.Picture) -> str:
    low, high = min(page.min() for page in picture.pages), max(page.max() for page in picture.pages)
    return f"{float(low):g} to {float(high):g}"


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
