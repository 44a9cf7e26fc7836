"""Options are generated from what the components declare; words on the command line become members."""

import itertools

import pytest
from tiny import DATA

import jaxdae
from jaxdae import components
from jaxdae.cli import options, train
from jaxdae.errors import InputError
from jaxdae.runs import Loop
from jaxdae.training import PRESETS, Member, check_member
from jaxdae.training.member import KINDS
from jaxdae.training.optimizers import SGD, Adam, Muon


def members(words, base=None):
    return options.members_of(train._parser().parse(words.split()), base or Member())


def refused(sentence, words):
    with pytest.raises(InputError, match=sentence) as error:
        members(words)
    assert "\n" not in str(error.value)


ACTIONS = {option: action for action in train._parser()._actions for option in action.option_strings}
FIELDS = [
    (slot, component, setting)
    for slot, kinds in KINDS.items()
    for component in (kinds or {"": jaxdae.Noise}).values()
    for setting in components.settings(component).values()
]


@pytest.mark.parametrize(("slot", "component", "setting"), FIELDS, ids=lambda value: getattr(value, "name", None))
def test_every_field_of_every_component_has_an_option(slot, component, setting):
    action = ACTIONS[f"--{setting.flag}"]
    assert action.dest == f"{slot}.{setting.name}"
    value = "0.5" if setting.type in (float, tuple) else {int: "1", bool: "false"}.get(setting.type)
    word = value or next(name for name in setting.choices if name != "bce")
    parsed = getattr(train._parser().parse([f"--{setting.flag}", word]), action.dest)
    assert len(parsed) == 1 and str(parsed[0]).lower() == word


def test_every_loop_setting_has_an_option():
    assert all(ACTIONS[f"--{setting.flag}"].dest == name for name, setting in components.settings(Loop).items())


def test_options_do_not_clash():
    by_option = [set(action.option_strings) for action in train._parser()._actions]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(by_option, 2))
    flags = {(slot, setting.name, setting.flag) for slot, _, setting in FIELDS}
    assert len({flag for *_, flag in flags}) == len(flags)


def test_noise_levels_can_be_typed_on_another_scale():
    found = members("--noise-levels 51 0:255 --noise-scale 255 --corruptions gaussian uniform")
    assert [m.noise.level for m in found] == 2 * [(0.2, 0.2), (0.0, 1.0)]
    assert members("--noise-scale 255") == members("")
    refused(
        "a level of masking .fraction of pixels. has no scale", "--noise-levels 5 --noise-scale 9 --corruption masking"
    )
    refused("noise scale 0 is not allowed: give the value of white", "--noise-level 25 --noise-scale 0")
    refused(r"noise level 25 is out of range: .* \(--noise-scale 255\)", "--noise-level 25")


def test_several_values_make_a_grid():
    found = members("--noise-levels 0.25 0.5 0:1 --seeds 0 1 --widths 2 4")
    assert [(m.model.width, m.noise.level, m.seed) for m in found] == [
        (width, level, seed) for width in (2, 4) for level in ((0.25, 0.25), (0.5, 0.5), (0.0, 1.0)) for seed in (0, 1)
    ]
    assert found == jaxdae.grid(Member(), {"noise.level": [0.25, 0.5, (0, 1)], "seed": [0, 1], "model.width": [2, 4]})


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("--noise-levels", "--noise-level 0.25"), ("--seeds", "--seed 3"), ("--widths", "--width 8"),
        ("--corruptions", "--corruption masking"), ("--learning-rates", "--learning-rate 0.5"),
        ("--losses", "--loss mse"), ("--optimizers", "--optimizer adam"), ("--rhos", "--rho 0.9"),
        ("--models", "--model autoencoder"), ("--objectives", "--objective supervised"),
    ],
)  # fmt: skip
def test_the_singular_is_an_alias(plural, singular):
    assert members(singular) == members(f"{plural} {singular.split()[1]}")


@pytest.mark.parametrize(
    ("words", "clip"),
    [("", [True]), ("--clip", [True]), ("--no-clip", [False]), ("--clip true false", [True, False])],
)
def test_switches(words, clip):
    assert [member.noise.clip for member in members(words)] == clip
    assert [member.noise.redraw for member in members(words.replace("clip", "redraw"))] == clip


