"""Make keras/: small models of Keras in every layout, and keras_files.npz, what Keras makes of random images.

The tests read only the files. To make them again, from the repository root:

    python3 -m venv /tmp/keras
    /tmp/keras/bin/pip install "keras==3.15.*" jax h5py
    KERAS_BACKEND=jax /tmp/keras/bin/python tests/golden/make_keras_files.py

keras_files.npz has for each file NAME:input and NAME:output. Files that end in `_2.h5` are written by hand in the
documented layout of Keras 2 (batch_input_shape, nested lists as inbound_nodes, kernel:0); Keras 3 computes their
outputs from the same weights. Weights are random, moving statistics of normalizations too.
"""

import json
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

HERE = Path(__file__).parent
FOLDER = HERE / "keras"
same = {"padding": "same"}


def relu(width, **more):
    """A convolution as most of the tutorial's are."""
    return layers.Conv2D(width, 3, activation="relu", **more)


def halve():
    return layers.MaxPooling2D(2, **same)


def classic(last="sigmoid"):
    """The autoencoder of the tutorial, narrow."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            relu(4, **same),
            halve(),
            relu(3, **same),
            halve(),
            relu(3, **same),
            layers.UpSampling2D(2),
            relu(4, **same),
            layers.UpSampling2D(2),
            layers.Conv2D(1, 3, activation=last, **same),
        ]
    )


def first_of_the_tutorial():
    """A convolution without padding makes 28x28 of 32x32: one size only."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            relu(4, **same),
            halve(),
            relu(3, **same),
            halve(),
            relu(2, **same),
            halve(),
            relu(2, **same),
            layers.UpSampling2D(2),
            relu(3, **same),
            layers.UpSampling2D(2),
            relu(4),
            layers.UpSampling2D(2),
            layers.Conv2D(1, 3, activation="sigmoid", **same),
        ]
    )


