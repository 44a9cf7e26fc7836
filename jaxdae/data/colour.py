"""Pictures of one set in one colour, grey or RGB."""

from pathlib import Path

import numpy as np

from jaxdae.data.ranges import Pixels
from jaxdae.errors import InputError

COLOURS = {"grey": 1, "rgb": 3}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601, as Pillow converts to grey."""


def in_colour(path: Path, sides: list[dict[str, Pixels]], colour: str | None) -> tuple[str, list[dict[str, Pixels]]]:
    """All pictures in one colour, by default their own, and in one type; InputError if they have several colours."""
    by_channels = {picture.shape[-1]: name for side in sides for name, picture in side.items()}
    if colour is None and len(by_channels) > 1:
        raise InputError(
            f"{path} has grey pictures ({by_channels[1]}) and colour ones ({by_channels[3]}); "
            "give --colour grey or --colour rgb"
        )
    colour = colour or next(name for name, channels in COLOURS.items() if channels in by_channels)
    eight_bit = all(picture.dtype == np.uint8 for side in sides for picture in side.values())
    return colour, [{name: _converted(p, COLOURS[colour], eight_bit) for name, p in side.items()} for side in sides]


def _converted(picture: Pixels, channels: int, eight_bit: bool) -> Pixels:
    if picture.shape[-1] > channels:
        grey = picture.astype(np.float32) @ LUMA[:, None]
        picture = (
            np.round(grey).astype(np.uint8) if picture.dtype == np.uint8 else np.minimum(grey, max(picture.max(), 1))
        )
    elif picture.shape[-1] < channels:
        picture = np.repeat(picture, channels, axis=-1)
    return picture if eight_bit or picture.dtype != np.uint8 else picture.astype(np.float32) / 255
