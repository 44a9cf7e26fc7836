"""Exports compute what the denoiser computes, in processes that cannot import jaxdae; all are written or none."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from command import refused, run
from tiny import lively_params, random_images

import jaxdae
from jaxdae.exchange import exports, onnx_graph, saved
from jaxdae.exchange.exports import FORMATS, export_denoiser
from jaxdae.models import MODELS, graph
from jaxdae.models.denoiser import About, Denoiser

DOCS = Path(__file__).parents[2] / "docs" / "exports.md"
OUTSIDE = "import sys, os; sys.modules['jaxdae'] = None\n"
"""An import of jaxdae fails after this."""


def denoiser_of(model, channels=1, **about):
    return Denoiser(model, lively_params(model, channels), About(jaxdae.Noise(level=(0.0, 1.0)), channels, **about))


DENOISERS = {
    "autoencoder": denoiser_of(jaxdae.ConvAutoencoder(width=4)),
    "autoencoder_residual": denoiser_of(
        jaxdae.ConvAutoencoder(width=(4, 6, 5), depth=3, prediction="residual", level_input=True), channels=3
    ),
    "unet": denoiser_of(jaxdae.UNet(width=4), channels=3),
    "unet_strided": denoiser_of(
        jaxdae.UNet(width=4, depth=1, repeat=2, down="strided", prediction="logits", level_input=True, bias=False)
    ),
    "dncnn": denoiser_of(jaxdae.DnCNN(width=4, depth=3, level_input=True), channels=3),
    "dncnn_image": denoiser_of(jaxdae.DnCNN(width=4, depth=2, prediction="image")),
}
SHAPES = ((2, 13, 18), (1, 8, 16), (3, 1, 1))


def inputs(denoiser, shape):
    levels = np.linspace(0.1, 0.9, shape[0], dtype=np.float32)
    return (random_images(*shape, denoiser.about.channels), *((levels,) if denoiser.takes_level else ()))


def outside(folder, code):
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE + code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def compare(folder, names, code):
    """Runs code that has a function f(name, *inputs) outside jaxdae, for all networks and sizes at once."""
    for name in names:
        for i, shape in enumerate(SHAPES):
            np.savez(folder / f"{name}-{i}.npz", *inputs(DENOISERS[name], shape))
    loop = f"""
import numpy as np
for name in {list(names)}:
    for i in range({len(SHAPES)}):
        given = np.load(f"{{name}}-{{i}}.npz")
        np.save(f"{{name}}-{{i}}.out.npy", f(name, *given.values()))
"""
    outside(folder, code + loop)
    for name in names:
        for i, shape in enumerate(SHAPES):
            expected, found = DENOISERS[name](*inputs(DENOISERS[name], shape)), np.load(folder / f"{name}-{i}.out.npy")
            assert found.dtype == np.float32 and found.shape == expected.shape and expected.std() > 1e-3
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=f"{name} {shape}")


def test_every_family_is_compared():
    assert {type(denoiser.module) for denoiser in DENOISERS.values()} == set(MODELS.values())


@pytest.mark.slow
def test_onnx_runtime_computes_the_same(tmp_path):
    for name, denoiser in DENOISERS.items():
        assert FORMATS["onnx"].write(denoiser, tmp_path / f"{name}.onnx") is None
    code = """
import onnxruntime
def f(name, *given):
    session = onnxruntime.InferenceSession(name + ".onnx", providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(("noisy", "level"), given)))[0]
"""
    compare(tmp_path, DENOISERS, code)


GOLDEN = Path(__file__).parents[1] / "golden"
WEIGHTED = {"size": (1, 1), "stride": (1, 1), "padding": "same", "features": 1, "bias": False}


@pytest.mark.slow
def test_onnx_runtime_computes_of_imported_networks_what_keras_computes(tmp_path):
    names = [path.name for path in sorted((GOLDEN / "keras").iterdir()) if "weights" not in path.name]
    for name in names:
        FORMATS["onnx"].write(jaxdae.load_denoiser(GOLDEN / "keras" / name), tmp_path / f"{name}.onnx")
    outside(
        tmp_path,
        f"""
import numpy as np, onnxruntime
stored = np.load({str(GOLDEN / "keras_files.npz")!r})
for name in {names}:
    session = onnxruntime.InferenceSession(name + ".onnx", providers=["CPUExecutionProvider"])
    noisy, clean = (stored[name + part] if stored[name + part].ndim == 4 else stored[name + part].reshape(-1, 8, 8, 1)
                    for part in (":input", ":output"))
    [found] = session.run(None, {{"noisy": noisy}})
    np.testing.assert_allclose(found, clean, rtol=0, atol=1e-5, err_msg=name)
