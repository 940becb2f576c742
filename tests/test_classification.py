"""Sums of loss and accuracy: equal to Keras's own figures."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from eca_keras.training.classification.objective import Classification

CLASSES = 7
RNG = np.random.default_rng(0)
SCORES = RNG.normal(0, 3, (64, CLASSES)).astype("float32")
LABELS = RNG.integers(0, CLASSES, 64).astype("int32")


def classification(**arguments):
    """A network whose logits are its input."""
    scores = keras.Input((CLASSES,))
    shares = keras.Model(scores, keras.layers.Softmax()(scores))
    logits = keras.Model(scores, keras.layers.Activation("linear")(scores))
    return Classification(shares, logits, **arguments)


def numbers(sums):
    return {name: float(value) for name, value in sums.items()}


def keras_figures(labels, smoothing=0.0):
    loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction="sum"
    )
    hard = labels.argmax(-1)
    top1 = keras.metrics.sparse_categorical_accuracy(hard, SCORES)
    top5 = keras.metrics.sparse_top_k_categorical_accuracy(hard, SCORES, 5)
    return {
        "loss": float(loss(labels, SCORES)),
        "top1": float(np.sum(top1)),
        "top5": float(np.sum(top5)),
    }


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_learning_equals_keras(smoothing):
    task = classification(label_smoothing=smoothing)
    expected = keras_figures(np.eye(CLASSES)[LABELS], smoothing)
    assert 0 < expected["top1"] < expected["top5"] < len(LABELS)
    learned = numbers(task.train_step(SCORES, tf.constant(LABELS)))
    assert learned == pytest.approx(expected, rel=1e-5)


def test_mixed_labels():
    share = RNG.uniform(0.6, 1, (64, 1))
    other = np.eye(CLASSES)[(LABELS + 1) % CLASSES]
    labels = share * np.eye(CLASSES)[LABELS] + (1 - share) * other
    learned = classification(label_smoothing=0.2).train_step(
        SCORES, tf.constant(labels, tf.float32)
    )
    expected = keras_figures(labels, 0.2)
    assert numbers(learned) == pytest.approx(expected, rel=1e-5)


def test_measuring_leaves_out_the_filling_and_the_smoothing():
    weights = np.repeat([1.0, 0.0], [50, 14]).astype("float32")
    task = classification(label_smoothing=0.5)
    measured = task.evaluate(SCORES, tf.constant(LABELS), weights)
    loss = keras.ops.sparse_categorical_crossentropy(
        LABELS[:50], SCORES[:50], from_logits=True
    )
    right = SCORES[:50].argmax(-1) == LABELS[:50]
    assert float(measured["loss"]) == pytest.approx(np.sum(loss), rel=1e-5)
    assert float(measured["top1"]) == right.sum()


def test_of_equal_scores_the_first_class_wins_and_nan_never_does():
    task = classification()
    equal = np.zeros((2, CLASSES), "float32")
    sums = task.train_step(equal, tf.constant([0, 6]))
    assert numbers(sums)["top1"] == 1
    assert numbers(sums)["top5"] == 1
    sums = task.train_step(equal * np.nan, tf.constant([0, 6]))
    assert numbers(sums)["top1"] == numbers(sums)["top5"] == 0


def test_an_improbable_label_has_a_finite_loss():
    scores = np.zeros((1, CLASSES), "float32")
    scores[0, 0] = 200.0
    task = classification()
    label = tf.constant([1])
    learned = float(task.train_step(scores, label)["loss"])
    assert learned == pytest.approx(200.0)
    measured = task.evaluate(scores, label, np.ones(1, "float32"))
    assert 80 < float(measured["loss"]) < 100
