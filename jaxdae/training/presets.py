"""Named settings: the classic experiment, and its model trained in the least time to the classic's quality."""

from typing import NamedTuple

from jaxdae.noise import Noise
from jaxdae.training.member import Member
from jaxdae.training.optimizers import Muon


class Preset(NamedTuple):
    """A member, and the run that trains it."""

    member: Member
    dataset: str
    epochs: int
    batch_size: int


PRESETS = {
    "classic": Preset(Member(noise=Noise(redraw=False)), "mnist", epochs=100, batch_size=128),
    "fast": Preset(Member(optimizer=Muon(learning_rate=0.01, schedule="one_cycle")), "mnist", epochs=3, batch_size=64),
}
