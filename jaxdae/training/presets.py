"""Named settings: the classic experiment, its model trained in the least time to its quality, the best denoiser."""

from typing import NamedTuple

from jaxdae.models import UNet
from jaxdae.noise import Noise
from jaxdae.objectives import Supervised
from jaxdae.training.member import Member, check_member
from jaxdae.training.optimizers import Muon


class Preset(NamedTuple):
    """A member, and the run that trains it."""

    member: Member
    dataset: str
    epochs: int
    batch_size: int


PRESETS = {
    "classic": Preset(check_member(Member(noise=Noise(redraw=False))), "mnist", epochs=100, batch_size=128),
    "fast": Preset(
        check_member(Member(optimizer=Muon(learning_rate=0.01, schedule="one_cycle"))), "mnist", epochs=3, batch_size=64
    ),
    "unet": Preset(
        check_member(
            Member(
                model=UNet(depth=3),
                objective=Supervised("log_mse"),
                optimizer=Muon(learning_rate=0.003, schedule="one_cycle", ema_decay=0.999),
            )
        ),
        "mnist",
        epochs=5,
        batch_size=64,
    ),
}
