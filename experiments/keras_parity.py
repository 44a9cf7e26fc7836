"""Do files of Keras compute in jaxdae what they compute in Keras, there and back, and how fast?

    pip install -e '.[experiments,onnx,stablehlo]' keras tensorflow-cpu onnxruntime
    python experiments/keras_parity.py
    python experiments/keras_parity.py --rounds 2 --images 100 --side 64    # a quick try

Imports the test files of every layout (tests/golden/make_keras_files.py) and compares the denoiser, and its exports as
other programs run them, with the outputs that Keras gave when the files were made. With --files, a folder of real files
and an outputs.npz of `NAME:shape` and `NAME:output`, these too. Then two networks of Keras take turns with their
imports. Writes results/keras_parity/.
"""

import dataclasses
import functools
import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import _report as report
import _shell as shell
import _tables as tables
import numpy as np
import pandas as pd
from _contestants import at_best_batch
from exports import in_turn, runner_of, speed_table

import jaxdae
from jaxdae.exchange.exports import FORMATS, export_denoiser
from jaxdae.exchange.keras import read_keras

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
LAYOUTS = {
    "_weights_2.h5": "HDF5 of Keras 2, weights only",
    ".weights.h5": "HDF5 of Keras 3, weights only",
    "_2.h5": "HDF5 of Keras 2",
    ".h5": "HDF5 of Keras 3",
    ".keras": "archive of Keras 3",
}
"""By the ends of the test files' names; the first that fits."""


@dataclasses.dataclass(frozen=True)
class Options(shell.Options):
    """Settings of the experiment."""

    files: Path | None = None
    """Folder of more files, with their outputs; by default field/keras/ in $JAXDAE_MANUAL_DIR, where there is one."""
    images: int = 1_000
    """Test images of a turn."""
    side: int = 512
    """Side of the larger picture."""
    rounds: int = 15
    """Turns of each."""
    out: Path = Path("results/keras_parity")
    """Results folder: table and README."""


def experiment(options: Options) -> None:
    """Compares all files, then measures the times of Keras and of the imported networks in turn."""
    for package in ("keras", "tensorflow", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise jaxdae.InputError(f"{package} is not installed; pip install keras tensorflow-cpu onnxruntime")
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    import keras

    tensorflow = importlib.metadata.version("tensorflow-cpu")

    known = Path(os.environ.get("JAXDAE_MANUAL_DIR", ".")) / "field" / "keras"
    folder = options.files or (known if known.exists() else None)
    rows = [compared(*file) for file in (*golden_files(), *(more_files(folder) if folder else ()))]
    times = [row for name, model in speed_models().items() for row in timed(options, name, model)]
    tables.write_table(options.out, pd.DataFrame(times))
    made = report.provenance(f"{options.rounds} rounds", "0 (images and weights)")
    made["versions"] += f", keras {keras.__version__}, tensorflow {tensorflow}"
    report.write_about(options.out, made, rounds=options.rounds, files=rows)


def golden_files() -> Iterator[tuple[Path, str, np.ndarray, np.ndarray]]:
    """(file, layout, input, output) of the test files."""
    stored = np.load(GOLDEN / "keras_files.npz")
    for path in sorted((GOLDEN / "keras").iterdir()):
        layout = next(layout for end, layout in LAYOUTS.items() if path.name.endswith(end))
        arrays = (stored[f"{path.name}:{part}"] for part in ("input", "output"))
        noisy, clean = (array if array.ndim == 4 else array.reshape(-1, 8, 8, 1) for array in arrays)
        yield path, layout, noisy, clean


def more_files(folder: Path) -> Iterator[tuple[Path, str, np.ndarray, np.ndarray]]:
    """The same of a folder of other files."""
    if not (folder / "outputs.npz").exists():
        raise jaxdae.InputError(f"{folder} holds no outputs.npz; --files is a folder of files and their outputs")
    stored = np.load(folder / "outputs.npz")
    for path in sorted(path for path in folder.iterdir() if f"{path.name}:output" in stored):
        noisy = np.random.default_rng(0).random(stored[f"{path.name}:shape"], dtype="f")
        yield path, "a real file", noisy, stored[f"{path.name}:output"]


def compared(path: Path, layout: str, noisy: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """The largest differences from Keras's own output: of the denoiser, and of each of its exports."""
    family = "autoencoder" if path.name.startswith("classic") else "dncnn"
    denoiser = read_keras(path, model=family if "weights" in path.name else None).denoiser
    row: dict[str, Any] = {"file": path.name, "layout": layout, "network": type(denoiser.module).__name__}
    row["jaxdae"] = difference(denoiser.apply(noisy), expected)
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            try:
                list(export_denoiser(denoiser, [name], Path(folder)))
            except jaxdae.InputError:
                continue  # imported graphs have no way back to Keras
            row[name] = difference(loaded(name, Path(folder))(noisy), expected)
    return row


def loaded(format: str, folder: Path) -> Callable[[np.ndarray], Any]:
    """What runs an export: Keras, ONNX Runtime, JAX alone, or jaxdae for safetensors."""
    if format == "keras":
        import keras

        model = keras.saving.load_model(folder / FORMATS[format].file)
        return lambda noisy: model(noisy, training=False)
    return jaxdae.load_denoiser(folder).apply if format == "safetensors" else runner_of(format, folder)


def difference(found: Any, expected: np.ndarray) -> float:
    """The largest between two outputs."""
    return float(np.abs(np.asarray(found) - expected).max())


def speed_models() -> dict[str, Any]:
    """Two networks made by Keras, of any image size: one that jaxdae has too, and one that it interprets."""
    import keras
    from keras import layers

    def built(normalized: bool) -> Any:
        keras.utils.set_random_seed(0)
        x = inputs = keras.Input((None, None, 1))
        for change in (layers.MaxPooling2D, layers.MaxPooling2D, layers.UpSampling2D, layers.UpSampling2D):
            x = layers.Conv2D(32, 3, padding="same", activation=None if normalized else "relu")(x)
            x = layers.Activation("relu")(layers.BatchNormalization()(x)) if normalized else x
            x = change(2)(x)
        return keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))

    return {"the tutorial's": built(False), "with batch normalization": built(True)}


