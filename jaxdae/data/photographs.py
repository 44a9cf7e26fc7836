"""`photos`: the real photographs inside scikit-image and scikit-learn whose licences allow redistribution.

Without those for which the libraries state no licence (moon, page, motorcycle) and those that are no photographs
(checkerboards, phantoms, drawings). Attribution is in PHOTOGRAPHS.
"""

from importlib import resources

import numpy as np

from jaxdae.data.folder import Found, Stored
from jaxdae.errors import InputError

NAME = "photos"
SKIMAGE, SKLEARN = "skimage.data", "sklearn.datasets.images"
PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    "astronaut.png": (SKIMAGE, "NASA, public domain"),
    "brick.png": (SKIMAGE, "CC0Textures, CC0"),
    "camera.png": (SKIMAGE, "Lav Varshney, CC0"),
    "cell.png": (SKIMAGE, "Paul Müller and others, CC0"),
    "china.jpg": (SKLEARN, "danielbuechele, CC BY 2.0"),
    "clock_motion.png": (SKIMAGE, "Stefan van der Walt, public domain"),
    "coffee.png": (SKIMAGE, "Rachel Michetti, CC0"),
    "coins.png": (SKIMAGE, "Brooklyn Museum, no known copyright restrictions"),
    "flower.jpg": (SKLEARN, "vultilion, CC BY 2.0"),
    "grass.png": (SKIMAGE, "linolafett, CC0"),
    "gravel.png": (SKIMAGE, "CC0Textures, CC0"),
    "hubble_deep_field.jpg": (SKIMAGE, "NASA, public domain"),
    "ihc.png": (SKIMAGE, "Center for Microscopy and Molecular Imaging, no known copyright restrictions"),
    "microaneurysms.png": (SKIMAGE, "Andreas Maier, CC0"),
    "retina.jpg": (SKIMAGE, "Mikael Häggström, CC0"),
    "text.png": (SKIMAGE, "Wikipedia, public domain"),
    "chelsea.png": (SKIMAGE, "Stefan van der Walt, CC0"),
    "rocket.jpg": (SKIMAGE, "SpaceX, public domain"),
}
"""File: where it is, and whose. The last ones are held out."""
HALVED = ("retina.jpg", "hubble_deep_field.jpg")
"""Read at half size: at full size a third of all patches would be of them."""


def read_photographs() -> Found:
    """The photographs, grey or RGB, 8-bit; InputError if scikit-image is not installed, or lacks one."""
    try:
        pictures = {name: _read(name, package) for name, (package, _) in PHOTOGRAPHS.items()}
    except ModuleNotFoundError as error:
        raise InputError(f"dataset {NAME} needs {error.name}: pip install 'jaxdae[pictures]'") from None
    except FileNotFoundError as error:
        raise InputError(f"dataset {NAME}: {error.filename} is missing; install scikit-image 0.25 or newer") from None
    return Found(pictures, 0, {})


def _read(name: str, package: str) -> Stored:
    from PIL import Image

    with (resources.files(package) / name).open("rb") as file, Image.open(file) as image:
        shown = image.reduce(2) if name in HALVED else image
        values = np.asarray(shown.convert("L" if shown.mode == "L" else "RGB"))
    return Stored(values if values.ndim == 3 else values[..., None], name)