def test_a_component_is_chosen_by_name_with_its_own_defaults():
    found = members("--optimizers adam sgd --losses mse bce")
    assert [(m.objective.loss, m.optimizer) for m in found] == [
        (loss, optimizer) for loss in ("mse", "bce") for optimizer in (Adam(), SGD())
    ]


def test_an_option_varies_the_components_that_have_it():
    found = members("--optimizers adam sgd --momentum 0.5 0.75")
    assert [m.optimizer for m in found] == [Adam(), SGD(momentum=0.5), SGD(momentum=0.75)]


def test_presets():
    classic, fast = PRESETS["classic"], PRESETS["fast"]
    assert classic == (check_member(Member(noise=jaxdae.Noise(redraw=False))), "mnist", 100, 128)
    assert members("", fast.member)[0].optimizer == Muon(learning_rate=0.01, schedule="one_cycle")
    given = members("--width 8 --optimizer muon --seeds 0 1", fast.member)
    assert [m.seed for m in given] == [0, 1]
    assert given[0].optimizer == fast.member.optimizer and given[0].model.width == 8
    assert members("--optimizer adam", fast.member)[0].optimizer == Adam()


def test_the_classic_preset_trains_the_classic_experiment(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(train.options, "load", lambda name, **_: calls.append(name) or DATA)
    monkeypatch.setattr(train.runs, "train", lambda *args, **kwargs: calls.append((args, kwargs)))
    monkeypatch.setattr(train, "report_run", lambda *_: 0)
    assert train.run(["--preset", "classic", "--out", str(tmp_path), "--no-progress"]) == 0
    assert train.run(["--preset", "classic", "--epochs", "2", "--dataset", "digits", "--redraw", "--keep", "1"]) == 0
    mnist, (((member,), _), classic), digits, (((redrawn,), _), changed) = calls
    assert (mnist, digits) == ("mnist", "digits")
    assert member == jaxdae.training.check_member(PRESETS["classic"].member) and member.noise.redraw is False
    wanted = {"out": tmp_path, "overwrite": False, "progress": False, "epochs": 100, "batch_size": 128}
    assert classic == wanted | {"log": (), "log_pictures": 1, "on_estimate": None}
    assert redrawn.noise.redraw is True
    assert (changed["epochs"], changed["batch_size"], changed["keep"]) == (2, 128, 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--noise-levls 3", r"unknown option --noise-levls; did you mean --noise-levels"),
        ("--seedz=3", "unknown option --seedz=3; did you mean --seed"),
        ("--zzz", "unknown option --zzz; see jaxdae train --help"),
        ("--noise-lev 0.5", "unknown option --noise-lev"),
        ("digits", "unexpected argument 'digits'"),
        ("--width x", "argument --widths/--width: 'x' is neither a size \\(32\\) nor one for each"),
        ("--seeds", "expected at least one argument"),
        ("--clip maybe", "'maybe' is neither true nor false"),
        ("--optimizers adam sgd --rho 0.9", "--rho belongs to the optimizer adadelta, not to adam; leave it out"),
        ("--optimizers lion", "optimizer 'lion' is not known; known: adadelta, adam, adamw, muon, sgd"),
        ("--corruptions gausian", r"corruption 'gausian' is not known; did you mean gaussian\?"),
        ("--noise-levels -1", "noise level -1 is out of range: gaussian takes 0 to 5"),
        ("--noise-levels x:y", "noise level 'x:y' is neither a number"),
        ("--seeds 0 4294967296", r"seed 4294967296 is not an integer .*\(in the cell seed 4294967296\)"),
        ("--seeds 1 1", "members 0 and 1 are the same"),
        ("--corruptions gaussian masking --noise-levels 0.5 1.5",
         r"masking takes 0 to 1.*\(in the cell noise.corruption 'masking', noise.level '1.5'\)"),
        ("--losses bce mse --predictions logits image",
         r"loss bce needs .*\(in the cell model.prediction 'image', objective.loss 'bce'\)"),
        ("--widths 100000000", "width 100000000 is not allowed: give an integer of at least 1 and below 65536"),
        ("--depths 1000000000000", "depth 1000000000000 is not allowed"),
    ],
)  # fmt: skip
def test_what_is_refused(words, sentence):
    refused(sentence, words)
