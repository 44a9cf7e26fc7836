"""Neighboring frames: noise alone passes, what moves is refused by number, steps of the brightness are matched."""

import itertools

import numpy as np
import pytest
import tifffile

from jaxdae.data import load_again, motion, read_own
from jaxdae.errors import InputError

ROWS, COLUMNS = np.mgrid[:80, :80]


def spot(row, column, sigma=2.0):
    return np.exp(-((ROWS - row) ** 2 + (COLUMNS - column) ** 2) / 2 / sigma**2)


def noisy(scenes, seed=0, sigma=5.0):
    return np.random.default_rng(seed).normal(np.stack(scenes), sigma)


def change_of(frames):
    """`compare` of a sequence of grey frames."""
    frames = frames[..., None]
    return motion.compare(list(itertools.pairwise(frames)))


SCENE = 100 + 200 * sum(spot(row, column) for row in (15, 40, 65) for column in (15, 40, 65))


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "8 bits", "correlated"])
@pytest.mark.parametrize("count", [2, 5, 30])
def test_noise_alone_is_no_motion(kind, count):
    generator = np.random.default_rng(count)
    scenes = np.stack([SCENE] * count)
    frames = generator.normal(scenes, 5)
    if kind == "poisson":
        frames = generator.poisson(scenes / 50).astype(float)
    if kind == "8 bits":
        frames = np.clip(np.round(generator.normal(scenes, 30)), 0, 255)
    if kind == "correlated":
        noise = generator.normal(0, 5, scenes.shape)
        frames = scenes + (noise + np.roll(noise, 1, axis=1) + np.roll(noise, 1, axis=2)) / 2
    change = change_of(frames)
    assert (change.shift, change.changed) == (0, 0)


@pytest.mark.parametrize(("speed", "height"), [(1, 60), (2, 30), (6, 30), (20, 30)])
def test_a_moving_spot_is_found(speed, height):
    change = change_of(noisy([100 + height * spot(20, 10 + speed * time) for time in range(4)]))
    assert 1 <= change.changed <= 8 and change.blocks == 25


def test_a_spot_that_appears_in_one_frame_of_a_static_scene_of_spots_is_found():
    change = change_of(noisy([SCENE, SCENE, SCENE + 60 * spot(28, 28), SCENE]))
    assert change.changed and change.moved in (1, 2)


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0])
def test_a_shift_of_the_picture_is_found_in_pixels(shift):
    scenes = [
        100 + 60 * sum(spot(row, column + shift * time, 4) for row in (15, 40, 65) for column in (15, 40, 65))
        for time in range(3)
    ]
    assert change_of(noisy(scenes)).shift == pytest.approx(shift, rel=0.25)


def test_a_drift_of_one_percent_is_found_in_sigmas_and_signed():
    change = change_of(noisy([100 * 0.99**time * np.ones((80, 80)) for time in range(3)]))
    assert change.step == pytest.approx(-1, abs=0.2) and change.noise == pytest.approx(5, rel=0.05)
    assert (change.shift, change.changed) == (0, 0)


def test_channels_are_compared_one_by_one():
    still, moving = noisy([SCENE] * 3), noisy([100 + 60 * spot(20, 20 + 6 * time) for time in range(3)], seed=1)
    frames = np.stack([still, still, moving], axis=-1)
    assert motion.compare(list(itertools.pairwise(frames))).changed


def test_a_moving_scene_is_refused_unless_asked_for_and_an_older_run_has_its_frames_as_they_were(tmp_path):
    frames = noisy([100 + 80 * spot(20, 10 + 6 * time) for time in range(6)]).clip(0).astype(np.uint16)
    path = tmp_path / "moving.tif"
    tifffile.imwrite(path, frames, photometric="minisblack", metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"not at rest: structure changes .* in \d+ of 25 blocks .*--allow-motion"):
        read_own(path, target="next")
    own = read_own(path, target="next", allow_motion=True)
    assert any("not at rest" in note for note in own.notes)
    described = own.describe()
    assert load_again(described).sha256 == own.sha256
    described.pop("allow_motion")
    assert load_again(described).sha256 == own.sha256


def test_steps_of_the_brightness_are_said_and_taken_off_the_targets(tmp_path):
    frames = noisy([SCENE + 4 * time for time in range(6)]).astype(np.uint16)
    path = tmp_path / "drifting.tif"
    tifffile.imwrite(path, frames, photometric="minisblack")
    own = read_own(path, target="next")
    [note] = [note for note in own.notes if "mean brightness" in note]
    assert "(0.8 standard deviations of the noise), which is taken off the targets" in note
    for inputs, target in zip(own.noisy[0], own.train, strict=True):
        assert inputs.mean() == pytest.approx(target.mean(), abs=1e-5)
    assert load_again(own.describe()).sha256 == own.sha256
    kept = read_own(path, target="next", allow_motion=True)
    low, high = kept.stored["shared_range"]
    assert kept.train[0].mean() - kept.noisy[0][0].mean() == pytest.approx(4 / (high - low), rel=0.05)


def test_allow_motion_is_for_sequences(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(InputError, match="--allow-motion is for frames of a sequence"):
        read_own(tmp_path / "a.npy", allow_motion=True)


@pytest.mark.parametrize(
    ("axes", "shape", "step", "settings"),
    [
        ("TYX", (12,), 1, {"imagej": True}),
        ("TCYX", (6, 2), 2, {"imagej": True}),
        ("CTYX", (2, 6), 1, {"ome": True}),
        ("ZCYX", (6, 2), 2, {"imagej": True}),
    ],
)
def test_the_next_frame_is_that_of_the_same_channel(tmp_path, axes, shape, step, settings):
    frames = np.random.default_rng(0).integers(100, 200, (12, 16, 16), np.uint8)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, frames.reshape(*shape, 16, 16), metadata={"axes": axes}, **settings)
    own = read_own(path, target="next")
    number = {frame.tobytes(): index for index, frame in enumerate(frames)}
    pairs = [
        (number[first.tobytes()], number[second.tobytes()])
        for inputs, targets in zip(own.noisy, (own.train, own.held_out), strict=True)
        for first, second in zip(inputs, targets, strict=True)
    ]
    assert len(pairs) == (10 if axes == "TYX" else 9)
    assert all(second - first == step for first, second in pairs)
    assert axes != "CTYX" or (5, 6) not in pairs
    assert any("name no time; Z is taken for it" in note for note in own.notes) == (axes == "ZCYX")


def test_channels_are_no_frames_and_what_is_assumed_is_said(tmp_path):
    frames = np.random.default_rng(0).integers(100, 200, (6, 16, 16), np.uint8)
    path = tmp_path / "channels.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(InputError, match="holds the channels of one picture .its axes are CYX.* --allow-motion"):
        read_own(path, target="next")
    assert read_own(path, target="next", allow_motion=True).pairs == "noisy"
    tifffile.imwrite(tmp_path / "plain.tif", frames, photometric="minisblack")
    notes = read_own(tmp_path / "plain.tif", target="next").notes
    assert any("names no axis of time; its pages are taken for frames in their order" in note for note in notes)
