"""The run folder: a configuration that is read back as equal values, a log, and room for a new run."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import DATA, MEMBER

import jaxdae
from jaxdae import runs
from jaxdae.errors import InputError
from jaxdae.models import MODELS
from jaxdae.noise import CORRUPTIONS
from jaxdae.parallel import Population
from jaxdae.runs import Loop, folder
from jaxdae.runs.files import unsealed
from jaxdae.runs.folder import Config
from jaxdae.training import Member
from jaxdae.training.member import check_members
from jaxdae.training.optimizers import OPTIMIZERS

CONFIG = Config((MEMBER,), Loop(epochs=3), DATA.describe())

levels = st.floats(0, 1)
members = st.builds(
    Member,
    seed=st.integers(0, 2**32 - 1),
    noise=st.builds(
        jaxdae.Noise,
        corruption=st.sampled_from(list(CORRUPTIONS)),
        level=levels | st.tuples(levels, levels).map(lambda pair: (min(pair), max(pair))),
        clip=st.booleans(),
        redraw=st.booleans(),
    ),
    model=st.sampled_from(
        [jaxdae.ConvAutoencoder((8, 4), prediction="image"), *(kind(bias=False) for kind in MODELS.values())]
    ),
    objective=st.just(jaxdae.Supervised("mse")),
    optimizer=st.one_of(
        st.builds(kind, learning_rate=st.floats(1e-9, 1e9), ema_decay=st.none() | st.floats(0, 1, exclude_max=True))
        for kind in OPTIMIZERS.values()
    ),
)
loops = st.builds(Loop, epochs=st.integers(1, 10**30), holdout=st.integers(0, 99), keep=st.integers(1, 9))


def refused(sentence, function, *args, **kwargs):
    with pytest.raises(InputError, match=sentence) as error:
        function(*args, **kwargs)
    assert "\n" not in str(error.value)


def write(path, **changes):
    """A configuration with some of its fields replaced; those that are None are left out."""
    folder.write_config(path, CONFIG)
    fields = unsealed((path / folder.CONFIG).read_text()) | changes
    (path / folder.CONFIG).write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


@given(members=st.lists(members, min_size=1, max_size=3, unique=True), loop=loops)
def test_a_configuration_is_read_back_as_equal_values(tmp_path_factory, members, loop):
    config = dataclasses.replace(CONFIG, members=check_members(members), loop=loop)
    path = tmp_path_factory.mktemp("run")
    folder.write_config(path, config)
    read = folder.load_config(path)
    assert read == config
    assert [type(member.optimizer) for member in read.members] == [type(member.optimizer) for member in members]


def test_the_configuration_says_everything(tmp_path):
    folder.write_config(tmp_path, CONFIG)
    fields = json.loads((tmp_path / folder.CONFIG).read_text())
    assert list(fields) == ["schema", "prng", "source", "loop", "members", "sha256"]
    assert fields["prng"] == "threefry2x32"
    assert fields["source"] == {"dataset": None, "sha256": DATA.sha256, "image": [16, 16, 1]}
    assert fields["loop"] == dataclasses.asdict(CONFIG.loop)
    assert fields["members"] == [
        {
            "seed": 0,
            "noise": {"corruption": "gaussian", "level": [0.5, 0.5], "clip": True, "redraw": True},
            "model": {
                "kind": "autoencoder", "width": 4, "depth": 1, "prediction": "logits", "compute_dtype": "float32",
                "bias": True, "level_input": False,
            },
            "objective": {"kind": "supervised", "loss": "bce"},
            "optimizer": {
                "kind": "adadelta", "learning_rate": 1.0, "schedule": "constant", "ema_decay": None, "clip_norm": None,
                "rho": 0.95, "epsilon": 1e-7,
            },
        }
    ]  # fmt: skip


def test_a_configuration_that_changed_on_the_disk_is_refused_and_an_old_one_without_digest_is_read(tmp_path):
    folder.write_config(tmp_path, CONFIG)
    text = (tmp_path / folder.CONFIG).read_text()
    (tmp_path / folder.CONFIG).write_text(text.replace('"epochs": 3', '"epochs": 7'))
    refused("config.json cannot be read: it has changed since it was written", folder.load_config, tmp_path)
    write(tmp_path)
    assert folder.load_config(tmp_path) == CONFIG


LINES = [{"epoch": epoch, "member": member, "val_bce": 0.5} for epoch in (1, 2) for member in (0, 1)]


def test_half_a_last_line_of_the_log_is_left_out_and_said(tmp_path, caplog):
    folder.write_history(tmp_path, LINES)
    assert folder.read_history(tmp_path) == LINES and not caplog.records
    with (tmp_path / folder.METRICS).open("a") as log:
        log.write('{"epoch": 3, "mem')
    assert folder.read_history(tmp_path) == LINES
    assert "the last line of" in caplog.text and "was cut short" in caplog.text


@pytest.mark.parametrize("line", ['{"epoch": 3, "mem\n', "3\n", "{}\n", "\n"])
def test_another_line_that_is_none_is_refused(tmp_path, line):
    folder.write_history(tmp_path, LINES)
    (tmp_path / folder.METRICS).write_text(line + (tmp_path / folder.METRICS).read_text())
    refused("metrics.jsonl is damaged .*bring it back from a copy, or move it away", folder.read_history, tmp_path)


def test_a_log_that_is_not_as_the_checkpoint_knew_it_is_refused_or_if_gone_said(tmp_path, caplog):
    mark = folder.mark_of(LINES)
    more = {"epoch": 3, "member": 0, "val_bce": 0.4}
    for whole in (LINES, [*LINES, more]):
        folder.check_history(tmp_path, whole, mark)
    folder.check_history(tmp_path, LINES[:1], None)
    assert not caplog.records
    changed = [*LINES[:3], LINES[3] | {"val_bce": 0.25}]
    for damaged in (changed, LINES[:3], LINES[1:], [LINES[0], *LINES], [more]):
        refused("metrics.jsonl is damaged", folder.check_history, tmp_path, damaged, mark)
    folder.check_history(tmp_path, [], mark)
    assert "metrics.jsonl is gone" in caplog.text and "4 lines" in caplog.text


@pytest.mark.parametrize("changes", [{"schema": None}, {"schema": 1}, {"schema": 3}, {"prng": "rbg"}])
def test_another_schema_or_generator_is_refused(tmp_path, changes):
    write(tmp_path, **changes)
    refused("was made by another version of jaxdae .*use that version, or train it again", folder.load_config, tmp_path)


def test_a_run_of_the_first_schema_is_refused(tmp_path):
    (tmp_path / folder.CONFIG).write_text('{"dataset": "digits", "noise_levels": [0.5], "seeds": [0], "epochs": 3}')
    refused("was made by another version of jaxdae", folder.load_config, tmp_path)
    refused("was made by another version of jaxdae", runs.resume, tmp_path, DATA)


@pytest.mark.parametrize("content", ["", "{", "\0" * 20, "not JSON", "[1]", "3", "null"])
def test_a_damaged_configuration_is_named(tmp_path, content):
    (tmp_path / folder.CONFIG).write_text(content)
    refused(f"{tmp_path}.* (cannot be read|was made by another version)", folder.load_config, tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"members": []}, "there is no member to train"),
        ({"members": None}, "KeyError: 'members'"),
        ({"members": 3}, "TypeError"),
        ({"members": [{"seed": 0}]}, "KeyError: 'noise'"),
        ({"loop": {"epoch": 3}}, r"field of Loop 'epoch' is not known; did you mean epochs\?"),
        ({"loop": {"epochs": 0}}, "epochs 0 is not allowed: give an integer of at least 1"),
        ({"loop": {"epochs": 2.5}}, "epochs 2.5 is not allowed"),
        ({"loop": [1]}, "TypeError|AttributeError|InputError|field of Loop 1"),
        ({"source": None}, "KeyError: 'source'"),
    ],
)
def test_a_configuration_with_wrong_values_is_named(tmp_path, changes, sentence):
    write(tmp_path, **changes)
    refused(f"config.json cannot be read: .*({sentence})", folder.load_config, tmp_path)


def test_a_wrong_value_of_a_member_is_named(tmp_path):
    member = json.loads(json.dumps(jaxdae.training.member.to_dict(MEMBER)))
    for component, values, sentence in [
        ("model", {"kind": "autoencodr"}, r"kind 'autoencodr' is not known; did you mean autoencoder\?"),
        ("model", {"breadth": 3}, "field of ConvAutoencoder 'breadth' is not known"),
        ("optimizer", {"rho": 2}, "rho 2 is not allowed: give a number above 0 and below 1"),
        ("noise", {"level": [1, 0]}, "noise level 1:0 is out of range"),
    ]:
        write(tmp_path, members=[member | {component: member[component] | values}])
        refused(f"config.json cannot be read: {sentence}", folder.load_config, tmp_path)


@pytest.mark.parametrize(
    ("loop", "sentence"),
    [
        ({"epoch": 3}, r"field of Loop 'epoch' is not known; did you mean epochs\?"),
        ({"batchsize": 3}, r"'batchsize' is not known; did you mean batch_size\?"),
        ({"epochs": 0}, "epochs 0 is not allowed: give an integer of at least 1"),
        ({"epochs": True}, "epochs True is not allowed"),
        ({"batch_size": 2.5}, "batch size 2.5 is not allowed"),
        ({"holdout": -1}, "holdout -1 is not allowed: give an integer of at least 0"),
        ({"keep": 0}, "keep 0 is not allowed"),
        ({"evaluation_seed": 2**32}, "evaluation seed 4294967296 is not an integer from 0 to 4294967295"),
        ({"members_at_once": 2}, "members at once 2 does not divide a group of 3; take 1, 3"),
        ({"holdout": 50}, "holdout 50 leaves nothing of 50 training images"),
    ],
)
def test_wrong_loop_settings_are_refused(tmp_path, loop, sentence):
    three = jaxdae.grid(MEMBER, {"seed": [0, 1, 2]})
    refused(sentence, runs.train, three, DATA, out=tmp_path / "run", **loop)
    assert not (tmp_path / "run").exists()


def test_members_at_once_are_together_by_vmap():
    loop = folder.check_loop(Loop(members_at_once=3), jaxdae.grid(MEMBER, {"seed": [0, 1, 2]}))
    assert loop.ways == Population("vmap", 3)


def test_a_folder_without_a_run_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        refused(f"{path} is no run folder .*it has no config.json.*", folder.load_config, path)


def test_the_log_grows_and_is_replaced(tmp_path):
    lines = [{"epoch": epoch, "member": member} for epoch in (1, 2) for member in (0, 1)]
    assert folder.read_history(tmp_path) == []
    folder.append_history(tmp_path, lines[:2])
    folder.append_history(tmp_path, lines[2:])
    assert folder.read_history(tmp_path) == lines
    folder.write_history(tmp_path, lines[:2])
    assert folder.read_history(tmp_path) == lines[:2]


def test_room_is_made_in_run_folders_only(tmp_path):
    (tmp_path / "file").touch()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("dear")
    for path in (tmp_path / "file", mine):
        refused("exists and is not a run folder; choose another one with --out", folder.require_room, path, True)
    run = tmp_path / "run"
    folder.require_room(run, False)
    folder.make_room(run)
    for left in (folder.LOCK, ".123-config.json"):  # of a process that was killed as it began
        (run / left).touch()
    folder.require_room(run, False)
    folder.make_room(run)
    assert [path.name for path in run.iterdir()] == [folder.LOCK]
    (run / folder.LOCK).unlink()
    folder.write_config(run, CONFIG)
    refused("already holds a run; continue it with `jaxdae resume .*run` or", folder.require_room, run, False)
    (run / "notes.txt").write_text("dear")
    (run / folder.CHECKPOINTS / "3").mkdir(parents=True)
    folder.require_room(run, True)
    folder.make_room(run)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]