""",
    )


def test_onnx_runtime_computes_every_activation_and_merge_of_imported_networks():
    import onnxruntime

    assert set(onnx_graph.KINDS) == set(graph.KINDS)
    numbers = {"relu": (1.5, 0.1, 0.3), "leaky_relu": (0.3,), "elu": (0.7,)}
    activated = [
        graph.Node(f"{name}{len(own)}", "activation", ("input",), (("activation", (name, *own)),))
        for name in graph.ACTIVATIONS
        for own in {(), numbers.get(name, ())}
    ]
    made = tuple(node.name for node in activated)
    merged = [graph.Node(kind, kind, made[3:6]) for kind in ("multiply", "maximum", "average", "add")]
    together = (*made, "subtract", *(node.name for node in merged))
    layers = (
        *activated, *merged, graph.Node("subtract", "subtract", made[1:3]), graph.Node("all", "concatenate", together),
        graph.Node("last", "conv", ("all",), tuple(WEIGHTED.items()), "last"),
    )  # fmt: skip
    kernel = np.linspace(-1, 1, len(together), dtype=np.float32).reshape(1, 1, -1, 1)
    model = graph.Graph(layers=layers)
    denoiser = Denoiser(model, {"last": {"kernel": kernel}}, About(jaxdae.Noise(clip=False), 1))
    noisy = 6 * random_images(2, 4, 5, 1) - 3
    with tempfile.TemporaryDirectory() as folder:
        FORMATS["onnx"].write(denoiser, Path(folder) / "m.onnx")
        session = onnxruntime.InferenceSession(Path(folder) / "m.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"noisy": noisy})[0], denoiser.apply(noisy), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_stablehlo_computes_the_same_with_jax_alone(tmp_path):
    for name, denoiser in DENOISERS.items():
        FORMATS["stablehlo"].write(denoiser, tmp_path / f"{name}.stablehlo")
    code = """
from jax import export
def f(name, *given):
    exported = export.deserialize(bytearray(open(name + ".stablehlo", "rb").read()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    return exported.call(*given)
"""
    compare(tmp_path, DENOISERS, code)


@pytest.mark.slow
def test_safetensors_hold_what_the_architecture_needs(tmp_path):
    saved.save_denoiser(DENOISERS["autoencoder"], tmp_path / "saved")
    code = """
import json
import jax, jax.numpy as jnp
from safetensors.numpy import load_file
params, about = load_file("saved/model.safetensors"), json.load(open("saved/denoiser.json"))
def conv(x, name):
    kernel, bias, order = params[name + "/kernel"], params[name + "/bias"], ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=order) + bias
def upsample(x):
    return x.repeat(2, 1).repeat(2, 2)
def f(name, x):
    depth, (height, width) = about["model"]["depth"], x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (0, -height % 2**depth), (0, -width % 2**depth), (0, 0)), mode="reflect")
    for i in range(depth):
        x = jax.nn.relu(conv(x, f"encoder_{i}"))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    for i in range(depth):
        x = jax.nn.relu(conv(upsample(x) if i else x, f"decoder_{i}"))
    assert about["model"]["prediction"] == "logits"
    return jax.nn.sigmoid(conv(upsample(x), "output"))[:, :height, :width]
