"""`jaxdae models`: the packaged denoisers."""

from collections.abc import Sequence

from jaxdae.cli import options
from jaxdae.exchange.packaged import PACKAGED, folder_of
from jaxdae.exchange.saved import README, WEIGHTS

DESCRIPTION = """List the packaged denoisers: what they were trained on, for which noise, with which result.

`jaxdae denoise --run NAME` uses one; without --run it takes the one that fits each picture."""


def run(words: Sequence[str]) -> int:
    """Prints their model cards, without the hub's head and the example."""
    options.Parser("models", DESCRIPTION).parse(words)
    for name in PACKAGED:
        path = folder_of(name)
        card = (path / README).read_text().split("---\n", 2)[2].split("```")[0].strip()
        print(f"{name} ({(path / WEIGHTS).stat().st_size:,} bytes)\n\n{card}\n")
    return 0
