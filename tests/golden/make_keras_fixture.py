"""Make keras_adadelta.npz: the seed autoencoder in Keras before, during and after 10 Adadelta steps.

The tests read only the file. To make it again, from the repository root:

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install "tensorflow-cpu==2.21.*" "keras==3.15.*" scikit-learn pillow
    KERAS_BACKEND=tensorflow /tmp/peers/bin/python tests/golden/make_keras_fixture.py

The images are scikit-learn's bundled digits, enlarged; they are not MNIST. Keras computes in float64,
from initial weights rounded to float32: in float32 a rounding error can pick another maximum in a
pooling window, and the steps then amplify it, to percents of the weights within 20 steps. A comparison
that must hold on every machine is made in float64, and ends after 10 steps: after 12, the order of the
sums (of the cores, of the caches) is seen in float64 too. Arrays, stored as float32 unless noted:

    clean        (16, 28, 28, 1) uint8, divide by 255
    noisy        (16, 28, 28, 1) clean / 255 + 0.5 N(0, 1), clipped to [0, 1]
    outputs      (16, 28, 28, 1) sigmoid outputs on noisy with the initial weights
    losses       (10,)           binary cross-entropy before each step, on the one batch
    SET/LAYER/kernel, SET/LAYER/bias
                                 SET is initial, after_1 or after_10 (the number of steps taken);
                                 LAYER is encoder_0, encoder_1, decoder_0, decoder_1 or output;
                                 kernels are (height, width, input, output)
    versions                     a JSON string: keras, tensorflow, numpy, scikit-learn, pillow
"""

import json
from pathlib import Path

import keras
import numpy as np
import PIL
import sklearn
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

IMAGES = 16
STEPS = 10
NOISE_LEVEL = 0.5


def load_clean() -> np.ndarray:
    """Return the first digits as uint8, resized from 8x8 to 28x28."""
    digits = np.round(load_digits().images[:IMAGES] * (255 / 16)).astype(np.uint8)
    resized = [Image.fromarray(digit).resize((28, 28), Image.Resampling.BILINEAR) for digit in digits]
    return np.stack([np.asarray(image) for image in resized])[..., None]


def add_noise(images: np.ndarray) -> np.ndarray:
    """Add clipped Gaussian noise to images in [0, 1]."""
    noise = np.random.default_rng(0).standard_normal(images.shape)
    return np.clip(images + NOISE_LEVEL * noise, 0.0, 1.0).astype(np.float32)


def build_model() -> keras.Model:
    """Build the seed autoencoder, with the layers that have weights named as in the file."""
    conv = {"kernel_size": 3, "padding": "same"}
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, activation="relu", name="encoder_0", **conv),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2D(32, activation="relu", name="encoder_1", **conv),
            layers.MaxPooling2D(2, padding="same"),
            layers.Conv2D(32, activation="relu", name="decoder_0", **conv),
            layers.UpSampling2D(2),
            layers.Conv2D(32, activation="relu", name="decoder_1", **conv),
            layers.UpSampling2D(2),
            layers.Conv2D(1, activation="sigmoid", name="output", **conv),
        ]
    )
    optimizer = keras.optimizers.Adadelta(learning_rate=1.0, rho=0.95, epsilon=1e-7)
    model.compile(optimizer=optimizer, loss="binary_crossentropy")
    return model


def weight_arrays(model: keras.Model, prefix: str) -> dict[str, np.ndarray]:
    """Copy the weights into a flat dictionary, as float32."""
    arrays = {}
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            arrays[f"{prefix}/{layer.name}/kernel"] = kernel.astype(np.float32)
            arrays[f"{prefix}/{layer.name}/bias"] = bias.astype(np.float32)
    return arrays


def main() -> None:
    """Train on the one batch and write the file next to this script."""
    if keras.backend.backend() != "tensorflow":
        raise SystemExit("set KERAS_BACKEND=tensorflow")
    keras.config.set_floatx("float64")
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()

    clean = load_clean()
    target = clean / 255
    noisy = add_noise(target)
    model = build_model()
    model.set_weights([weight.astype(np.float32) for weight in model.get_weights()])
    outputs = model.predict_on_batch(noisy).astype(np.float32)
    arrays = {"clean": clean, "noisy": noisy, "outputs": outputs}
    arrays |= weight_arrays(model, "initial")

    losses = []
    for step in range(1, STEPS + 1):
        # The loss of this step alone, not a mean over steps.
        model.reset_metrics()
        losses.append(model.train_on_batch(noisy, target))
        if step in (1, STEPS):
            arrays |= weight_arrays(model, f"after_{step}")
    arrays["losses"] = np.array(losses, np.float32)
    arrays["versions"] = np.array(
        json.dumps(
            {
                "keras": keras.__version__,
                "tensorflow": tf.__version__,
                "numpy": np.__version__,
                "scikit-learn": sklearn.__version__,
                "pillow": PIL.__version__,
            }
        )
    )
    np.savez_compressed(Path(__file__).with_name("keras_adadelta.npz"), **arrays)


if __name__ == "__main__":
    main()
