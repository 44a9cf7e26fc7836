"""`jaxdae plot`: the figures of a run."""

from collections.abc import Sequence
from pathlib import Path

from jaxdae.cli import options
from jaxdae.runs.figures import write_figures

DESCRIPTION = """Draw the figures of a run into its folder: loss curves, noisy and denoised images, feature maps."""


def run(words: Sequence[str]) -> int:
    """Draws and names the files."""
    parser = options.Parser("plot", DESCRIPTION, "run")
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--layer", metavar="NAME", help="of the feature maps (default: encoder_0, or the first)")
    parser.add_argument("--noise-level", type=float, metavar="LEVEL", help="of the images (default: the member's own)")
    options.add_member_choice(parser)
    options.add_data_options(parser)
    arguments = parser.parse(words)
    trained, data = options.load_run(arguments, without_data=True)
    index = trained.index(arguments.member)
    print(trained.describe(index, arguments.weights))
    if data is None:
        print(f"only the loss curves: {trained.config.source['dataset']} is not there")
    written = write_figures(
        trained, data,
        member=index, weights=arguments.weights, layer=arguments.layer, noise_level=arguments.noise_level,
    )  # fmt: skip
    print(*written, sep="\n")
    return 0
