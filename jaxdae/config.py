"""What a run is: one frozen dataclass, checked when it is made, that goes to JSON and back.

This module imports no JAX, so that the command line answers quickly. The names that it allows are literals; a test
holds them against the registries of the modules that give them meaning.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

CorruptionName = Literal["gaussian", "uniform", "speckle", "salt_and_pepper", "masking", "poisson"]
Draw = Literal["fresh", "fixed"]
Preset = Literal["seed", "fast"]
OptimizerName = Literal["adadelta", "adam", "muon", "sgd"]
Schedule = Literal["constant", "cosine", "one_cycle"]
Dtype = Literal["float32", "bfloat16"]
Head = Literal["logits", "linear", "residual"]
Loss = Literal["bce", "mse"]
Level = float | str
"""A noise level: a number, or `"low:high"` for a level drawn uniformly for every example."""

HIGHEST_LEVEL: dict[str, float] = {"salt_and_pepper": 1.0, "masking": 1.0}
"""The corruptions whose level is a fraction; the others take any finite level from 0."""

LEARNING_RATE: dict[str, float] = {"adadelta": 1.0, "adam": 1e-3, "muon": 1e-3, "sgd": 0.1}


class InputError(ValueError):
    """Something that the caller gave cannot be used. The message is one sentence with the value and the way out."""


class Member(NamedTuple):
    """One model of a population."""

    noise_level: Level
    seed: int


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that ends an error message: the known names most like `name`, or all of them."""
    known = list(known)
    close = difflib.get_close_matches(name, known, cutoff=0.65)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def require_name(what: str, name: str, known: Iterable[str]) -> None:
    """Raises InputError unless `name` is one of `known`."""
    known = list(known)
    if name not in known:
        raise InputError(f"{what} {name!r} is not known; {nearest(name, known)}")


def level_range(level: Level) -> tuple[float, float]:
    """The lowest and the highest level that a model is trained at; the same number twice for a specialist."""
    if isinstance(level, str) and ":" in level:
        low, high = level.split(":", 1)
        return float(low), float(high)
    return float(level), float(level)


