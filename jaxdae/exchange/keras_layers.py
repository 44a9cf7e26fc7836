"""Keras's layers as nodes of a graph: what each class and its configuration stand for."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxdae.errors import InputError
from jaxdae.models.graph import ACTIVATIONS

Config = Mapping[str, Any]


class Known(NamedTuple):
    """A class of layers."""

    kind: str
    """Of `models.graph.KINDS`; empty: it does nothing in use."""
    settings: Callable[[Config], dict[str, Any]] = lambda config: {}
    """InputError for a configuration that cannot be taken."""
    weights: Callable[[Config], tuple[str, ...]] = lambda config: ()
    """The roles of its weights, in Keras's order."""


def settings_of(known: Known, config: Config) -> tuple[tuple[str, Any], ...]:
    """The settings of a node, in the form that a graph stores."""
    if config.get("data_format") == "channels_first":
        raise InputError("its images have the channels first (data_format channels_first); only channels_last is taken")
    return tuple(sorted(known.settings(config).items()))


def _pair(value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(x, int) and 0 < x < 2**16 for x in pair):
        raise InputError(f"a size of {value!r} is not allowed")
    return pair


def _padding(config: Config) -> str:
    if (padding := config.get("padding", "valid")) not in ("same", "valid"):
        raise InputError(f"padding {padding!r} cannot be taken (same, valid)")
    return padding


