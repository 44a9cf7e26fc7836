"""The worked examples of docs/extending.md: each is one piece of code and one line in a registry."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import DATA, LOOP

import jaxdae
from jaxdae import models, noise, objectives
from jaxdae.cli import options
from jaxdae.runs import writers
from jaxdae.runs.figures import write_figures

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs/extending.md").read_text(), re.DOTALL)
SETTINGS = dict(LOOP, epochs=1)


def defined(name, namespace):
    """The object that a block of the page defines, in the namespace of the module that it belongs to."""
    block = next(block for block in BLOCKS if f"def {name}(" in block or f"class {name}" in block)
    exec(compile(block, f"docs/extending.md: {name}", "exec"), namespace)
    return namespace[name]


def parsed(*words):
    parser = options.Parser("train", "")
    options.add_member_options(parser, parser)
    return options.members_of(parser.parse(words), jaxdae.Member())


@pytest.fixture
def stripes(monkeypatch):
    made = noise.Corruption(defined("stripes", dict(vars(noise))), "standard deviation of a row")
    monkeypatch.setitem(noise.CORRUPTIONS, "stripes", made)
    return made


def test_a_corruption(stripes):
    members = parsed("--corruptions", "gaussian", "stripes", "--widths", "4", "--depths", "1")
    assert [member.noise.corruption for member in members] == ["gaussian", "stripes"]
    clean = np.full((2, 8, 8, 1), 0.5, np.float32)
    noisy = np.asarray(jaxdae.noisy_examples(clean, jaxdae.Noise("stripes", 0.1, clip=False)))
    assert noisy.std(axis=2).max() == 0 < noisy.std(axis=1).min()
    np.testing.assert_array_equal(jaxdae.noisy_examples(clean, jaxdae.Noise("stripes", 0)), clean)


@pytest.mark.slow
def test_a_model_and_an_objective(monkeypatch, tmp_path):
    plain = defined("Plain", {"__name__": "jaxdae.models.plain"})
    charbonnier = defined("Charbonnier", {"__name__": "jaxdae.objectives.charbonnier"})
    monkeypatch.setitem(models.MODELS, "plain", plain)
    monkeypatch.setitem(objectives.OBJECTIVES, "charbonnier", charbonnier)
    members = parsed("--models", "autoencoder", "plain", "--objectives", "charbonnier", "--predictions", "residual",
                     "--widths", "2", "--depths", "1", "--learning-rates", "0.1")  # fmt: skip
    run = jaxdae.train(members[1:], DATA, out=tmp_path / "run", **SETTINGS)
    again = jaxdae.load_run(tmp_path / "run")
    assert again.members == run.members == members[1:]
    assert all(np.isfinite(line["val_charbonnier"]) for line in run.history)
    rows = jaxdae.evaluate(again.denoisers, DATA.test)
    assert [row["member"] for row in rows] == ["identity", 0]
    drawn = [path.name for path in write_figures(again, DATA)]
    assert drawn == ["loss.png", "noisy.png", "denoised.png", "features_last.png"]
    large = np.random.default_rng(0).random((1, 300, 20, 1), np.float32)  # in tiles, without seams
    denoiser = again.denoisers[0]
    np.testing.assert_allclose(denoiser(large), jax.jit(denoiser.apply)(large), atol=1e-5)


@pytest.mark.slow
def test_a_writer(monkeypatch, tmp_path):
    csv = defined("Csv", {"__name__": "jaxdae.runs.csv"})
    monkeypatch.setitem(writers.WRITERS, "csv", csv)
    member = jaxdae.Member(model=jaxdae.ConvAutoencoder(width=2, depth=1))
    jaxdae.train(member, DATA, out=tmp_path / "run", log=["csv"], **SETTINGS)
    table = tmp_path / "run" / "logs" / "csv" / "losses.csv"
    table.write_text(table.read_text() + "2,0,99.0\n")  # as a killed run leaves it
    run = jaxdae.resume(tmp_path / "run", DATA, epochs=2)
    expected = [f"{line['epoch']},0,{line['val_psnr']}" for line in run.history]
    assert table.read_text().splitlines() == expected and len(expected) == 2
