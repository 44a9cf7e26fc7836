"""The manners of the public API: documented, annotated, complete, one signature for one kind of thing."""

import dataclasses
import importlib
import inspect
import pkgutil

import pytest

import jaxdae
from jaxdae import components
from jaxdae.models import MODELS
from jaxdae.noise import CORRUPTIONS, Noise
from jaxdae.objectives import OBJECTIVES
from jaxdae.runs import Loop
from jaxdae.training.optimizers import OPTIMIZERS

MODULES = [importlib.import_module(found.name) for found in pkgutil.walk_packages(jaxdae.__path__, "jaxdae.")]


def public(module, kind):
    """The functions or classes that a module defines."""
    return [
        value for name, value in inspect.getmembers(module, kind)
        if not name.startswith("_") and value.__module__ == module.__name__
    ]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_functions_and_classes_are_documented_and_annotated(module):
    assert module.__doc__
    for documented in public(module, inspect.isclass):
        assert documented.__doc__, documented
    for function in public(module, inspect.isfunction):
        assert function.__doc__, function
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty, function
        for position, parameter in enumerate(signature.parameters.values()):
            assert parameter.annotation is not inspect.Parameter.empty, function
            assert parameter.name not in ("rng", "prng") and (parameter.name != "key" or position == 0), function


def test_every_corruption_has_the_same_signature():
    for corruption in CORRUPTIONS.values():
        assert list(inspect.signature(corruption.function).parameters) == ["key", "clean", "level"]


REGISTERED = [Noise, *MODELS.values(), *OBJECTIVES.values(), *OPTIMIZERS.values()]


@pytest.mark.parametrize("kind", [*REGISTERED, Loop])
def test_every_field_of_a_component_is_declared_with_a_help_and_a_good_default(kind):
    declared = components.settings(kind)
    assert {field.name for field in dataclasses.fields(kind)} - {"parent", "name"} == set(declared)
    assert all(field.help for field in declared.values())
    assert components.checked(kind()) == kind()


def test_registered_components_keep_their_contracts():
    for model in MODELS.values():
        assert model().prediction and model().multiple >= 1 and (model().reach is None or model().reach > 0)
    for objective in OBJECTIVES.values():
        assert all(callable(getattr(objective, name)) for name in ("check", "example", "losses"))
    for optimizer in OPTIMIZERS.values():
        assert {"learning_rate", "schedule", "ema_decay"} <= set(components.settings(optimizer))


def test_everything_that_is_offered_is_there():
    for name in jaxdae.__all__:
        assert getattr(jaxdae, name) is not None
    assert set(jaxdae.__all__) <= set(dir(jaxdae))
    with pytest.raises(AttributeError, match="nothing"):
        jaxdae.nothing  # noqa: B018
