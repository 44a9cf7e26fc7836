"""Process-wide settings are made before JAX is imported, and give way to the user's own."""

import os
import subprocess
import sys
import warnings
import zlib

import pytest

from jaxdae import cli, devices
from jaxdae.errors import InputError


@pytest.fixture
def environment(monkeypatch):
    """An environment without settings; what is set in it is taken back."""
    for name in [name for name in os.environ if name.startswith("JAX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return os.environ


def test_every_core_is_a_device(environment):
    devices.cores_as_devices()
    assert 1 <= int(environment["JAX_NUM_CPU_DEVICES"]) <= os.cpu_count()


def test_compiled_programs_are_kept_apart_for_each_machine(environment, monkeypatch):
    folders = []
    for machine in ("one", "two"):
        monkeypatch.setattr(devices.platform, "node", lambda machine=machine: machine)
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        devices.keep_compiled_programs()
        folders.append(environment["JAX_COMPILATION_CACHE_DIR"])
    assert folders[0] != folders[1] and all("jaxdae" in folder for folder in folders)
    assert environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"


def test_programs_that_were_left_half_written_are_removed(environment, monkeypatch, tmp_path):
    monkeypatch.setattr(devices.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    home = tmp_path / "jaxdae" / devices.platform.node()

    def start():
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        devices.keep_compiled_programs()
        return sorted(path.name for path in home.glob("*-cache"))

    assert start() == []
    whole = zlib.compress(bytes(range(256)) * 99)
    for name, content in {"a": whole, "b": whole[:-9], "c": b"", "d": b"(\xb5/\xfd packed otherwise"}.items():
        (home / f"{name}-cache").write_bytes(content)
    assert start() == ["a-cache", "d-cache"]
    (home / "e-cache").write_bytes(whole[:50])
    assert start() == ["a-cache", "d-cache"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "f-cache").write_bytes(whole[:50])
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "mine")
    devices.keep_compiled_programs()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["f-cache"]


def test_settings_of_the_user_stay(environment, tmp_path):
    environment |= {"JAX_NUM_CPU_DEVICES": "3", "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    devices.cores_as_devices()
    assert devices.keep_compiled_programs() == ""
    assert environment["JAX_NUM_CPU_DEVICES"] == "3"
    assert environment["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)


@pytest.mark.parametrize("number", ["0", "-2", "abc", "", "1.5"])
def test_a_number_of_devices_that_is_none_is_refused(environment, number):
    environment["JAX_NUM_CPU_DEVICES"] = number
    with pytest.raises(InputError, match=f"JAX_NUM_CPU_DEVICES={number} is not allowed: give an"):
        devices.cores_as_devices()


@pytest.mark.parametrize(("own", "number"), [({}, "4"), ({"JAX_NUM_CPU_DEVICES": "3"}, "3")])
def test_the_number_of_devices_in_the_flags_of_xla_counts(environment, own, number):
    flags = "--xla_cpu_enable_fast_math=false --xla_force_host_platform_device_count=4"
    environment |= {"XLA_FLAGS": flags} | own
    devices.cores_as_devices()
    assert environment["JAX_NUM_CPU_DEVICES"] == number


@pytest.fixture
def unchanged_filters():
    with warnings.catch_warnings():
        yield


@pytest.mark.parametrize("place", ["file", "file/inside"])
def test_a_cache_folder_that_cannot_be_written_is_named_and_not_used(environment, tmp_path, unchanged_filters, place):
    (tmp_path / "file").touch()
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / place)
    sentence = devices.keep_compiled_programs()
    assert f"{tmp_path / place} cannot be written" in sentence and "\n" not in sentence
    assert "JAX_COMPILATION_CACHE_DIR" not in environment


def test_a_cache_folder_that_can_only_be_read_is_used(environment, tmp_path, monkeypatch, unchanged_filters):
    def denied(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(devices.tempfile, "TemporaryFile", denied)
    environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path)
    assert "cannot be written (Permission denied)" in devices.keep_compiled_programs()
    assert environment["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path)
    warnings.warn("Error writing persistent compilation cache entry for 'f'", UserWarning, 1)


def test_nothing_is_kept_without_a_home_folder(environment, monkeypatch):
    def homeless(name):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(devices.platformdirs, "user_cache_path", homeless)
    assert "there is no home folder; set HOME or JAX_COMP" in devices.keep_compiled_programs()
    assert environment["JAX_COMPILATION_CACHE_DIR"] == ""


@pytest.mark.parametrize(("words", "kept"), [(["--version"], True), (["--no-cache", "--version"], False)])
def test_the_command_keeps_compiled_programs_unless_told(environment, monkeypatch, capsys, words, kept):
    monkeypatch.setattr(sys, "argv", ["jaxdae", *words])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    with pytest.raises(SystemExit) as stop:
        cli.console()
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("jaxdae ")
    assert "JAX_NUM_CPU_DEVICES" in environment and ("JAX_COMPILATION_CACHE_DIR" in environment) == kept


def test_the_settings_come_before_jax():
    code = "import sys; from jaxdae import cli, devices; assert cli.main(['--help']) == 0; print('jax' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split()[-1] == "False"
