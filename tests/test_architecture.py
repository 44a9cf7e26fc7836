"""The arrows between the modules: nothing points up, nothing in a circle, and the core stays light."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxdae"
RANKS = (
    {"data", "distributed", "metrics", "parallel", "rng", "devices", "plots"}
    | {"types", "errors", "components", "arguments", "memory", "paths"},
    {"objectives", "models", "noise"},
    {"training", "evaluation"},
    {"runs", "verification"},
    {"exchange"},
    {"cli"},
)
SHELL = (
    "cli",
    "exchange",
    "runs",
    "plots",
    "devices",
    "data.photographs",
    "data.pictures",
    "data.picture_files",
    "data.tiff",
    "data.png",
    "data.pillow",
    "data.netpbm",
    "data.datasets",
)
"""Only these may import what the core does without."""
HEAVY = {
    "matplotlib", "orbax", "tensorflow_datasets", "PIL", "tifffile", "imagecodecs", "netpbmfile", "rich", "tqdm",
    "safetensors", "onnx", "tensorboardX", "wandb", "h5py",
}  # fmt: skip


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def imports(module):
    """The modules that a module imports, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inside & set(MODULES)) or {node.module}
    return found


def rank(module):
    """0 for the lowest; the package itself, which imports nothing, is below all."""
    room = module.split(".")[1] if "." in module else None
    return next((i for i, rooms in enumerate(RANKS) if room in rooms), -1)


def test_every_room_has_a_rank():
    assert {module for module in MODULES if rank(module) < 0} == {"jaxdae"}


@pytest.mark.parametrize("module", MODULES)
def test_no_import_points_up(module):
    assert [other for other in imports(module) & set(MODULES) if rank(other) > rank(module)] == []


def test_no_imports_go_in_a_circle():
    graphlib.TopologicalSorter({module: imports(module) & set(MODULES) for module in MODULES}).prepare()


def test_the_core_imports_no_library_of_the_shell():
    core = [m for m in MODULES if not m.removeprefix("jaxdae.").startswith(SHELL)]
    assert {m: found for m in core if (found := {name.split(".")[0] for name in imports(m)} & HEAVY)} == {}


def test_the_package_names_no_experiment():
    experiments = {path.stem for path in (ROOT / "experiments").glob("*.py")}
    assert not {m for m in MODULES if {name.split(".")[0] for name in imports(m)} & (experiments | {"experiments"})}
    assert not {m for m, path in MODULES.items() if re.search(r"experiments[/.]\w", path.read_text())}


def loaded(code, names):
    """Which of these libraries a fresh process has loaded after some code."""
    code = f"import sys; {code}; print(sorted({names} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stderr.strip()


def test_the_package_and_the_help_of_the_command_load_no_heavy_library():
    heavy = HEAVY | {"jax", "flax", "numpy", "optax", "sklearn", "scipy", "pandas"}
    code = "import jaxdae, jaxdae.cli; assert jaxdae.cli.main(['--help']) == 0"
    assert loaded(code, heavy) == "[]"


@pytest.mark.slow
def test_training_and_measuring_load_no_library_of_the_shell():
    libraries = (HEAVY - {"rich"}) | {"sklearn", "scipy.ndimage", "skimage", "pandas"}  # Flax loads rich itself
    assert loaded("import jaxdae.training, jaxdae.evaluation", libraries) == "[]"
