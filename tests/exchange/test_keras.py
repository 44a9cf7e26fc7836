"""Files of Keras compute here what Keras computes; what cannot be taken is refused with its place, in one sentence.

tests/golden/make_keras_files.py says how the files were made.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest
from command import refused, run
from tiny import DATA, LOOP, MEMBER, lively_params, random_images

import jaxdae
from jaxdae.errors import InputError
from jaxdae.exchange.exports import FORMATS, export_denoiser
from jaxdae.exchange.keras import read_keras
from jaxdae.exchange.keras_layers import LAYERS, activation_of
from jaxdae.models import DnCNN, Graph, denoiser
from jaxdae.models.denoiser import About, Denoiser
from jaxdae.models.graph import ACTIVATIONS, KINDS

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDER = GOLDEN / "keras"
FILES = sorted(path.name for path in FOLDER.iterdir())
FIELD = Path(os.environ.get("JAXDAE_MANUAL_DIR", "nowhere")) / "field" / "keras"
WITH_SIZE = ("dense", "first_of_the_tutorial", "flattened")


@pytest.fixture(scope="module")
def expected():
    with np.load(GOLDEN / "keras_files.npz") as file:
        return dict(file)


def family(name):
    """What --models has to say."""
    return None if "weights" not in name else "autoencoder" if name.startswith("classic") else "dncnn"


def as_pictures(arrays):
    return arrays if arrays.ndim == 4 else arrays.reshape(len(arrays), 8, 8, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_layout_computes_what_keras_computes(expected, name):
    imported = read_keras(FOLDER / name, model=family(name)).denoiser
    noisy, clean = (as_pictures(expected[f"{name}:{part}"]) for part in ("input", "output"))
    assert clean.std() > 0.005
    np.testing.assert_allclose(imported.apply(noisy), clean, rtol=0, atol=1e-5)
    assert (imported.about.size is not None) == name.startswith(WITH_SIZE)


def test_a_file_of_each_generation_computes_what_keras_computes(expected):
    for name in ("classic_2.h5", "pooled_2.h5", "nested.keras"):
        noisy, clean = expected[f"{name}:input"], expected[f"{name}:output"]
        np.testing.assert_allclose(read_keras(FOLDER / name).denoiser.apply(noisy), clean, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits_batchnorm.keras", "digits_two_widths.h5", "autoencoder1_transposed.h5",
                                  "pages_width128_depth1.h5"])  # fmt: skip
def test_real_files_compute_what_keras_computes(name):
    if not (FIELD / name).exists():
        pytest.skip(f"{FIELD} is not here")
    with np.load(FIELD / "outputs.npz") as file:
        shape, clean = file[f"{name}:shape"], file[f"{name}:output"]
    noisy = np.random.default_rng(0).random(shape, dtype="f")
    np.testing.assert_allclose(jaxdae.load_denoiser(FIELD / name)(noisy), clean, rtol=0, atol=1e-5)


def test_our_networks_are_found():
    autoencoder = read_keras(FOLDER / "classic.keras").denoiser.module
    assert autoencoder == jaxdae.ConvAutoencoder(width=(4, 3), depth=2)
    assert read_keras(FOLDER / "dncnn.h5").denoiser.module == DnCNN(width=4, depth=4)
    assert isinstance(read_keras(FOLDER / "strided.h5").denoiser.module, Graph)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["strided.keras", "pooled.keras", "nested.keras"])
def test_tiles_of_a_graph_have_no_seams_and_its_reach_is_near(name, monkeypatch):
    made = read_keras(FOLDER / name).denoiser
    noisy = np.random.default_rng(1).random((1, 95, 47, made.about.channels), np.float32)
    whole = jax.jit(made.apply)(noisy)
    monkeypatch.setattr(denoiser, "TILE", 12)
    np.testing.assert_allclose(made(noisy), whole, rtol=0, atol=2e-6)

    @jax.jit
    def dependence(row):
        return jax.grad(lambda x: made.apply(x)[0, row, 24, 0])(noisy[:, :60, :48])[0].sum(-1)

    rows = range(24, 24 + made.module.multiple)
    seen = [np.abs(np.argwhere(np.asarray(dependence(row)).any(1)) - row).max() for row in rows]
    assert max(seen) <= made.module.reach <= max(seen) + 2 * made.module.multiple


def test_an_imported_graph_is_saved_and_loaded(tmp_path, expected):
    made = read_keras(FOLDER / "nested.keras", noise=jaxdae.Noise("poisson", (0.1, 0.1)))
    path = jaxdae.exchange.save_denoiser(made.denoiser, tmp_path / "mine", card=made.card)
    again = jaxdae.load_denoiser(path)
    assert again.module == made.denoiser.module and again.about == made.denoiser.about
    assert "as told" in again.about.origin and again.about.noise.corruption == "poisson"
    noisy, clean = expected["nested.keras:input"], expected["nested.keras:output"]
    np.testing.assert_allclose(again.apply(noisy), clean, rtol=0, atol=1e-5)
    assert {"encoder.conv2d", "decoder.shared"} <= set(again.layers(noisy))


@pytest.mark.parametrize(
    ("old", "new"), [('"conv"', '"convolve"'), ('"input"', '"nothing"'), ("[3, 3]", "[-3, 3]"), ("[2, 2]", "[0, 0]")]
)
def test_a_saved_graph_that_was_changed_is_refused(tmp_path, old, new):
    path = jaxdae.exchange.save_denoiser(read_keras(FOLDER / "strided.keras").denoiser, tmp_path / "mine")
    fields = json.loads((path / "denoiser.json").read_text())
    del fields["sha256"]  # as who changes it on purpose would
    text = json.dumps(fields)
    changed = text.replace(old, new)
    assert changed != text
    (path / "denoiser.json").write_text(changed)
    with pytest.raises(InputError, match="holds no denoiser that can be read|does not fit"):
        jaxdae.load_denoiser(path)


@pytest.mark.slow
def test_the_command_imports_evaluates_and_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(capsys, "import", FOLDER / "first_of_the_tutorial.h5", "--out", "mine")
    assert status == 0
    for said in ("it takes images of 28x28 pixels only", "gaussian of level 0.5 is assumed", "model.safetensors"):
        assert said in out
    refused(capsys, "exists; choose another folder", "import", FOLDER / "classic.h5", "--out", "mine")
    refused(capsys, "name them with --dataset", "evaluate", "mine")
    status, out, _ = run(capsys, "evaluate", "mine", "--dataset", "digits", "--test-levels", "0.5", "--json")
    assert status == 0 and [row["member"] for row in json.loads(out)] == ["identity", 0]
    status, out, _ = run(capsys, "plot", FOLDER / "classic.keras", "--dataset", "digits", "--layer", "nothing")
    assert status == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


def rewritten(tmp_path, change, name="nested.keras"):
    """An archive with another configuration."""
    target = tmp_path / name
    with zipfile.ZipFile(FOLDER / name) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.namelist():
            data = old.read(entry)
            if entry == "config.json":
                data = json.dumps(change(json.loads(data)) or {}).encode()
            new.writestr(entry, data)
    return target


def with_layer(name, **changes):
    """Changes entries of one layer of the top model."""

    def change(config):
        for entry in config["config"]["layers"]:
            if entry["config"].get("name") == name:
                own = changes.pop("config", {})
                entry.update(changes)
                entry["config"].update(own)
                return config
        raise AssertionError(name)

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"class_name": "Lambda"}, "layer 2, conv2d (Lambda), is code, which is not executed"),
        ({"class_name": "Attention"}, "layer 2, conv2d (Attention), cannot be taken; known: Conv2D"),
        ({"registered_name": "mine>Conv2D"}, "layer 2, conv2d (Conv2D), is a custom object, which is not executed"),
        ({"module": "os"}, "is a custom object, which is not executed"),
        ({"config": {"data_format": "channels_first"}}, "layer 2, conv2d (Conv2D), its images have the channels first"),
        ({"config": {"filters": 9}}, "have the shape"),
        ({"config": {"activation": "softmax"}}, "the activation 'softmax' cannot be taken"),
        ({"config": {"activation": {"class_name": "function", "config": "mine>f"}}}, "'mine>f' cannot be taken"),
        ({"config": {"strides": [0, 1]}}, "a size of [0, 1] is not allowed"),
        ({"config": {"padding": "causal"}}, "padding 'causal' cannot be taken"),
        ({"inbound_nodes": [{"args": [{"class_name": "__keras_tensor__",
                                       "config": {"keras_history": ["conv2d", 0, 0]}}]}]}, "is its own input"),
        ({"inbound_nodes": []}, "has no use 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_named_with_its_layer(tmp_path, change, sentence):
    path = rewritten(tmp_path, with_layer("conv2d", **change), "dncnn.keras")
    with pytest.raises(InputError) as error:
        read_keras(path)
    assert sentence in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def several_outputs(config):
    config["config"]["output_layers"] = [["conv2d", 0, 0], ["conv2d_1", 0, 0]]
    return config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (several_outputs, "has 2 outputs; one is taken"),
        (lambda config: {"class_name": "Mine", "config": {}}, "model, Mine (Mine), cannot be taken"),
        (lambda config: [], "has no class_name"),
        (lambda config: config | {"config": {"layers": []}}, "has no layers"),
    ],
)
def test_models_that_are_none_of_ours_are_refused(tmp_path, change, sentence):
    with pytest.raises(InputError) as error:
        read_keras(rewritten(tmp_path, change, "dncnn.keras"))
    assert sentence in str(error.value)


def archive(path, **entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            made.writestr(name.replace("__", "."), data)


def damaged(folder):
    """Files that cannot be read, with a part of the sentence."""
    whole = {name: (FOLDER / name).read_bytes() for name in ("classic.h5", "classic.keras")}
    (folder / "cut.h5").write_bytes(whole["classic.h5"][:9000])
    (folder / "cut.keras").write_bytes(whole["classic.keras"][:9000])
    (folder / "text.keras").write_bytes(b"no archive at all")
    (folder / "text.h5").write_bytes(b"")
    archive(folder / "other.keras", a__txt="x")
    archive(folder / "bomb.keras", config__json=b"{" + b" " * 2**26, metadata__json="{}", model__weights__h5="")
    archive(folder / "packed.keras", config__json="{}", metadata__json="{}", model__weights__h5=bytes(2**26))
    with h5py.File(folder / "other.h5", "w") as file:
        file["numbers"] = [1.0, 2.0]
    with h5py.File(folder / "weightless.h5", "w") as file:
        file.attrs["model_config"] = "{}"
    return {
        "cut.h5": "is damaged, or no file of Keras", "cut.keras": "is damaged, or no file of Keras",
        "text.keras": "it is no zip archive", "text.h5": "neither HDF5 nor a .keras archive",
        "other.keras": "it has no config.json", "bomb.keras": "config.json would unpack to 67,108,865 bytes",
        "packed.keras": "model.weights.h5 would unpack to 67,108,864 bytes",
        "other.h5": "it has neither layer_names nor layers", "weightless.h5": "model_weights are missing",
        "gone.h5": "does not exist",
    }  # fmt: skip


def test_a_damaged_or_hostile_file_is_refused_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "files").mkdir()
    for name, sentence in damaged(tmp_path / "files").items():
        refused(capsys, sentence, "import", tmp_path / "files" / name, "--out", tmp_path / "mine")
    refused(capsys, "weights only; say the architecture with --models", "import", FOLDER / "classic.weights.h5",
            "--out", tmp_path / "mine")  # fmt: skip
    refused(capsys, "are no dncnn", "import", FOLDER / "classic.weights.h5", "--models", "dncnn", "--out",
            tmp_path / "mine")  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["files"]


def changed_weights(tmp_path, change):
    path = tmp_path / "classic.h5"
    path.write_bytes((FOLDER / "classic.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        change(file["model_weights"]["conv2d"])
    return path


def replace(group, name, value):
    path = next(n for n in group.attrs["weight_names"] if name in n)
    del group[path]
    group[path] = value


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda g: replace(g, "kernel", np.zeros((3, 3, 1, 5), "f4")), "layer conv2d have the shape (3, 3, 1, 5)"),
        (lambda g: replace(g, "kernel", np.full((3, 3, 1, 4), np.nan, "f4")), "not finite"),
        (lambda g: replace(g, "kernel", np.zeros((3, 3, 1, 4), "i4")), "are int32, not floats"),
        (lambda g: replace(g, "kernel", h5py.ExternalLink("/etc/passwd", "x")), "are a link"),
        (lambda g: g.attrs.create("weight_names", g.attrs["weight_names"][:1]), "has 1 weights in the file, not 2"),
        (lambda g: g.attrs.modify("weight_names", g.attrs["weight_names"][::-1]), "where its kernel should be"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_are_named(tmp_path, change, sentence):
    with pytest.raises(InputError) as error:
        read_keras(changed_weights(tmp_path, change))
    assert sentence in str(error.value)


def test_half_precision_weights_are_taken(tmp_path):
    path = changed_weights(tmp_path, lambda g: replace(g, "kernel", np.ones((3, 3, 1, 4), "f2")))
    kernel = read_keras(path).denoiser.params["encoder_0"]["kernel"]
    assert kernel.dtype == np.float32 and (kernel == 1).all()


def test_every_known_layer_has_a_kind_and_the_names_of_activations_are_keras_own():
    assert {known.kind for known in LAYERS.values()} - {""} == set(KINDS)
    assert all(activation_of(name) == (name,) for name in ACTIVATIONS) and activation_of("swish") == ("silu",)


EXPORTED = {
    "autoencoder": jaxdae.ConvAutoencoder(width=(4, 5), depth=2),
    "autoencoder_residual": jaxdae.ConvAutoencoder(width=4, depth=1, prediction="residual", bias=False),
    "dncnn": jaxdae.DnCNN(width=4, depth=3),
    "dncnn_image": jaxdae.DnCNN(width=4, depth=2, prediction="image"),
    "unet": jaxdae.UNet(width=4, depth=2, repeat=2, down="strided"),
    "unet_logits": jaxdae.UNet(width=3, depth=1, down="strided", prediction="logits", bias=False),
}


def denoiser_of(model, channels=1):
    return Denoiser(model, lively_params(model, channels), About(jaxdae.Noise(), channels))


def export(denoiser, path):
    return FORMATS["keras"].write(denoiser, path)


def test_an_export_is_read_back_as_the_same_network(tmp_path):
    for name in ("autoencoder", "dncnn_image"):
        made = denoiser_of(EXPORTED[name])
        export(made, tmp_path / f"{name}.keras")
        again = read_keras(tmp_path / f"{name}.keras").denoiser
        assert again.module == made.module
        jax.tree.map(np.testing.assert_array_equal, again.params, made.params)


@pytest.mark.slow
def test_keras_computes_the_same_from_an_export(tmp_path):
    python = os.environ.get("JAXDAE_KERAS_PYTHON", sys.executable)
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": ""}
    if subprocess.run([python, "-c", "import keras"], env=environment, capture_output=True, check=False).returncode:
        pytest.skip("Keras is not installed (JAXDAE_KERAS_PYTHON names a Python that has it)")
    for i, (name, model) in enumerate(EXPORTED.items()):
        made = denoiser_of(model, channels=1 + 2 * (i % 2))
        note = export(made, tmp_path / f"{name}.keras")
        assert (note is None) == (model.multiple == 1)
        noisy = random_images(2, 8, 16, made.about.channels)
        np.savez(tmp_path / f"{name}.npz", noisy=noisy, clean=made(noisy))
    code = """
