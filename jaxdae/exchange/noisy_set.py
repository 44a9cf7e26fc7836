"""The noisy images of the evaluation as a file, for denoisers that are not jaxdae's."""

import hashlib
import json
from pathlib import Path

import numpy as np

from jaxdae import components
from jaxdae.arguments import require_path
from jaxdae.errors import InputError
from jaxdae.noise import Noise, check_noise, noisy_examples
from jaxdae.runs.files import atomic
from jaxdae.types import RawImages


def write_noisy_set(path: Path, images: RawImages, noise: Noise, *, seed: int = 0) -> str:
    """Writes an .npz file of the very images that `evaluation.measure` measures, and returns its digest.

    It holds `noisy` (float32, on the [0, 1] scale), `clean` (as given), `about` (the noise and the seed, JSON) and
    `sha256`, the digest of the bytes of both. Another processor may round the last bit of a noisy image differently.

    Args:
        path: the file, which must end in .npz; one that exists is replaced.
        images: clean images: 8-bit, or floats on the [0, 1] scale.
        noise: the corruption, level and clipping.
        seed: of the noise.

    InputError if the noise, the images or the name of the file are not allowed.
    """
    require_path("path", path)
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path} must end in .npz, the format of the file")
    noise = check_noise(noise)
    noisy, clean = np.asarray(noisy_examples(images, noise, seed=seed)), np.ascontiguousarray(images)
    digest = hashlib.sha256(noisy.tobytes() + clean.tobytes()).hexdigest()
    about = json.dumps({"noise": components.to_dict(noise), "seed": int(seed)})
    with atomic(path) as temporary:
        np.savez_compressed(temporary, noisy=noisy, clean=clean, about=about, sha256=digest)
    return digest
