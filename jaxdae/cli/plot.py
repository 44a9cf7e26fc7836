"""`jaxdae plot`: the figures of a run."""

from collections.abc import Sequence
from pathlib import Path

from jaxdae.cli import options
from jaxdae.errors import printable
from jaxdae.exchange.packaged import folder_of
from jaxdae.runs.figures import image_figures, save_figures, write_figures
from jaxdae.runs.folder import FIGURES

DESCRIPTION = """Draw the figures of a run into its folder: loss curves, noisy and denoised images, feature maps."""


def run(words: Sequence[str]) -> int:
    """Draws and names the files."""
    parser = options.Parser("plot", DESCRIPTION, "run")
    parser.add_argument("run", type=Path, help="the run folder, one of a saved denoiser, or a file of Keras")
    options.add_denoiser_data(parser)
    parser.add_argument("--layer", metavar="NAME", help="of the feature maps (default: encoder_0, or the first)")
    parser.add_argument("--noise-level", type=float, metavar="LEVEL", help="of the images (default: the member's own)")
    options.add_member_choice(parser)
    options.add_data_options(parser)
    arguments = parser.parse(words)
    if alone := options.load_denoiser_data(arguments):
        denoiser, data = alone
        print(printable(denoiser.about.origin))
        drawn = image_figures(denoiser, data, layer=arguments.layer, noise_level=arguments.noise_level)
        path = folder_of(arguments.run)
        home = path / FIGURES if path.is_dir() else path.with_suffix(".figures")
        print(*map(printable, save_figures(home, drawn)), sep="\n")
        return 0
    trained, data = options.load_run(arguments, without_data=True)
    index = trained.index(arguments.member)
    print(trained.describe(index, arguments.weights))
    if data is None:
        print(f"only the loss curves: {printable(trained.config.source['dataset'])} is not there")
    written = write_figures(
        trained, data,
        member=index, weights=arguments.weights, layer=arguments.layer, noise_level=arguments.noise_level,
    )  # fmt: skip
    print(*map(printable, written), sep="\n")
    return 0
