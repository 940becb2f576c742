"""preprocess_input and decode_predictions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eca_keras.applications import decode_predictions
from eca_keras.applications import preprocess_input

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
@pytest.mark.parametrize("kind", ["numpy", "tensor"])
def test_values_are_those_of_kerass_torch_mode(dtype, kind):
    x = PIXELS.astype(dtype)
    original = x.copy()
    given = tf.constant(x) if kind == "tensor" else x
    result = preprocess_input(given)
    expected = keras.applications.imagenet_utils.preprocess_input(
        PIXELS.astype("float64"), mode="torch"
    )
    np.testing.assert_allclose(result, expected, atol=2e-6)
    np.testing.assert_array_equal(x, original)
    wanted = dtype if "float" in dtype else "float32"
    assert keras.backend.standardize_dtype(result.dtype) == wanted


@pytest.mark.parametrize("rank", [3, 4])
def test_channels_first(rank):
    x = PIXELS if rank == 4 else PIXELS[0]
    last = preprocess_input(x)
    first = preprocess_input(np.moveaxis(x, -1, -3), "channels_first")
    np.testing.assert_allclose(np.moveaxis(first, -3, -1), last, rtol=1e-6)


def test_inside_a_model():
    inputs = keras.Input((5, 4, 3), dtype="uint8")
    model = keras.Model(inputs, preprocess_input(inputs))
    np.testing.assert_allclose(
        model(PIXELS.astype("uint8")), preprocess_input(PIXELS), atol=2e-6
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="`data_format` must be 'channels_la"):
        preprocess_input(PIXELS, "NHWC")
    with pytest.raises(ValueError, match="3 channels, channels_last"):
        preprocess_input(PIXELS[..., :1])


def test_decode_predictions_needs_1000_classes():
    with pytest.raises(ValueError, match="a batch of predictions"):
        decode_predictions(np.zeros((2, 10)))


def test_decode_predictions_without_network(monkeypatch):
    def fail(*_, **__):
        raise Exception("URL fetch failure on https://...: None -- no route")

    utils = keras.src.applications.imagenet_utils
    monkeypatch.setattr(utils, "CLASS_INDEX", None)
    monkeypatch.setattr(utils.file_utils, "get_file", fail)
    with pytest.raises(OSError, match="could not download ImageNet's class"):
        decode_predictions(np.zeros((1, 1000)))


def test_decode_predictions_with_the_class_names(monkeypatch):
    index = {str(i): [f"n{i:08}", f"class {i}"] for i in range(1000)}
    utils = keras.src.applications.imagenet_utils
    monkeypatch.setattr(utils, "CLASS_INDEX", index)
    scores = np.zeros((1, 1000))
    scores[0, [7, 42]] = 0.3, 0.7
    [best] = decode_predictions(tf.constant(scores), top=2)
    assert best == [
        ("n00000042", "class 42", 0.7),
        ("n00000007", "class 7", 0.3),
    ]
