"""The scripts refuse unusable settings before training, pair their comparisons, resume, and redraw without training."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tiny import DATA, MEMBER

import jaxdae
from jaxdae import evaluation
from jaxdae.runs import folder

sys.path.append(str(Path(__file__).parent.parent / "experiments"))

import _baselines as classical
import _filters
import _shell as shell
import _tables as tables
import formulations

EXPERIMENTS = Path(shell.__file__).parent
pytestmark = pytest.mark.slow  # processes and whole trainings
SCRIPTS = (
    "benchmark", "classic", "corruptions", "documents", "exports", "fast_preset", "field_files", "fixed_or_fresh",
    "formulations", "keras_parity", "microscopy", "models", "models_speed", "noise_level_estimates", "noise_levels",
    "photographs", "scaling",
)  # fmt: skip


def refused_by(command, monkeypatch, capsys):
    """What a script says that is called with unusable settings: in this process, as it takes seconds to start one."""
    name, *arguments = command.split()
    script = importlib.import_module(name.removesuffix(".py"))
    monkeypatch.setattr(sys, "argv", [str(EXPERIMENTS / name), *arguments])
    with pytest.raises(SystemExit) as end:
        shell.run_script(script.Options, script.__doc__, script.experiment, script.publish)
    assert end.value.code == 2
    return capsys.readouterr()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "noise_levels.py --levels 0.3 1 --test-levels 0.5",
            "no training level (0.3, 1.0) is among the test levels (0.5,)",
        ),
        ("noise_levels.py --levels 0.5", "levels (0.5,) must be at least two, for a comparison"),
        ("noise_levels.py --generalist 0.5", "generalist 0.5 is not a range of levels; write low:high, as 0:1"),
        ("noise_levels.py --baselines medain", "baseline 'medain' is not known; did you mean median?"),
        ("corruptions.py --corruptions masking", "must be at least two different ones"),
        ("corruptions.py --corruptions masking speckel", "corruption 'speckel' is not known; did you mean speckle?"),
        (
            "corruptions.py --corruptions masking gaussian --damage 5",
            "damage 5 dB is out of range: masking noise takes",
        ),
        ("models.py --levels 0.3 1", "levels (0.3, 1.0) and test levels"),
        ("fixed_or_fresh.py --sizes 100 --passes 0", "passes 0 must be at least 1"),
        ("fixed_or_fresh.py --sizes 100 2000", "sizes (100, 2000) must lie from 1 to the 1500 images of --dataset"),
    ],
)
def test_unusable_settings_are_refused_in_one_sentence(tmp_path, monkeypatch, capsys, command, sentence):
    monkeypatch.chdir(tmp_path)
    out, err = refused_by(f"{command} --dataset digits", monkeypatch, capsys)
    assert out == ""
    assert err.startswith(command.split()[0] + ": ") and sentence in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_script_is_a_command_that_ends_with_status_2_and_a_sentence(tmp_path):
    command = [sys.executable, EXPERIMENTS / "noise_levels.py", "--dataset", "digits", "--redraw"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    sentence = "noise_levels.py: results/noise_levels holds no table.csv; run the experiment without --redraw"
    assert (run.returncode, run.stdout) == (2, "") and run.stderr.startswith(sentence) and run.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_every_script_has_the_shared_options_a_template_and_its_own_results_folder():
    folders = set()
    for name in SCRIPTS:
        options = importlib.import_module(name).Options()
        assert options.dataset == "mnist" and not options.redraw
        assert (EXPERIMENTS / "templates" / f"{name}.md.j2").exists()
        folders.add(options.out)
    assert folders == {Path("results") / name for name in SCRIPTS}


MEMBERS = jaxdae.grid(MEMBER, {"seed": [0, 1]})


def training(path, **changes):
    return shell.Training(MEMBERS, DATA, path, epochs=2, batch_size=16)._replace(**changes)


def test_a_run_is_resumed_to_more_epochs(tmp_path):
    [first] = shell.train_or_resume([training(tmp_path / "run", epochs=1)])
    [longer] = shell.train_or_resume([training(tmp_path / "run")])
    assert longer.history[:2] == first.history and longer.loop.epochs == 2
    with pytest.raises(jaxdae.InputError, match="was trained on other images"):
        shell.train_or_resume([training(tmp_path / "run", data=jaxdae.ImageData(DATA.train[1:], DATA.test))])


def write_config(path, members=MEMBERS):
    path.mkdir()
    source = DATA.describe()
    folder.write_config(path, folder.Config(members, folder.Loop(epochs=2, batch_size=16), source))


@pytest.mark.parametrize(
    ("field", "value"),
    [("members", jaxdae.grid(MEMBER, {"seed": [0, 2]})), ("batch_size", 8), ("holdout", 10), ("epochs", 1)],
)
def test_another_run_in_the_folder_is_refused_before_any_training(tmp_path, field, value):
    taken, free = tmp_path / "taken", tmp_path / "free"
    write_config(taken)
    shell.require_same_settings(training(taken))
    shell.require_same_settings(training(taken, epochs=3))
    with pytest.raises(jaxdae.InputError, match="was trained with other settings; remove it, or choose another"):
        shell.train_or_resume([training(free), training(taken, **{field: value})])
    assert not free.exists()


def test_a_run_over_a_schedule_cannot_be_made_longer(tmp_path):
    member = jaxdae.Member(model=MEMBER.model, optimizer=jaxdae.Adam(schedule="cosine"))
    members = jaxdae.grid(member, {"seed": [0]})
    write_config(tmp_path / "run", members)
    shell.require_same_settings(training(tmp_path / "run", members=members))
    with pytest.raises(jaxdae.InputError, match="other settings"):
        shell.require_same_settings(training(tmp_path / "run", members=members, epochs=3))


def measured(noise, level, count):
    """Scores of denoisers on 20 images, which depend on the corruption and the level."""
    drawn = np.random.default_rng([len(noise.corruption), round(100 * level)])
    return {metric: drawn.normal(20, 1, (count, 20)) for metric in ("psnr", "ssim")}


@pytest.fixture
def measure(monkeypatch):
    """Replaces `evaluation.measure` by known numbers, which only count the denoisers; there are no baselines."""

    def fake(denoisers, images, noise, levels, seed=0, noisy=None):
        by_level = [measured(noise, level, 1 + len(denoisers)) for level in levels]
        scores = {metric: np.stack([found[metric][1:] for found in by_level]) for metric in by_level[0]}
        return scores, {metric: np.stack([found[metric][0] for found in by_level]) for metric in by_level[0]}

    monkeypatch.setattr(evaluation, "measure", fake)
    monkeypatch.setattr(classical, "baseline_scores", lambda names, data, tests: [{} for _ in tests])


def test_every_denoiser_is_tested_on_every_corruption_and_paired_with_its_own(measure):
    import corruptions

    noises = [jaxdae.Noise("gaussian", 0.25), jaxdae.Noise("masking", 0.5)]
    members = jaxdae.grid(MEMBER, {"noise": noises, "seed": [3, 4]})
    trained = shell.member_indices(members, lambda member: member.noise.corruption)
    assert trained == {"gaussian": [0, 1], "masking": [2, 3]}
    options = corruptions.Options(corruptions=("gaussian", "masking"), seeds=(3, 4), baselines=())
    rows = corruptions.rows_of_tests(options, noises, trained, [None] * 4, DATA)
    table = tables.make_table("corruptions", rows)
    identity, *psnr = measured(noises[1], 0.5, 5)["psnr"]
    other, own = psnr[:2], psnr[2:]
    difference = np.subtract(other, own)
    wanted = {"test_corruption": "masking", "metric": "psnr"}
    [row] = tables.pick(table, model="gaussian", seed=4, **wanted).to_dict("records")
    assert row["mean"] == pytest.approx(other[1].mean(), rel=1e-5) and row["test_level"] == 0.5
    [row] = tables.pick(table, kind="difference", **wanted).to_dict("records")
    assert row["model"] == "gaussian - masking" and row["seeds"] == 2
    assert row["mean"] == pytest.approx(difference.mean(), rel=1e-4)
    assert row["se_images"] == pytest.approx(difference.mean(0).std(ddof=1) / 20**0.5, rel=1e-4)
    [row] = tables.pick(table, kind="identity", **wanted).to_dict("records")
    assert row["mean"] == pytest.approx(identity.mean(), rel=1e-5)


def test_a_generalist_is_compared_with_the_specialist_of_the_test_level(measure):
    import noise_levels

    members = jaxdae.grid(MEMBER, {"noise.level": [0.25, 0.5, "0:1"], "seed": [0, 1]})
    trained = shell.member_indices(members, lambda member: noise_levels.format_level(member.noise.level))
    options = noise_levels.Options(levels=(0.25, 0.5), test_levels=(0.5, 1.2), seeds=(0, 1), baselines=())
    table = tables.make_table("noise_levels", noise_levels.rows_of_tests(options, trained, [None] * 6, DATA))
    [row] = tables.pick(table, kind="difference", metric="psnr").to_dict("records")
    psnr = measured(jaxdae.Noise(), 0.5, 7)["psnr"][1:]
    assert (row["model"], row["test_level"]) == ("0:1 - 0.5", 0.5)
    assert row["mean"] == pytest.approx((psnr[4:] - psnr[2:4]).mean(), rel=1e-4)
    [row] = tables.pick(table, model="0.25", test_level=1.2, seed=None, metric="psnr").to_dict("records")
    assert row["mean"] == pytest.approx(measured(jaxdae.Noise(), 1.2, 7)["psnr"][1:3].mean(), rel=1e-5)
    assert set(tables.pick(table, kind="generalist")["model"]) == {"0:1"}


def test_networks_are_paired_with_the_specialist_of_the_level_and_measured_with_their_own_clipping(measure):
    import models

    options = models.Options(levels=(0.25, 0.5), test_levels=(0.25, 0.5), seeds=(3, 4), slow_seeds=2, baselines=())
    some = [e for e in models.entries(options) if e.family == "unet" or e.variant not in models.VARIANTS]
    members, places = models.members_of(some), models.positions(some)
    assert [members[i].seed for i in places[0]] == [3, 4] and len(members) == 2 * len(some)
    denoisers = [SimpleNamespace(about=SimpleNamespace(noise=member.noise)) for member in members]
    table = tables.make_table("models", models.rows_of_tests(options, some, places, denoisers, DATA))
    clipped = [i for i, member in enumerate(members) if member.noise.clip]
    psnr = measured(jaxdae.Noise(), 0.25, 1 + len(clipped))["psnr"][1:]
    position = {named.keys["variant"] + named.trained_at: place for named, place in zip(some, places, strict=True)}
    own, blind = (
        psnr[[clipped.index(i) for i in position[key]]] for key in ("with biases0.25", "bias-free, level input0:1")
    )
    wanted = {"variant": "bias-free, level input", "test_level": 0.25, "metric": "psnr"}
    [row] = tables.pick(table, kind="difference", **wanted).to_dict("records")
    assert row["mean"] == pytest.approx((blind - own).mean(), rel=1e-4) and row["seeds"] == 2
    [row] = tables.pick(table, kind="denoiser", seed=4, trained_at="0:1", **wanted).to_dict("records")
    assert row["mean"] == pytest.approx(blind[1].mean(), rel=1e-5)
    unclipped = tables.pick(table, variant="noise2noise, unclipped", test_level=0.5, metric="psnr")
    assert set(unclipped["kind"]) == {"denoiser", "difference"}
    assert {member.noise.clip for i, member in enumerate(members) if i in position["noise2noise, unclipped0.5"]} == {
        False
    }


def test_fixed_and_fresh_noise_are_told_apart(measure):
    import fixed_or_fresh

    members = jaxdae.grid(MEMBER, {"noise.redraw": [False, True], "seed": [0, 1]})
    losses = {(epoch, member): epoch + member / 10 for epoch in (1, 2, 3) for member in range(4)}
    history = [{"epoch": epoch, "member": member, "train_bce": loss, "val_bce": 10 * loss}
               for (epoch, member), loss in losses.items()]  # fmt: skip
    run = SimpleNamespace(members=members, history=history, loop=folder.Loop(epochs=3), denoisers=[None] * 4)
    options = fixed_or_fresh.Options(seeds=(0, 1), sizes=(50,), curve_images=1000)
    rows = fixed_or_fresh.curve_rows(options, run, 50, len(DATA.test), points=2)
    rows += fixed_or_fresh.final_rows(options, run, 50, DATA)
    table = tables.make_table("fixed_or_fresh", rows)
    curve = tables.pick(table, kind="curve", model="fresh", images_of="test", seed=1)
    assert list(curve["epoch"]) == [1, 3] and list(curve["mean"]) == [13.0, 33.0]
    assert set(curve["images"]) == {len(DATA.test)}
    psnr = measured(jaxdae.Noise(), 0.5, 5)["psnr"][1:]
    [row] = tables.pick(table, kind="difference", metric="psnr").to_dict("records")
    assert row["model"] == "fixed - fresh" and row["epoch"] == 3
    assert row["mean"] == pytest.approx((psnr[:2] - psnr[2:]).mean(), rel=1e-4)


def test_matched_levels_do_the_same_damage():
    import corruptions

    for name in ("gaussian", "masking"):
        noise = corruptions.matched_noise(name, DATA.train, 14.0)
        assert corruptions.noisy_psnr(DATA.train, noise) == pytest.approx(14.0, abs=0.05)


def test_a_baseline_is_tuned_on_training_noise_and_measured_on_the_noise_of_the_evaluation(monkeypatch):
    noise = jaxdae.Noise(level=0.5)
    train_noisy = np.asarray(classical.training_noise(noise, DATA.test))
    test_noisy = np.asarray(jaxdae.noisy_examples(DATA.test, noise))
    clean = DATA.test.astype(np.float32) / 255
    assert abs(np.corrcoef((train_noisy - clean).ravel(), (test_noisy - clean).ravel())[0, 1]) < 0.25
    [found] = classical.baseline_scores(("gaussian",), DATA, [noise])
    fitted_on = np.asarray(classical.training_noise(noise, DATA.train))
    raw, _ = _filters.fit("gaussian", DATA.train / 255, fitted_on)
    expected = jaxdae.metrics.score(_filters.apply(raw, test_noisy), clean)["psnr"]
    assert list(found) == ["gaussian", "gaussian, calibrated"]
    np.testing.assert_allclose(found["gaussian"]["psnr"][0], expected, rtol=1e-4)


def test_redrawing_needs_no_training_and_gives_the_same_files(tmp_path, monkeypatch, capsys):
    import noise_levels
    from test_comparisons import TABLE

    out = tmp_path / "results"
    tables.write_table(out, TABLE)
    digits = [np.zeros((2, 8, 8, 1))] * 2
    images = dict.fromkeys(("noisy", "specialist", "generalist"), digits)
    shell.save_strip(out, images, clean=np.zeros((2, 8, 8), np.uint8), levels=np.array([0.25, 0.5]))
    made = dict.fromkeys(("command", "duration", "seeds", "versions", "hardware"), "known")
    about = {"made": made, "dataset": "digits", "seeds": [3, 4], "generalist": "0:1", "holdout": 10, "reference": None}
    (out / "about.json").write_text(json.dumps(about))
    options = noise_levels.Options(out=out, redraw=True)
    names = ("README.md", "matrix.png", "curves.png", "strip.png")
    monkeypatch.chdir(tmp_path)
    noise_levels.publish(options)
    first = [(out / name).read_bytes() for name in names]
    for name in names:
        (out / name).unlink()
    noise_levels.publish(options)
    assert [(out / name).read_bytes() for name in names] == first
    assert "| 0:1 - 0.25 |" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results"]


@pytest.mark.parametrize("layer", [layer for layer in formulations.LAYERS if layer.side < 15], ids=str)
def test_formulations_that_are_compared_compute_the_same(layer):
    operands = formulations.operands(layer, 2)
    for operation, choices in formulations.formulations(layer).items():
        first, *others = (np.float64(jax.jit(f)(*operands[operation])) for f in choices.values())
        for other in others:
            assert np.linalg.norm(other - first) < 3e-6 * np.linalg.norm(first), operation


def test_noise_levels_takes_pictures_of_ones_own_in_colour(tmp_path, monkeypatch):
    import noise_levels

    np.save(tmp_path / "colour.npy", np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3), np.uint8))
    monkeypatch.setattr(sys, "argv", [str(EXPERIMENTS / "noise_levels.py")])
    fast = jaxdae.PRESETS["fast"]
    small = fast._replace(member=fast.member.replace(model=MEMBER.model, optimizer=MEMBER.optimizer))
    monkeypatch.setitem(jaxdae.PRESETS, "fast", small)
    options = noise_levels.Options(
        dataset=str(tmp_path / "colour.npy"), levels=(0.2, 0.5), seeds=(0,), epochs=1, test_levels=(0.2, 0.5),
        baselines=("identity", "linear_mmse"), run=tmp_path / "run", out=tmp_path / "out", held_out=0.3,
    )  # fmt: skip
    noise_levels.experiment(options)
    noise_levels.publish(options)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "fixed crops of the pictures that were held out" in text and "digits" not in text
    table = tables.read_table(tmp_path / "out", "noise_levels")
    run, data = jaxdae.load_run(tmp_path / "run"), options.load_any()
    assert set(table["images"]) == {3} and "linear_mmse" not in set(table["model"])
    expected = jaxdae.evaluate(run.select([0]), data.test, [0.2])[1]["psnr"]
    found = tables.pick(table, model="0.2", metric="psnr", seed=None, test_level=0.2)["mean"].item()
    assert found == pytest.approx(expected, abs=1e-3), "of the last epoch"
    assert shell.load_strip(tmp_path / "out")["noisy"].shape == (2, 2, 16, 16, 3)


def test_options_of_own_pictures_are_refused_for_a_named_dataset():
    import noise_levels

    with pytest.raises(jaxdae.InputError, match="--range is for pictures of your own, not for digits; leave it out"):
        noise_levels.Options(dataset="digits", range=(0, 9)).load_any()
