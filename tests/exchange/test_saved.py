"""Saved denoisers are read back as they were; a file that is damaged or does not fit is refused in a sentence."""

import json

import numpy as np
import pytest
from tiny import assert_same_denoiser, random_params

import jaxdae
from jaxdae.errors import InputError
from jaxdae.exchange import Card, load_card, save_denoiser, saved
from jaxdae.models.denoiser import About, Denoiser

MODEL = jaxdae.ConvAutoencoder(width=4, depth=1, prediction="residual", compute_dtype="bfloat16")
ABOUTS = (
    About(jaxdae.Noise(level=(0.5, 0.5), redraw=False), 1, seed=0, origin="classic"),
    About(jaxdae.Noise("poisson", (0.0, 1.0), clip=False), 3, (-1.0, 1.0), (16, 24)),
)


def make(about=ABOUTS[0]):
    return Denoiser(MODEL, random_params(MODEL, about.channels), about)


@pytest.mark.parametrize("about", ABOUTS)
def test_what_is_saved_is_loaded(tmp_path, about):
    path = save_denoiser(make(about), tmp_path / "mine")
    assert sorted(file.name for file in path.iterdir()) == ["README.md", "denoiser.json", "model.safetensors"]
    assert json.loads((path / "denoiser.json").read_text())["model"]["kind"] == "autoencoder"
    assert_same_denoiser(jaxdae.load_denoiser(path), make(about))


def test_a_level_that_is_a_number_is_saved_as_the_pair_that_it_stands_for(tmp_path):
    given = make(About(jaxdae.Noise(level=0.5), 1))
    assert jaxdae.load_denoiser(save_denoiser(given, tmp_path)).about.noise.level == (0.5, 0.5)


def test_float16_halves_the_file_and_rounds(tmp_path):
    whole, half = (save_denoiser(make(), tmp_path / kind, dtype=kind) for kind in ("float32", "float16"))
    sizes = [(path / "model.safetensors").stat().st_size for path in (whole, half)]
    assert sizes[1] < 0.75 * sizes[0]
    kernel, rounded = make().params["output"]["kernel"], jaxdae.load_denoiser(half).params["output"]["kernel"]
    assert rounded.dtype == np.float32 and (rounded == kernel.astype(np.float16)).all() and (rounded != kernel).any()
    assert "(float16)" in (half / "README.md").read_text()


def test_the_card_is_kept_and_written_for_a_hub(tmp_path):
    card = Card("Scans", "our scans, CC BY 4.0", "cc-by-4.0", "jaxdae train", {"PSNR": 20.5}, "grey only")
    path = save_denoiser(make(), tmp_path, card=card)
    assert load_card(path) == card
    head, text = (path / "README.md").read_text().split("---\n")[1:]
    assert 'license: "cc-by-4.0"' in head.splitlines() and 'pipeline_tag: "image-to-image"' in head.splitlines()
    for said in ("# Scans", "our scans", "`jaxdae train`", "| PSNR | 20.5 |", "grey only", "gaussian, level 0.5"):
        assert said in text
    save_denoiser(make(), tmp_path, overwrite=True)
    assert "license" not in (path / "README.md").read_text() and load_card(path) == Card()


def test_nothing_is_replaced_or_half_written(tmp_path):
    path = save_denoiser(make(), tmp_path / "mine")
    with pytest.raises(InputError, match=r"model.safetensors exists; choose another folder"):
        save_denoiser(make(), path)
    with pytest.raises(InputError, match="dtype 'float8' is not known"):
        save_denoiser(make(), tmp_path / "other", dtype="float8")
    large = make()
    large.params["output"]["bias"] = np.float32([1e6])
    with pytest.raises(InputError, match="output/bias holds numbers that are not finite in float16"):
        save_denoiser(large, tmp_path / "other", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("denoiser.json", lambda data: data[:50], "denoiser.json cannot be read"),
        ("denoiser.json", lambda data: data.replace(b'"schema": 1', b'"schema": 9'), "another version of jaxdae"),
        ("denoiser.json", lambda data: data.replace(b'"autoencoder"', b'"resnet"'), "kind 'resnet' is not known"),
        ("denoiser.json", lambda data: data.replace(b'"width": 4', b'"width": 5'), "does not fit denoiser.json"),
        ("denoiser.json", lambda data: data.replace(b'"channels"', b'"canals"'), "holds no denoiser that can be read"),
        ("denoiser.json", lambda data: b"[]", "cannot be read"),
        ("model.safetensors", lambda data: data[:-9], "holds no denoiser that can be read"),
        ("model.safetensors", lambda data: b"", "holds no denoiser that can be read"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path, name, change, sentence):
    path = without_digests(save_denoiser(make(), tmp_path))
    data = (path / name).read_bytes()
    assert change(data) != data
    (path / name).write_bytes(change(data))
    with pytest.raises(InputError, match=sentence):
        jaxdae.load_denoiser(path)


def without_digests(path):
    """The folder as former versions wrote it."""
    fields = json.loads((path / "denoiser.json").read_text())
    del fields["sha256"], fields["weights"]
    (path / "denoiser.json").write_text(json.dumps(fields))
    return path


def test_a_single_bit_that_changed_is_noticed_and_a_folder_without_digests_is_read(tmp_path):
    denoiser = make()
    path = save_denoiser(denoiser, tmp_path)
    weights, fields = (path / "model.safetensors").read_bytes(), (path / "denoiser.json").read_text()
    (path / "model.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(InputError, match="model.safetensors has changed since it was saved"):
        jaxdae.load_denoiser(path)
    (path / "model.safetensors").write_bytes(weights)
    (path / "denoiser.json").write_text(fields.replace("0.5", "0.6", 1))
    for load in (jaxdae.load_denoiser, load_card):
        with pytest.raises(InputError, match="denoiser.json cannot be read .it has changed since it was written"):
            load(path)
    (path / "denoiser.json").write_text(fields)
    assert_same_denoiser(jaxdae.load_denoiser(without_digests(path)), denoiser)


@pytest.mark.parametrize("card", [{"numbers": 3}, {"title": None}, {"colour": "red"}])
def test_a_card_of_other_things_is_refused(tmp_path, card):
    path = without_digests(save_denoiser(make(), tmp_path))
    fields = json.loads((path / "denoiser.json").read_text())
    (path / "denoiser.json").write_text(json.dumps(fields | {"card": card}))
    with pytest.raises(InputError, match="the card in .* cannot be read"):
        load_card(path)


def test_a_missing_file_is_refused(tmp_path):
    path = save_denoiser(make(), tmp_path)
    (path / saved.WEIGHTS).unlink()
    with pytest.raises(InputError, match="holds no denoiser that can be read"):
        jaxdae.load_denoiser(path)
