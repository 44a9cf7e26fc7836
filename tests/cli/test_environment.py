"""Variables of the user's environment are settled, or named in one sentence."""

import logging
import os
import signal
import sys

import jax
import pytest

from jaxdae import cli
from jaxdae.cli import environment, start
from jaxdae.cli.xla_flags import require_known_flags
from jaxdae.errors import InputError


def test_aids_for_debugging_other_programs_are_taken_out():
    variables = dict.fromkeys(environment.DEBUGGING, "raise") | {"MPLBACKEND": "nonsense", "HOME": "/"}
    environment.settle(variables)
    assert variables == {"MPLBACKEND": "agg", "HOME": "/"}


@pytest.mark.parametrize(
    "message",
    [
        'Invalid value "abc" for JAX flag jax_enable_x64',
        "invalid truth value 'abc' for environment 'JAX_ENABLE_X64'",
    ],
)
def test_a_value_that_jax_refuses_is_named(monkeypatch, message):
    monkeypatch.setenv("JAX_ENABLE_X64", "abc")
    sentence = environment.explain(ValueError(message))
    assert sentence.startswith("JAX_ENABLE_X64=abc is not a value that JAX knows;")


def test_a_platform_that_is_missing_is_named(monkeypatch, capsys):
    def devices():
        raise AssertionError  # as JAX does without a CUDA plugin

    def run(words):
        jax.devices()

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setattr("jaxdae.cli.models.run", run)
    assert cli.main(["models"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("jaxdae: JAX_PLATFORMS=cuda: JAX finds no such device here; unset it")
    assert error.count("\n") == 1


def test_other_errors_are_not_blamed_on_the_environment(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert environment.explain(ValueError("shapes differ")) == ""


@pytest.mark.parametrize("flags", ["", "--xla_dump_to=/tmp/a --xla_cpu_enable_fast_math", "a/file"])
def test_flags_that_xla_knows_are_left_to_it(flags):
    require_known_flags(flags)


def test_a_flag_that_xla_does_not_know_is_named(tmp_path):
    library = tmp_path / "library"
    library.write_bytes(b"\0xla_dump_to\0")
    with pytest.raises(InputError, match="^--xla_nonsense in XLA_FLAGS is not a flag that XLA knows"):
        require_known_flags("--xla_dump_to=/tmp/a --xla_nonsense=1", library)


@pytest.fixture
def own_interrupt_handler():
    """Python's own handler of Ctrl-C, which the test runner may have replaced."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_ctrl_c_during_imports_ends_the_process_at_once(monkeypatch, own_interrupt_handler):
    class Ended(Exception):
        pass

    def end(status):
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)

    def interrupted_import(name):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(cli.importlib, "import_module", interrupted_import)
    with pytest.raises(Ended, match="130"):
        cli.main(["models"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_runs_are_imported_imports_nothing(monkeypatch):
    def run(words):
        monkeypatch.delitem(sys.modules, "jaxdae.runs.signals", raising=False)
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxdae.cli.models.run", run)
    assert cli.main(["models"]) == 130
    assert "jaxdae.runs.signals" not in sys.modules


def test_warnings_of_the_library_are_lines_of_their_own(capsys, monkeypatch):
    log = logging.getLogger("jaxdae")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(log, "propagate", True)
    start.show_warnings()
    log.warning("the log goes on")
    assert capsys.readouterr().err == "warning: the log goes on\n"