def check_level(level: Level, corruption: str) -> Level:
    """Returns the level in its canonical form (0.5 or "0:1").

    Raises:
        InputError: the level is not a number or a range, or lies outside what the corruption allows.
    """
    highest = HIGHEST_LEVEL.get(corruption, math.inf)
    allowed = "from 0 to 1" if highest == 1.0 else "0 or more"
    try:
        low, high = level_range(level)
    except (TypeError, ValueError):
        raise InputError(f"noise level {level!r} is neither a number (0.5) nor a range (0:1)") from None
    if not (0 <= low <= high <= highest and math.isfinite(high)):
        raise InputError(f"noise level {level} is out of range: {corruption} takes {allowed}, a range low:high rising")
    return low if low == high else f"{low:g}:{high:g}"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that a training run depends on."""

    dataset: str = "digits"
    """mnist, fashion_mnist, kmnist, or digits (scikit-learn's handwritten digits: no download)."""
    corruption: CorruptionName = "gaussian"
    """What makes a clean image noisy."""
    noise_levels: tuple[Level, ...] = (0.5,)
    """Train a model at each level; low:high is a generalist, its level drawn for every example."""
    seeds: tuple[int, ...] = (0,)
    """Train a model with each seed, at every level: initial weights, order of the examples and noise."""
    draw: Draw = "fresh"
    """Draw the noise of an example again each epoch, or once for all (fixed)."""
    clip: bool = True
    """Clip noisy images to [0, 1]."""
    width: int = 32
    """Channels of the hidden convolutions."""
    depth: int = 2
    """Number of times that the encoder halves the image."""
    head: Head = "logits"
    """What the network puts out: the image's logits, the image itself (linear), or what it adds to the noisy one."""
    loss: Loss = "bce"
    """What training lessens and picks the best epoch by: binary cross-entropy, for logits only, or squared error."""
    epochs: int = 10
    """Passes over the training images."""
    batch_size: int = 128
    """Images per optimizer step."""
    optimizer: OptimizerName = "adadelta"
    """The optimizer."""
    learning_rate: float | None = None
    """The highest of the schedule. By default 1.0 for adadelta, 0.001 for adam and muon, 0.1 for sgd."""
    schedule: Schedule = "constant"
    """The learning rate over the epochs of the run. But for constant, the number of epochs is then fixed."""
    average: float = 0.0
    """Decay, for each step, of an exponential average of the weights that takes their place; 0 for none."""
    compute_dtype: Dtype = "float32"
    """What the network computes in; parameters and loss are float32 always."""
    adadelta_rho: float = 0.95
    """Adadelta's decay of its running averages."""
    adadelta_eps: float = 1e-7
    """Adadelta's epsilon."""
    holdout: int = 0
    """Validate on the last N training images, left out of training; with 0, on the test images."""
    evaluation_seed: int = 0
    """Seed of the noise of validation and evaluation, the same for every model."""
    chunk_steps: int = 32
    """Steps between two looks at the clock, the keyboard and the loss (at most)."""
    models_at_once: int = 0
    """Models that step together, a divisor of their number. By default one on a CPU, all on an accelerator."""
    keep: int = 2
    """Checkpoints kept: the newest N."""

    def __post_init__(self) -> None:
        """Checks every field and brings levels and the learning rate into their canonical form."""
        for field, choices in _LITERALS.items():
            require_name(field.replace("_", " "), getattr(self, field), choices)
        for field, lowest in _LOWEST.items():
            _require_integer(field, getattr(self, field), lowest)
        if isinstance(self.noise_levels, (str, int, float)) or isinstance(self.seeds, int):
            raise InputError("noise_levels and seeds are sequences: write (0.5,) for a single one")
        levels = tuple(check_level(level, self.corruption) for level in self.noise_levels)
        seeds = tuple(self.seeds)
        for seed in (*seeds, self.evaluation_seed):
            if not (isinstance(seed, int) and 0 <= seed < 2**32):
                raise InputError(f"seed {seed!r} is not an integer from 0 to 4294967295")
        for name, values in (("noise_levels", levels), ("seeds", seeds)):
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name} {values} must hold at least one value and none twice")
        rate = LEARNING_RATE[self.optimizer] if self.learning_rate is None else float(self.learning_rate)
        for name, number, highest in (
            ("learning_rate", rate, math.inf),
            ("adadelta_rho", self.adadelta_rho, 1.0),
            ("adadelta_eps", self.adadelta_eps, math.inf),
        ):
            if not (math.isfinite(number) and 0 < number < highest):
                raise InputError(f"{name} {number} must lie above 0" + (" and below 1" if highest == 1.0 else ""))
        if not 0 <= self.average < 1:
            raise InputError(f"average {self.average} must lie from 0 (none) to below 1; 0.999 is usual")
        if self.loss == "bce" and self.head != "logits":
            raise InputError(f"loss bce needs head logits, not {self.head}, whose images leave [0, 1]; take loss mse")
        models = len(levels) * len(seeds)
        if self.models_at_once and models % self.models_at_once:
            divisors = ", ".join(str(n) for n in range(1, models + 1) if models % n == 0)
            raise InputError(f"models_at_once {self.models_at_once} does not divide {models} models; take {divisors}")
        object.__setattr__(self, "noise_levels", levels)
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "learning_rate", rate)

    @property
    def members(self) -> tuple[Member, ...]:
        """The models of the population, in the order of the leading `model` axis."""
        return tuple(Member(level, seed) for level in self.noise_levels for seed in self.seeds)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON types."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "RunConfig":
        """The inverse of `to_dict`.

        Raises:
            InputError: a field is not known or its value is not allowed.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            require_name("configuration field", name, known)
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
        return cls(**values)


def _require_integer(name: str, value: Any, lowest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise InputError(f"{name} {value!r} is not an integer of at least {lowest}")


_LITERALS = {name: get_args(hint) for name, hint in get_type_hints(RunConfig).items() if get_origin(hint) is Literal}
_LOWEST = {
    "width": 1,
    "depth": 1,
    "epochs": 1,
    "batch_size": 1,
    "holdout": 0,
    "chunk_steps": 1,
    "models_at_once": 0,
    "keep": 1,
}


PRESETS: dict[str, dict[str, Any]] = {
    "seed": {"dataset": "mnist", "draw": "fixed", "epochs": 100},
    "fast": {
        "dataset": "mnist",
        "optimizer": "muon",
        "learning_rate": 0.01,
        "schedule": "one_cycle",
        "batch_size": 64,
        "epochs": 3,
    },
}
"""Named settings: the classic experiment, and the same model trained in the least time to the classic's quality."""


def preset(name: str, **changes: Any) -> RunConfig:
    """A named configuration, with changes.

    Raises:
        InputError: there is none of that name, or a change is not allowed.
    """
    require_name("preset", name, PRESETS)
    return RunConfig.from_dict(PRESETS[name] | changes)


def default_member(config: RunConfig) -> int:
    """The position of the model nearest level 0.5, a specialist before a generalist, then with the lowest seed."""

    def rank(position: int) -> tuple[float, float, int]:
        member = config.members[position]
        low, high = level_range(member.noise_level)
        return abs((low + high) / 2 - 0.5), high - low, member.seed

    return min(range(len(config.members)), key=rank)
