"""Patches of pictures: drawn anew each epoch for training, fixed for validation and evaluation."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Int, Num

from jaxdae import rng
from jaxdae.data.source import EIGHT_BIT, Sample, ValueRange, rescale
from jaxdae.errors import InputError
from jaxdae.rng import Draws, Name
from jaxdae.types import Image, Index

MOST_CROPS = 4
"""Fixed crops of a picture in each direction: no large photograph outweighs the others."""


@struct.dataclass
class Patches:
    """Square patches of pictures of any sizes, which lie one after another in one flat buffer.

    The draws of a patch are named by its picture, the epoch and its number among the picture's patches.
    """

    clean: Num[Array | np.ndarray, "values"]
    noisy: Num[Array | np.ndarray, "values"] | None
    """Of pairs, as `clean`."""
    layout: Int[Array | np.ndarray, "picture 4"]
    """Of each picture: where it starts, its height, its width, its first example."""
    picture: Int[Array | np.ndarray, "example"]
    """The picture of each example."""
    patch: int = struct.field(pytree_node=False)
    """The side, in pixels."""
    channels: int = struct.field(pytree_node=False)
    augment: bool = struct.field(pytree_node=False)
    """Flip and turn: each of the eight ways is equally likely."""
    value_range: ValueRange = struct.field(pytree_node=False, default=EIGHT_BIT)
    noisy_target: bool = struct.field(pytree_node=False, default=False)
    """Of pairs: `clean` is noisy too."""
    beyond: bool = struct.field(pytree_node=False, default=False)
    """Some values lie beyond the value range."""

    @classmethod
    def of(
        cls,
        clean: Sequence[np.ndarray],
        noisy: Sequence[np.ndarray] | None,
        patch: int,
        augment: bool,
        coverage: int,
        value_range: ValueRange,
        noisy_target: bool = False,
        beyond: bool = False,
    ) -> "Patches":
        """Of pictures (height, width, channel) of one type; InputError if they are too many for 32-bit positions.

        A picture has `coverage` times `patch_count` patches in an epoch.
        """
        sizes = np.array([picture.shape for picture in clean], np.int64)
        starts = np.concatenate([[0], sizes.prod(axis=1).cumsum()])
        counts = np.array([patch_count(picture, patch) for picture in clean])
        if starts[-1] >= 2**31:
            raise InputError(f"the pictures have {starts[-1]} values; at most 2147483647 can be trained, take fewer")
        if (examples := coverage * int(counts.sum())) >= 2**31:
            raise InputError(f"coverage {coverage} makes {examples} patches; take one that makes at most 2147483647")
        counts *= coverage
        first = counts.cumsum() - counts
        layout = np.stack([starts[:-1], sizes[:, 0], sizes[:, 1], first], axis=1).astype(np.int32)
        picture = np.repeat(np.arange(len(clean), dtype=np.int32), counts)
        flat = np.concatenate([picture.ravel() for picture in clean])
        flat_noisy = None if noisy is None else np.concatenate([picture.ravel() for picture in noisy])
        return cls(
            flat, flat_noisy, layout, picture, patch, int(sizes[0, 2]), augment, value_range, noisy_target, beyond
        )

    @property
    def examples(self) -> int:
        """Patches in an epoch, over all pictures."""
        return self.picture.shape[0]

    def take(self, draws: Draws, index: Index) -> Sample:
        """One patch; where its noise is not redrawn (epoch `ONCE`), the patch is not either."""
        picture = jnp.asarray(self.picture)[index]
        start, height, width, first = jnp.asarray(self.layout)[picture]
        number = index - first
        room = jnp.stack([height, width]) - self.patch + 1
        row, column = jax.random.randint(_key(draws, rng.PATCH, picture, number), (2,), 0, room)
        corner = start + (row * width + column) * self.channels
        way = jax.random.randint(_key(draws, rng.AUGMENT, picture, number), (), 0, 8) if self.augment else None

        def cut(flat: Array | np.ndarray) -> Image:
            size = self.patch * self.channels
            rows = corner + jnp.arange(self.patch) * width * self.channels
            values = jax.vmap(lambda at: jax.lax.dynamic_slice(jnp.asarray(flat), (at,), (size,)))(rows)
            image = rescale(values.reshape(self.patch, self.patch, self.channels), self.value_range)
            return image if way is None else turned(image, way)

        target, noisy = cut(self.clean), None if self.noisy is None else cut(self.noisy)
        return Sample(None, noisy, target) if self.noisy_target else Sample(target, noisy)


def _key(draws: Draws, purpose: int, picture: Name, number: Name) -> Array:
    return jax.random.fold_in(Draws(draws.seed, draws.epoch, picture).key(purpose), number)


def patch_count(picture: np.ndarray, patch: int) -> int:
    """How many patches of a picture an epoch has: as many as cover its area, rounded up."""
    height, width, _ = picture.shape
    return -(-height * width // patch**2)


def turned(image: Image, way: Int[Array, ""] | int) -> Image:
    """A square image in one of eight ways (0 is as it is): its bits flip rows, flip columns, exchange both."""
    for bit, other in ((1, lambda x: x[::-1]), (2, lambda x: x[:, ::-1]), (4, lambda x: x.swapaxes(0, 1))):
        image = jnp.where(way & bit, other(image), image)
    return image


def fixed_crops(
    pictures: Sequence[np.ndarray], height: int, width: int
) -> Num[np.ndarray, "crop height width channel"]:
    """Crops that do not overlap, spread over each picture, at most `MOST_CROPS` in each direction."""
    return np.stack(
        [
            picture[row : row + height, column : column + width]
            for picture in pictures
            for row in _corners(picture.shape[0], height)
            for column in _corners(picture.shape[1], width)
        ]
    )


def _corners(side: int, crop: int) -> list[int]:
    count = min(side // crop, MOST_CROPS)
    return [(side - crop) // 2] if count == 1 else [i * (side - crop) // (count - 1) for i in range(count)]
