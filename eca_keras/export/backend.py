"""The one place of this package that imports TensorFlow."""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "`eca_keras.export` needs Keras on TensorFlow: set "
        "KERAS_BACKEND=tensorflow before the first import of keras. "
        f"Received: backend={keras.backend.backend()}"
    )

import tensorflow as tf

# Not public, but what converters are made of, tf2onnx among them.
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2 as freeze,
)

__all__ = ["freeze", "tf"]
