"""Exports a Keras classifier into the working folder, with a batch and its results.

Runs in the environment of requirements/keras.lock; docs/frameworks.md has the calls.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras  # type: ignore[import-not-found]
import numpy as np


def main() -> None:
    """Writes classifier.onnx and classifier.npz."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3), name="image")
    found = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    found = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(found)
    found = keras.layers.GlobalAveragePooling2D()(found)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(found))
    image = np.random.default_rng(0).random((3, 32, 32, 3), np.float32)
    scores = model(image)
    model.export("classifier.onnx", format="onnx", verbose=False)
    np.savez("classifier.npz", image=image, scores=np.asarray(scores))


if __name__ == "__main__":
    main()
