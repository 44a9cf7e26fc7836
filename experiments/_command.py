"""The command line of a training: what a page prints is made from what its script trains."""

from collections.abc import Sequence
from typing import Any

import _shell as shell

from jaxdae import components
from jaxdae.data import OwnPictures
from jaxdae.training import Member
from jaxdae.training.member import KINDS, check_member

WIDTH = 110
"""Characters of a line, after which it is continued on the next."""


def train_command(training: shell.Training, dataset: str, target: str, out: str) -> str:
    """The `jaxdae train` that trains one member on pairs of pictures, with every option that is not a default.

    Args:
        training: of one member, on pictures of one's own with targets.
        dataset: what stands for the noisy pictures.
        target: what stands for their targets.
        out: the run folder to print.
    """
    [member] = training.members
    words = ["jaxdae train", f"--dataset {dataset}", f"--target {target}", *_member_words(member)]
    words += [f"--epochs {training.epochs}", f"--batch-size {training.batch_size}"]
    assert isinstance(training.data, OwnPictures)
    words += _data_words(training.data)
    return _wrapped([*words, f"--out {out}"])


def _member_words(member: Member) -> list[str]:
    """The components and their fields; a schedule always, since `train` chooses one for small sets."""
    words = [f"--seed {member.seed}"] if member.seed else []
    plain: Any = {slot: type(getattr(member, slot))() for slot, kinds in KINDS.items() if kinds}
    defaults = check_member(Member(noise=member.noise, **plain))
    for slot, kinds in KINDS.items():
        if kinds is None:  # the noise of pairs is their own
            continue
        component = getattr(member, slot)
        words.append(f"--{slot}s {components.kind_of(component, kinds)}")
        for name, setting in components.settings(component).items():
            value = getattr(component, name)
            if name == "schedule" or value != getattr(getattr(defaults, slot), name):
                words.append(f"--{setting.flag} {_word(value)}")
    return words


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _data_words(data: OwnPictures) -> list[str]:
    words = [f"--coverage {data.settings['coverage']}"]
    return [*words, "--augment"] if data.settings["augment"] else words


def _wrapped(words: Sequence[str]) -> str:
    """The words in lines, each but the last with a backslash at its end."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return " \\\n".join(lines)