def strided():
    """Strides, transposed convolutions of several sizes, normalizations and activations of all kinds, in colour."""
    x = inputs = keras.Input((None, None, 3))
    x = layers.GaussianNoise(0.1)(x)
    x = layers.Conv2D(5, 3, strides=2, use_bias=False, **same)(x)
    x = layers.BatchNormalization(epsilon=1e-2)(x)
    skip = x = layers.LeakyReLU(negative_slope=0.2)(x)
    x = layers.Conv2D(4, 5, strides=2, activation="elu", **same)(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Conv2D(4, 2, activation="gelu", dilation_rate=2, **same)(x)
    x = layers.BatchNormalization(scale=False, momentum=0.5)(x)
    x = layers.Conv2DTranspose(5, 4, strides=2, activation="swish", **same)(x)
    x = layers.Concatenate()([x, skip])
    x = layers.Conv2DTranspose(6, 3, strides=2, activation="softplus", **same)(x)
    x = layers.ReLU(max_value=2.0, negative_slope=0.1)(x)
    x = layers.Conv2D(3, 1, activation="tanh")(x)
    return keras.Model(inputs, layers.Add()([x, inputs]))


def pooled():
    """Mean pools, bilinear upsampling, borders by hand."""
    x = inputs = keras.Input((24, 36, 1))
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(4, 3, activation="selu")(x)
    x = layers.AveragePooling2D(3, strides=2, **same)(x)
    x = layers.ZeroPadding2D(((2, 1), (0, 3)))(x)
    x = layers.Cropping2D(((2, 1), (0, 3)))(x)
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal")(x)
    x = layers.MaxPooling2D(3, strides=3, **same)(x)
    x = layers.UpSampling2D((3, 3), interpolation="bilinear")(x)
    x = layers.Conv2DTranspose(3, 2, strides=2)(x)
    x = layers.Activation("relu6")(x)
    x = layers.Conv2D(1, (1, 5), **same)(x)
    return keras.Model(inputs, layers.Subtract()([inputs, x]))


def nested():
    """Encoder and decoder as models, one layer in use twice, part of it frozen."""
    given = keras.Input((16, 16, 1))
    encoder = keras.Sequential(
        [keras.Input((16, 16, 1)), layers.Conv2D(4, 3, strides=2, **same), layers.BatchNormalization(),
         layers.Activation("relu")], name="encoder",
    )  # fmt: skip
    encoder.layers[0].trainable = False
    code = keras.Input((8, 8, 4))
    shared = layers.Conv2D(4, 3, activation="relu", name="shared", **same)
    y = layers.Average()([shared(code), shared(shared(code))])
    y = layers.BatchNormalization()(y)
    y = layers.Conv2DTranspose(1, 5, strides=2, **same)(y)
    decoder = keras.Model(code, y, name="decoder")
    return keras.Model(given, layers.Activation("sigmoid")(decoder(encoder(given))))


def dense():
    """A dense autoencoder of vectors."""
    return keras.Sequential(
        [keras.Input((64,)), layers.Dense(7, activation="relu"), layers.Dense(64, activation="sigmoid")]
    )


def flattened():
    """Convolutions around a dense code."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, strides=2, activation="relu", **same),
            layers.Flatten(),
            layers.Dense(6, activation="relu"),
            layers.Dense(48, use_bias=False),
            layers.Reshape((4, 4, 3)),
            layers.Conv2DTranspose(3, 3, strides=2, activation="relu"),
            layers.Cropping2D(((0, 1), (1, 0))),
            layers.Conv2D(1, 3, activation="sigmoid", **same),
        ]
    )


def dncnn():
    """A chain that predicts a residual."""
    x = inputs = keras.Input((None, None, 3))
    for _ in range(3):
        x = layers.Conv2D(4, 3, activation="relu", **same)(x)
    x = layers.Conv2D(3, 3, **same)(x)
    return keras.Model(inputs, inputs + x)


MODELS = {f.__name__: f for f in (classic, first_of_the_tutorial, strided, pooled, nested, dense, flattened, dncnn)}


def randomize(model, seed):
    """Random weights under which signals keep their size; positive variances."""
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name.endswith("variance"):
            weight.assign(draw.uniform(0.5, 2, weight.shape))
        elif weight.name in ("gamma", "alpha"):
            weight.assign(draw.uniform(0.5, 1.5, weight.shape))
        elif "seed" not in weight.path:
            fan = max(np.prod(weight.shape[:-1]), 4)
            weight.assign(draw.normal(0, (1.5 / fan) ** 0.5, weight.shape))


def predicted(model):
    """Random images and what the model makes of them."""
    shape = [side or (16, 24)[i] for i, side in enumerate(model.input_shape[1:])]
    images = np.random.default_rng(0).random((2, *shape), np.float32)
    return images, np.asarray(model(images, training=False))


def as_keras_2(model, path, layers_of_config, weights_only=False):
    """Writes a sequential or functional model in the layout of Keras 2, by hand."""
    with h5py.File(path, "w") as file:
        root = file
        if not weights_only:
            file.attrs["model_config"] = json.dumps(layers_of_config)
            file.attrs["keras_version"] = "2.3.1"
            file.attrs["backend"] = "tensorflow"
            root = file.create_group("model_weights")
        named = list(model.layers)
        root.attrs["layer_names"] = [layer.name.encode() for layer in named]
        root.attrs["keras_version"] = b"2.3.1"
        for layer in named:
            group = root.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            weights = [w for w in weights if "seed" not in w.path]
            group.attrs["weight_names"] = [f"{layer.name}/{w.name}:0".encode() for w in weights]
            for weight in weights:
                group.create_dataset(f"{layer.name}/{weight.name}:0", data=np.asarray(weight))


def old_config(layer):
    """The configuration of a layer as Keras 2 has it: no module, types as strings."""
    config = {k: v for k, v in layer.get_config().items() if not k.endswith(("initializer", "regularizer"))}
    config["dtype"] = "float32"
    if "negative_slope" in config and isinstance(layer, layers.LeakyReLU):
        config["alpha"] = config.pop("negative_slope")
    return {"class_name": type(layer).__name__, "config": config}


def sequential_2(model, bare=False):
    """A configuration of Keras 2 without an input layer; `bare`: as a list, as before 2.2.3."""
    entries = [old_config(layer) for layer in model.layers]
    entries[0]["config"]["batch_input_shape"] = [None, *model.input_shape[1:]]
    return {"class_name": "Sequential", "config": entries if bare else {"name": "sequential_1", "layers": entries}}


def functional_2(model):
    """A configuration of Keras 2 with nested lists as nodes."""
    entries = []
    for layer in model.layers:
        entry = old_config(layer) | {"name": layer.name, "inbound_nodes": []}
        if isinstance(layer, layers.InputLayer):
            entry["config"] = {"batch_input_shape": [None, *model.input_shape[1:]], "dtype": "float32",
                               "sparse": False, "name": layer.name}  # fmt: skip
        else:
            sources = [t._keras_history.operation.name for t in layer._inbound_nodes[0].input_tensors]
            entry["inbound_nodes"] = [[[name, 0, 0, {}] for name in sources]]
        entries.append(entry)
    first, last = model.input._keras_history.operation.name, model.output._keras_history.operation.name
    return {"class_name": "Model", "config": {"name": "model_1", "layers": entries, "input_layers": [[first, 0, 0]],
                                             "output_layers": [[last, 0, 0]]}}  # fmt: skip


def main():
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    arrays = {}
    for seed, (name, build) in enumerate(MODELS.items()):
        keras.backend.clear_session()
        model = build()
        randomize(model, seed)
        made = predicted(model)
        files = [f"{name}.keras", f"{name}.h5"]
        for file in files:
            model.save(FOLDER / file)
        if name in ("classic", "dncnn"):
            model.save_weights(FOLDER / f"{name}.weights.h5")
            as_keras_2(model, FOLDER / f"{name}_weights_2.h5", {}, weights_only=True)
            files += [f"{name}.weights.h5", f"{name}_weights_2.h5"]
        if name in ("classic", "flattened"):
            as_keras_2(model, FOLDER / f"{name}_2.h5", sequential_2(model, bare=name == "flattened"))
            files.append(f"{name}_2.h5")
        if name in ("strided", "pooled"):
            as_keras_2(model, FOLDER / f"{name}_2.h5", functional_2(model))
            files.append(f"{name}_2.h5")
        for file in files:
            arrays[f"{file}:input"], arrays[f"{file}:output"] = made
    np.savez_compressed(HERE / "keras_files.npz", **arrays)
    print(keras.__version__, sorted(path.name for path in FOLDER.iterdir()))


if __name__ == "__main__":
    main()
