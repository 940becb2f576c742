"""The one place of this package that imports TensorFlow."""

from eca_keras.utils.checks import check_tensorflow

check_tensorflow("eca_keras.export")

import tensorflow as tf  # noqa: E402

# Not public, but what converters are made of, tf2onnx among them.
from tensorflow.python.framework.convert_to_constants import (  # noqa: E402
    convert_variables_to_constants_v2 as freeze,
)

__all__ = ["freeze", "tf"]
