"""The one place of this package that imports TensorFlow."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "`eca_keras.export` needs Keras on TensorFlow: set "
        "KERAS_BACKEND=tensorflow before the first import of keras. "
        f"Received: backend={keras.backend.backend()}"
    )

import tensorflow as tf

__all__ = ["tf"]
