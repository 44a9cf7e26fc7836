"""`jaxdae noisy-set`: the noisy test images as a file."""

from collections.abc import Sequence
from pathlib import Path

from jaxdae.cli import options
from jaxdae.data import load
from jaxdae.errors import printable
from jaxdae.exchange.noisy_set import write_noisy_set
from jaxdae.noise import Noise

DESCRIPTION = """Write the noisy test images of the evaluation, and the clean ones, to an .npz file.

Another program's denoiser is measured on the very noise of `jaxdae evaluate` that way."""


def run(words: Sequence[str]) -> int:
    """Writes the file and prints its digest."""
    parser = options.Parser("noisy-set", DESCRIPTION)
    add = parser.add_argument
    add("--dataset", default="digits", metavar="NAME", help="digits, mnist, fashion_mnist or kmnist (default: digits)")
    add("--noise-level", default="0.5", metavar="LEVEL", help="a level, or a range 0:1 (default: 0.5)")
    add("--corruption", default="gaussian", metavar="NAME", help="the kind of noise (default: gaussian)")
    add("--no-clip", action="store_true", help="leave the noisy images beyond [0, 1]")
    add("--seed", type=int, default=0, metavar="N", help="of the noise (default: 0, that of `jaxdae evaluate`)")
    add("--out", type=Path, required=True, metavar="FILE", help="the .npz file")
    options.add_noise_scale(parser)
    options.add_data_options(parser)
    arguments = parser.parse(words)
    [level] = options.on_unit_scale([arguments.noise_level], arguments.noise_scale, [arguments.corruption])
    noise = Noise(arguments.corruption, level, clip=not arguments.no_clip)
    data = load(arguments.dataset, manual_dir=arguments.manual_dir, data_dir=arguments.data_dir)
    digest = write_noisy_set(arguments.out, data.test, noise, seed=arguments.seed)
    print(f"{printable(arguments.out)}: {len(data.test)} noisy and clean images, SHA-256 {digest}")
    return 0
