"""The Python blocks of docs/from-keras.md run, in their order."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests" / "golden" / "keras" / "classic.keras", tmp_path / "autoencoder.keras")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "from-keras.md").read_text(), re.DOTALL)
    assert len(blocks) == 6
    names = {}
    for block in blocks:
        exec(block, names)  # the project's own documentation
    assert names["clean"].shape == names["noisy"].shape == (8, 28, 28, 1)
    assert names["run"].history[-1]["epoch"] == 1 and np.isfinite(names["clean"]).all()
