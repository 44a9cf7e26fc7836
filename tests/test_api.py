"""The manners of the public API."""

import inspect
import subprocess
import sys
import typing

import pytest

import jaxdae
from jaxdae import baselines, config, conv, data, denoising, evaluation, figures, metrics, model, noise, runs, training

CORE = (conv, metrics, model, noise, training, evaluation)


def public_functions(*modules):
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and function.__module__ == module.__name__:
                yield pytest.param(function, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("function", public_functions(*CORE, baselines, config, data, denoising, figures, runs))
def test_public_functions_have_docstrings_and_annotations(function):
    assert function.__doc__
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


@pytest.mark.parametrize("function", public_functions(*CORE))
def test_keys_come_first_and_options_are_keyword_only(function):
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        assert parameter.name not in ("rng", "prng")
        if parameter.name == "key":
            assert position == 0
        if parameter.name in ("model", "optimizer", "config", "corruption", "clip"):
            first = position == 0 or function in (model.initialize,)
            assert first or parameter.kind is inspect.Parameter.KEYWORD_ONLY or function.__module__.endswith("training")


def test_every_corruption_has_the_same_signature():
    for function in noise.CORRUPTIONS.values():
        assert list(inspect.signature(function).parameters) == ["key", "clean", "level"]


def test_the_literals_of_the_configuration_are_the_registries():
    assert set(typing.get_args(config.CorruptionName)) == set(noise.CORRUPTIONS)
    assert set(config.HIGHEST_LEVEL) <= set(noise.CORRUPTIONS)
    assert set(config.LEARNING_RATE) == set(typing.get_args(config.OptimizerName))


def test_everything_that_is_offered_is_there():
    for name in jaxdae.__all__:
        assert getattr(jaxdae, name) is not None
    assert dir(jaxdae) == sorted(jaxdae.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        jaxdae.nothing  # noqa: B018


def test_importing_the_package_or_the_command_loads_no_heavy_library():
    heavy = "{'jax', 'flax', 'matplotlib', 'orbax', 'tensorflow_datasets', 'sklearn', 'numpy'}"
    code = f"import sys, jaxdae.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_core_loads_no_library_of_the_shell():
    shell = "{'matplotlib', 'orbax', 'tensorflow_datasets', 'tyro'}"
    code = f"import sys; from jaxdae import evaluation; print(sorted({shell} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