def timed(options: Options, name: str, model: Any) -> list[dict[str, Any]]:
    """The times of a network in Keras and imported, in turn, on many small images and on a large one."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        denoiser = jaxdae.load_denoiser(Path(folder) / "model.keras")
    noise = jaxdae.Noise(level=0.5)
    small = np.asarray(jaxdae.noisy_examples(options.load().test[: options.images], noise))
    large = np.random.default_rng(0).random((1, options.side, options.side, 1), np.float32)
    rows = []
    for task, images in ((f"{len(small)} images", small), (f"{options.side}x{options.side}", large)):
        turns: dict[str, Callable[[], Any]] = {
            "jaxdae": functools.partial(denoiser, images),
            "Keras": functools.partial(predicted, model, images),
        }
        if len(images) > 1:
            turns["Keras"] = at_best_batch(functools.partial(predicted, model, images))
        rows += [{"network": name, "task": task} | row for row in in_turn(turns, options.rounds)]
    return rows


def predicted(model: Any, images: np.ndarray, batch_size: int = 0) -> np.ndarray:
    """Keras's output for images, in batches of a size; 0: all at once."""
    if batch_size:
        return model.predict(images, batch_size=batch_size, verbose=0)
    return model.predict_on_batch(images)


def publish(options: Options) -> None:
    """Writes the README from the files in the results folder."""
    times, about = pd.read_csv(options.out / tables.TABLE), report.read_about(options.out)
    speeds = speed_table(times, [("jaxdae", "Keras")])
    files = pd.DataFrame(about["files"]).set_index("file")
    numbers = files.columns[2:]
    worst = float(np.nanmax(files[numbers].to_numpy(float)))
    files[numbers] = files[numbers].map(lambda value: "" if pd.isna(value) else f"{value:.1e}")
    report.write_readme(options.out, "keras_parity", speeds=speeds, files=files, worst=worst)


if __name__ == "__main__":
    shell.run_script(Options, __doc__, experiment, publish)
