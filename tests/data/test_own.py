"""One's own pictures: whole or by patches, held out, in one colour, in pairs; what does not fit is refused."""

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import DATA

from jaxdae.data import ImageData, InMemory, load_again, read_own
from jaxdae.data.own import is_own
from jaxdae.data.patches import Patches
from jaxdae.errors import InputError

RANDOM = np.random.default_rng(0)


def save(path, **shapes):
    """A folder of random pictures by name, of those shapes."""
    path.mkdir(parents=True, exist_ok=True)
    for name, shape in shapes.items():
        Image.fromarray(RANDOM.integers(0, 256, shape, np.uint8)).save(path / f"{name}.png")
    return path


def refused(sentence, *args, **kwargs):
    with pytest.raises(InputError, match=sentence) as error:
        read_own(*args, **kwargs)
    assert "\n" not in str(error.value)


def test_small_pictures_of_one_size_train_whole_as_a_named_dataset_does(tmp_path):
    np.save(tmp_path / "all.npy", np.concatenate([DATA.train, DATA.test[:10]]))
    own = read_own(tmp_path, held_out=10 / 60)
    expected = ImageData(DATA.train, DATA.test[:10]).sources()
    for mine, theirs in zip(own.sources(), expected, strict=True):
        assert jax.tree.structure(mine) == jax.tree.structure(theirs)  # so they share the compiled programs
        np.testing.assert_array_equal(mine.images, theirs.images)
    assert own.image == (16, 16, 1) and own.whole


def test_unequal_or_large_pictures_train_by_patches(tmp_path):
    own = read_own(save(tmp_path, a=(20, 30), b=(25, 20), c=(40, 16)), patch=16)
    train, validation = own.sources()
    assert isinstance(train, Patches) and isinstance(validation, InMemory)
    assert own.image == (16, 16, 1) and train.examples == 3 + 2
    np.testing.assert_array_equal(own.test, [own.held_out[0][:16], own.held_out[0][24:]])
    assert "c.png" in own.notes[-1] and "5 examples an epoch, patches of 16x16" in own.notes[-1]
    assert isinstance(read_own(save(tmp_path / "large", a=(65, 65), b=(65, 65))).sources()[0], Patches)


def test_a_tenth_of_the_pictures_is_held_out_and_none_of_them_is_trained(tmp_path):
    own = read_own(save(tmp_path, **{f"p{i:02d}": (8, 8) for i in range(30)}))
    assert len(own.train) == 27 and len(own.held_out) == 3 and "p27.png to p29.png" in own.notes[-1]
    trained = {picture.tobytes() for picture in own.train}
    assert not trained & {picture.tobytes() for picture in own.held_out}
    assert len(read_own(tmp_path, held_out=0.5).train) == 15
    refused("held out 1 is not allowed", tmp_path, held_out=1.0)
    refused("has 1 pictures, which leaves none to train on", save(tmp_path / "one", a=(8, 8)))


def test_colours_are_not_mixed_without_being_asked(tmp_path):
    save(tmp_path, a=(8, 8), b=(8, 8, 3), c=(8, 8, 3))
    refused(r"has grey pictures \(a.png\) and colour ones \(c.png\); give --colour grey or --colour rgb", tmp_path)
    refused("colour 'blue' is not known", tmp_path, colour="blue")
    grey, rgb = read_own(tmp_path, colour="grey"), read_own(tmp_path, colour="rgb")
    assert grey.image == (8, 8, 1) and rgb.image == (8, 8, 3)
    with Image.open(tmp_path / "b.png") as picture:
        np.testing.assert_allclose(grey.train[1][..., 0], np.asarray(picture.convert("L")).astype(int), atol=1)
    np.testing.assert_array_equal(rgb.train[0], np.repeat(grey.train[0], 3, axis=-1))


def test_a_patch_larger_than_a_picture_is_refused(tmp_path):
    save(tmp_path, a=(20, 30), b=(25, 20), c=(40, 12))
    refused("c.png has 40x12 pixels, less than a patch of 64x64; give --patch 12 or less", tmp_path)
    refused("patch 0 is not allowed", tmp_path, patch=0)
    refused("cannot be turned whole; give --patch 8", save(tmp_path / "x", a=(8, 9), b=(8, 9)), augment=True)


def test_pairs_are_matched_by_name(tmp_path):
    shapes = {"a": (20, 30), "b": (25, 20), "c": (40, 16)}
    noisy, clean = save(tmp_path / "noisy", **shapes), save(tmp_path / "clean", **shapes)
    own = read_own(noisy, target=clean, patch=16)
    for part, name in ((0, "a"), (1, "c")):
        for folder, pictures in ((clean, (own.train, own.held_out)), (noisy, own.noisy)):
            with Image.open(folder / f"{name}.png") as picture:
                np.testing.assert_array_equal(pictures[part][0][..., 0], np.asarray(picture))
    train, validation = own.sources()
    assert train.noisy is not None and validation.noisy is not None and own.noisy_test.shape == own.test.shape
    (clean / "b.png").write_bytes(b"none")
    left = read_own(noisy, target=clean, patch=16)
    assert len(left.train) == 1 and "b.png" in left.notes[0]
    (clean / "b.png").unlink()
    refused("noisy/b.png has no pair of that name in .*clean; add it", noisy, target=clean)
    save(clean, b=(25, 21))
    refused("the pair b.png has unequal sizes, 25x20 and 25x21 pixels", noisy, target=clean)
    save(clean, b=(25, 20, 3))
    refused("give --colour grey or --colour rgb", noisy, target=clean)


def test_pictures_are_known_again_by_their_entry(tmp_path):
    own = read_own(save(tmp_path, a=(20, 30), b=(25, 20, 3)), patch=16, colour="grey", held_out=0.3)
    entry = own.describe()
    assert load_again(entry).describe() == entry
    assert entry["dataset"] == str(tmp_path.resolve()) and entry["image"] == [16, 16, 1]
    save(tmp_path, b=(25, 20, 3))
    assert load_again(entry).sha256 != own.sha256
    for source in (
        {"dataset": None},
        {"dataset": str(tmp_path / "gone")} | entry | {"dataset": str(tmp_path / "gone")},
    ):
        with pytest.raises(InputError, match="given from Python|gone does not exist"):
            load_again(source)


def test_mixed_depths_become_floats(tmp_path):
    save(tmp_path, a=(8, 8), b=(8, 8))
    np.save(tmp_path / "c.npy", np.full((8, 8), 0.3))
    own = read_own(tmp_path)
    assert {picture.dtype for picture in (*own.train, *own.held_out)} == {np.dtype(np.float32)}
    sample = own.sources()[0].take(None, 1)
    with Image.open(tmp_path / "b.png") as picture:
        np.testing.assert_allclose(sample.clean[..., 0], np.asarray(picture) / 255, atol=1e-6)


def test_a_name_is_told_from_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "photos", a=(8, 8))
    assert [is_own(name) for name in ("digits", "photos", "./gone", str(tmp_path))] == [False, True, True, True]
    with pytest.raises(InputError, match="dataset 'digit' is not known; did you mean digits"):
        is_own("digit")