def _features(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value < 2**20:
        raise InputError(f"{value!r} channels are not allowed")
    return value


def activation_of(value: Any) -> tuple[Any, ...]:
    """An activation as a graph stores it: its name and its numbers; InputError for one that is not known."""
    if isinstance(value, Mapping):
        inner, name = value.get("config"), value.get("class_name")
        if name in ACTIVATION_LAYERS and isinstance(inner, Mapping):
            return ACTIVATION_LAYERS[name](inner)
        value = inner if isinstance(inner, str) else name
    value = {None: "linear", "swish": "silu"}.get(value, value)
    if value not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise InputError(f"the activation {value!r} cannot be taken (known: {known})")
    return (value,)


def _relu(config: Config) -> tuple[Any, ...]:
    highest, slope, threshold = (config.get(name) for name in ("max_value", "negative_slope", "threshold"))
    if highest is None and not slope and not threshold:
        return ("relu",)
    return ("relu", None if highest is None else float(highest), float(slope or 0), float(threshold or 0))


def _number(config: Config, names: tuple[str, ...], default: float) -> float:
    return float(next((config[name] for name in names if config.get(name) is not None), default))


ACTIVATION_LAYERS: dict[str, Callable[[Config], tuple[Any, ...]]] = {
    "Activation": lambda c: activation_of(c.get("activation")),
    "ReLU": _relu,
    "LeakyReLU": lambda c: ("leaky_relu", _number(c, ("negative_slope", "alpha"), 0.3)),
    "ELU": lambda c: ("elu", _number(c, ("alpha",), 1.0)),
}


def _convolution(config: Config) -> dict[str, Any]:
    groups = config.get("groups", 1)
    if not isinstance(groups, int) or groups < 1:
        raise InputError(f"groups {groups!r} are not allowed")
    return {
        "size": _pair(config["kernel_size"]), "stride": _pair(config.get("strides", 1)), "padding": _padding(config),
        "features": _features(config["filters"]), "bias": bool(config.get("use_bias", True)),
        "dilation": _pair(config.get("dilation_rate", 1)), "groups": groups,
        "activation": activation_of(config.get("activation")),
    }  # fmt: skip


def _transposed(config: Config) -> dict[str, Any]:
    made = _convolution(config)
    if config.get("output_padding") is not None:
        raise InputError(f"output_padding {config['output_padding']} cannot be taken (leave it to Keras: None)")
    if made.pop("dilation") != (1, 1) or made.pop("groups") != 1:
        raise InputError("a transposed convolution with dilation or groups cannot be taken")
    return made


def _pool(config: Config) -> dict[str, Any]:
    size = _pair(config.get("pool_size", 2))
    strides = config.get("strides")
    return {"size": size, "stride": size if strides is None else _pair(strides), "padding": _padding(config)}


def _upsampling(config: Config) -> dict[str, Any]:
    method = config.get("interpolation", "nearest")
    if method not in ("nearest", "bilinear"):
        raise InputError(f"interpolation {method!r} cannot be taken (nearest, bilinear)")
    return {"size": _pair(config.get("size", 2)), "method": method}


def _borders(name: str) -> Callable[[Config], dict[str, Any]]:
    def settings(config: Config) -> dict[str, Any]:
        given = config.get(name)
        pairs = (given, given) if isinstance(given, int) else tuple(given or ())
        pads = tuple((side, side) if isinstance(side, int) else tuple(side) for side in pairs)
        numbers = [x for pad in pads for x in pad]
        if len(pads) != 2 or len(numbers) != 4 or not all(isinstance(x, int) and 0 <= x < 2**16 for x in numbers):
            raise InputError(f"{name} {given!r} is not allowed")
        return {"pads": pads}

    return settings


def _last_axis(config: Config, default: int = -1) -> dict[str, Any]:
    axis = config.get("axis", default)
    axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
    if axis not in (-1, 3):
        raise InputError(f"axis {axis!r} cannot be taken, only the last one, the channels")
    return {}


def _dense(config: Config) -> dict[str, Any]:
    return {"features": _features(config["units"]), "bias": bool(config.get("use_bias", True)),
            "activation": activation_of(config.get("activation"))}  # fmt: skip


def _shape(config: Config) -> dict[str, Any]:
    shape = tuple(config["target_shape"])
    if not all(isinstance(x, int) and (x == -1 or 0 < x < 2**31) for x in shape) or shape.count(-1) > 1:
        raise InputError(f"target_shape {shape} is not allowed")
    return {"shape": shape}


def _kernel(config: Config) -> tuple[str, ...]:
    return ("kernel", "bias") if config.get("use_bias", True) else ("kernel",)


def _normalization(config: Config) -> tuple[str, ...]:
    own = [role for role, name in (("gamma", "scale"), ("beta", "center")) if config.get(name, True)]
    return (*own, "moving_mean", "moving_variance")


def _prelu(config: Config) -> dict[str, Any]:
    shared = config.get("shared_axes") or ()
    return {"shared": tuple(sorted(int(axis) for axis in shared))}


LAYERS: dict[str, Known] = {
    "Conv2D": Known("conv", _convolution, _kernel),
    "Conv2DTranspose": Known("conv_transpose", _transposed, _kernel),
    "MaxPooling2D": Known("max_pool", _pool),
    "AveragePooling2D": Known("mean_pool", _pool),
    "UpSampling2D": Known("upsample", _upsampling),
    "ZeroPadding2D": Known("pad", _borders("padding")),
    "Cropping2D": Known("crop", _borders("cropping")),
    "BatchNormalization": Known("affine", _last_axis, _normalization),
    "PReLU": Known("prelu", _prelu, lambda config: ("alpha",)),
    "Dense": Known("dense", _dense, _kernel),
    "Flatten": Known("reshape", lambda config: {"shape": (-1,)}),
    "Reshape": Known("reshape", _shape),
    "Concatenate": Known("concatenate", _last_axis),
    "Add": Known("add"),
    "Subtract": Known("subtract"),
    "Multiply": Known("multiply"),
    "Average": Known("average"),
    "Maximum": Known("maximum"),
    **{name: Known("activation", lambda c, made=made: {"activation": made(c)})  # type: ignore[misc]
       for name, made in ACTIVATION_LAYERS.items()},
    **dict.fromkeys(("InputLayer", "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianNoise", "GaussianDropout",
                     "ActivityRegularization", "Identity"), Known("")),
}  # fmt: skip
"""The classes that are taken. The last ones do nothing in use."""