import sys, keras, numpy as np
for name in sys.argv[1:]:
    model, file = keras.models.load_model(name + ".keras"), np.load(name + ".npz")
    clean = model.predict(file["noisy"], verbose=0)
    assert clean.shape == file["clean"].shape, name
    np.testing.assert_allclose(clean, file["clean"], rtol=0, atol=1e-5, err_msg=name)
"""
    command = [python, "-c", code, *EXPORTED]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (jaxdae.UNet(width=3, depth=1), "no layer for the downsampling 'unshuffled'"),
        (jaxdae.DnCNN(width=3, depth=2, level_input=True), "takes the noise level"),
        (jaxdae.DnCNN(width=3, depth=2, compute_dtype="bfloat16"), "computed in bfloat16"),
    ],
)
def test_what_keras_cannot_express_is_refused(tmp_path, model, sentence):
    with pytest.raises(InputError, match=sentence):
        list(export_denoiser(denoiser_of(model), ["keras"], tmp_path / "model.keras"))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_training_starts_from_given_parameters_even_if_it_is_killed_at_once(tmp_path):
    start = lively_params(MEMBER.model)
    trained = jaxdae.train(MEMBER, DATA, out=tmp_path / "run", initial=start, **LOOP | {"epochs": 1})
    assert trained.history[0]["epoch"] == 1
    for step in (tmp_path / "run" / "checkpoints").iterdir():
        if step.name not in ("0",):
            shutil.rmtree(step)
    loaded = jaxdae.load_run(tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, loaded.params[0], start)
    again = jaxdae.resume(tmp_path / "run", DATA)
    jax.tree.map(np.testing.assert_array_equal, again.params[0], trained.params[0])
    with pytest.raises(InputError, match="not those of this one member's network"):
        jaxdae.train(MEMBER, DATA, initial=lively_params(MEMBER.model, 3), **LOOP)


@pytest.mark.slow
def test_an_imported_network_is_trained_further(tmp_path, capsys):
    words = ["--dataset", "digits", "--epochs", "1", "--out", tmp_path / "more", "--no-progress"]
    status, out, err = run(capsys, "resume", FOLDER / "classic.keras", *words)
    assert status == 0, err
    assert "with a fresh optimizer" in out and "assumed" in out
    refused(capsys, "none of jaxdae's own networks", "resume", FOLDER / "nested.keras", *words)


def as_keras_2_13(name, path, separator):
    """An archive whose weights are named as Keras 2.12 to 2.15 does: each layer that has some is counted twice."""
    with zipfile.ZipFile(FOLDER / name) as old, zipfile.ZipFile(path, "w") as new:
        weights, moved = h5py.File(io.BytesIO(old.read("model.weights.h5"))), io.BytesIO()
        with h5py.File(moved, "w") as file:
            for key, group in weights["layers"].items():
                stem, number = (key, 0) if key == "conv2d" else key.rsplit("_", 1) if "conv2d" in key else ("", 0)
                for i, values in group["vars"].items() if stem else ():
                    counted = f"conv2d_{2 * int(number)}" if int(number) else "conv2d"
                    file[separator.join(["_layer_checkpoint_dependencies", counted, "vars", i])] = values[()]
        new.writestr("metadata.json", old.read("metadata.json"))
        new.writestr("config.json", old.read("config.json"))
        new.writestr("model.weights.h5", moved.getvalue())


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_archives_of_keras_2_are_read_those_of_windows_too(tmp_path, separator):
    as_keras_2_13("classic.keras", tmp_path / "old.keras", separator)
    again, expected = (read_keras(path).denoiser for path in (tmp_path / "old.keras", FOLDER / "classic.keras"))
    assert again.module == expected.module
    jax.tree.map(np.testing.assert_array_equal, again.params, expected.params)
