"""A picture file read, written and read again."""

import numpy as np

from jaxdae.data import pictures


def again(path):
    """A picture, and what is read after writing it back as again-NAME."""
    picture = pictures.read(path)
    target = path.with_name(f"again-{path.name}")
    pictures.write(target, picture, pictures.unit_scale(picture))
    return picture, pictures.read(target)


def assert_same(path):
    """Both have the same pages, of the same type and values."""
    picture, written = again(path)
    assert len(picture.pages) == len(written.pages)
    for old, new in zip(picture.pages, written.pages, strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_allclose(new, old, rtol=1e-6, atol=1e-6 * np.abs(old).max())
    for old, new in zip(picture.alpha, written.alpha, strict=True):
        np.testing.assert_array_equal(new, old)
    return picture, written