"""
    compare(tmp_path, ["autoencoder"], code)


@pytest.mark.slow
def test_the_examples_of_the_documentation_run_as_they_stand(tmp_path):
    denoiser = DENOISERS["autoencoder"]
    list(export_denoiser(denoiser, ["onnx", "stablehlo"], tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    chosen = [block for block in blocks if "InferenceSession" in block or "deserialize" in block]
    assert len(chosen) == 2
    for block in chosen:
        assert block.count("\n") <= 10
        outside(tmp_path, block + "\nnp.savez('result.npz', noisy, denoised)")
        with np.load(tmp_path / "result.npz") as result:
            np.testing.assert_allclose(result["arr_1"], denoiser(result["arr_0"]), rtol=0, atol=1e-5)


def test_onnx_states_free_sizes_or_the_only_one(tmp_path):
    onnx = pytest.importorskip("onnx")

    def shape(denoiser):
        FORMATS["onnx"].write(denoiser, tmp_path / "model.onnx")
        model = onnx.load(tmp_path / "model.onnx")
        dims = model.graph.output[0].type.tensor_type.shape.dim
        return [dim.dim_param or dim.dim_value for dim in dims], {p.key: p.value for p in model.metadata_props}

    free, about = shape(denoiser_of(jaxdae.DnCNN(width=2, depth=2), value_range=(0.0, 65535.0)))
    assert free == ["batch", "height", "width", 1] and json.loads(about["value_range"]) == [0, 65535]
    assert shape(denoiser_of(jaxdae.DnCNN(width=2, depth=2), size=(12, 16)))[0] == ["batch", 12, 16, 1]


def test_onnx_says_what_it_computes_otherwise_and_which_networks_it_has(tmp_path):
    pytest.importorskip("onnx")
    half = denoiser_of(jaxdae.DnCNN(width=2, depth=2, compute_dtype="bfloat16"))
    said = list(export_denoiser(half, ["onnx"], tmp_path / "half.onnx"))
    assert said == ["the ONNX file computes in float32, jaxdae in bfloat16: they differ by rounding"]

    class Other(jaxdae.DnCNN):
        pass

    unknown = denoiser_of(jaxdae.DnCNN(width=2, depth=2))
    object.__setattr__(unknown, "module", Other(width=2, depth=2))
    with pytest.raises(jaxdae.InputError, match="no ONNX writer for Other"):
        list(export_denoiser(unknown, ["safetensors", "onnx"], tmp_path / "other"))
    assert [path.name for path in tmp_path.iterdir()] == ["half.onnx"]


@pytest.fixture
def digits_folder(tmp_path):
    return saved.save_denoiser(DENOISERS["dncnn_image"], tmp_path / "saved", card=saved.Card(limits="none known"))


def test_several_formats_make_a_folder_and_one_may_make_a_file(capsys, tmp_path, monkeypatch, digits_folder):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "a" / "exported"
    status, said, _ = run(capsys, "export", digits_folder, "--to", "safetensors", "onnx", "--out", out)
    assert status == 0 and f"{out / 'model.onnx'}  " in said
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "denoiser.json",
        "model.onnx",
        "model.safetensors",
    ]
    assert (out / "README.md").read_text() == (digits_folder / "README.md").read_text()
    assert run(capsys, "export", digits_folder, "--to", "onnx", "--out", "mine.onnx")[0] == 0
    assert (tmp_path / "mine.onnx").read_bytes() == (out / "model.onnx").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "mine.onnx", "saved"}


def test_what_exists_is_kept_unless_it_is_to_be_replaced(capsys, tmp_path, digits_folder):
    pytest.importorskip("onnx")
    words = ("export", digits_folder, "--to", "onnx", "safetensors", "--out", tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    (tmp_path / "out" / "other").write_text("mine")
    refused(capsys, "README.md exists; choose another --out, or replace it with --overwrite", *words)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"README.md", "other"}
    assert run(capsys, *words, "--overwrite")[0] == 0
    assert (tmp_path / "out" / "other").read_text() == "mine"
    assert (tmp_path / "out" / "README.md").read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--to", "onx", "--out", "out"), "format 'onx' is not known; did you mean onnx?"),
        (("--to", "onnx", "stablehlo", "--out", "model.onnx"), "model.onnx is a file's name of the format onnx; for"),
        (("--to", "stablehlo", "--out", "model.onnx"), "for stablehlo give a folder"),
        (("--to", "safetensors", "--out", "a.safetensors"), "safetensors makes several files (model.safetensors, "),
        (("--to", "onnx", "--out", "taken.txt"), "taken.txt is a file and none of the format's"),
        (("--to", "onnx", "--out", "out", "--member", "1"), "--member and --weights choose a denoiser of a run"),
    ],
)
def test_unusable_requests_get_one_sentence(capsys, tmp_path, monkeypatch, digits_folder, words, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(exports.importlib.util, "find_spec", lambda name: True)
    Path("taken.txt").touch()
    refused(capsys, sentence, "export", digits_folder, *words)
    assert {path.name for path in tmp_path.iterdir()} == {"saved", "taken.txt"}


def test_a_missing_package_is_named_before_anything_is_written(capsys, tmp_path, monkeypatch, digits_folder):
    find = importlib.util.find_spec
    monkeypatch.setattr(exports.importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    words = ("export", digits_folder, "--to", "safetensors", "onnx", "--out", tmp_path / "out")
    refused(capsys, "onnx needs the package onnx, which is not installed: pip install 'jaxdae[onnx]'", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_a_format_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(denoiser, path):
        path.write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setitem(FORMATS, "broken", exports.Format(fail, "model.broken"))
    with pytest.raises(OSError, match="full"):
        list(export_denoiser(DENOISERS["dncnn"], ["safetensors", "broken"], tmp_path / "out"))
    assert not list(tmp_path.iterdir())
