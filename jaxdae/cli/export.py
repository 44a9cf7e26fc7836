"""`jaxdae export`: a denoiser for other programs."""

import os
from collections.abc import Sequence
from pathlib import Path

from jaxdae.cli import options
from jaxdae.errors import printable
from jaxdae.exchange import Card, load_card
from jaxdae.exchange.exports import FORMATS, export_denoiser
from jaxdae.runs import Run
from jaxdae.runs.run import Weights

DESCRIPTION = """Write a denoiser as a file that other programs read: noisy images on [0, 1] in, denoised ones out.

  jaxdae export runs/classic --to onnx --out model.onnx
  jaxdae export runs/classic --to safetensors stablehlo --out exported/"""


def run(words: Sequence[str]) -> int:
    """Exports and names the files."""
    parser = options.Parser("export", DESCRIPTION, "run")
    source = "a run folder, one of a saved denoiser, a file of Keras, or a packaged denoiser (digits, photos)"
    parser.add_argument("run", type=Path, help=source)
    formats = f"formats: {', '.join(FORMATS)}"
    parser.add_argument("--to", nargs="+", required=True, metavar="FORMAT", help=formats)
    out = "a folder (made if missing), or, for one format, a file such as model.onnx"
    parser.add_argument("--out", type=Path, required=True, metavar="PATH", help=out)
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    options.add_member_choice(parser)
    arguments = parser.parse(words)
    denoiser, trained, path = options.load_denoiser(arguments.run, arguments.member, arguments.weights)
    if trained is not None:
        card = _card(trained, trained.index(arguments.member), arguments.weights)
    else:
        card = load_card(path) if path.is_dir() else Card()
    written = options.print_lines(
        export_denoiser(denoiser, arguments.to, arguments.out, card=card, overwrite=arguments.overwrite)
    )
    print(printable(denoiser.about.origin))
    for path in written:
        print(f"{printable(path)}  {os.path.getsize(path):,} bytes")
    return 0


def _card(run: Run, index: int, weights: Weights) -> Card:
    """What a run knows of one of its members."""
    epoch = run.epoch(index, weights)  # between two epochs nothing was measured
    lines = [line for line in run.history if line["member"] == index and line["epoch"] == epoch]
    numbers = {name: value for line in lines for name, value in line.items() if name.startswith(("val_", "train_"))}
    data = run.config.source["dataset"] or "images given from Python"
    return Card(
        title=f"{run.members[index].noise.corruption} denoiser, {run.labels[index]}",
        data=f"{data} (its licence is not known to jaxdae: add it)",
        numbers={f"{name}, epoch {epoch}": value for name, value in numbers.items()},
    )
