"""MixUp and CutMix: pixels and labels are mixed alike."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from eca_keras.training.classification.augmentation import Augmentation

BATCH = 24
CLASSES = 5


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 12, 10, 3), "uint8")
    return images, rng.integers(0, CLASSES, BATCH).astype("int32")


@functools.cache
def graph(change):
    return tf.function(
        lambda images, labels, seed: change.batch(
            images, labels, CLASSES, tf.stack([seed, 9])
        )
    )


def mixed(change, examples, seed=3):
    images, labels = map(tf.constant, examples)
    images, labels = graph(change)(images, labels, tf.constant(seed))
    return images.numpy(), labels.numpy()


@pytest.mark.slow
def test_a_function_of_the_seed(examples):
    for change in (
        Augmentation(mixup=0.5),
        Augmentation(cutmix=1.0),
        Augmentation(mixup=0.8, cutmix=1.0),
    ):
        assert change.mixes
        expected = [mixed(change, examples, seed) for seed in range(16)]
        assert expected[0][0].dtype == "uint8"
        assert expected[0][1].dtype == "float32"
        assert len({images.tobytes() for images, _ in expected}) == 16
        dataset = (
            tf.data.Dataset.from_tensors(examples)
            .repeat(16)
            .enumerate()
            .map(
                lambda seed, pair, change=change: change.batch(
                    *pair, CLASSES, tf.stack([seed, 9])
                ),
                num_parallel_calls=4,
            )
        )
        for _ in range(2):
            for (images, labels), (x, y) in zip(expected, dataset, strict=True):
                np.testing.assert_array_equal(x, images)
                np.testing.assert_array_equal(y, labels)
        shape = dataset.element_spec[0].shape
        assert shape == (BATCH, 12, 10, 3)


def test_nothing_to_mix(examples):
    change = Augmentation()
    assert not change.mixes
    images, labels = mixed(change, examples)
    np.testing.assert_array_equal(images, examples[0])
    np.testing.assert_array_equal(labels, np.eye(CLASSES)[examples[1]])


def test_mixup_blends_labels_as_it_blends_pixels(examples):
    originals, classes = examples
    pixels = originals.reshape(BATCH, -1).astype("float64")
    weights = []
    for seed in range(8):
        images, labels = mixed(Augmentation(mixup=0.6), examples, seed)
        partners = []
        for own, image, label in zip(pixels, images, labels, strict=True):
            # Least squares for the share of each possible partner.
            away = pixels - own
            target = image.reshape(-1) - own
            norms = (away**2).sum(1)
            share = away @ target / np.where(norms, norms, 1)
            errors = ((target - share[:, None] * away) ** 2).mean(1)
            partner = errors.argmin()
            assert errors[partner] < 0.5  # rounding to whole levels
            partners.append(partner)
            own_class = classes[(pixels == own).all(1).argmax()]
            expected = (1 - share[partner]) * np.eye(CLASSES)[own_class]
            expected += share[partner] * np.eye(CLASSES)[classes[partner]]
            np.testing.assert_allclose(label, expected, atol=2e-3)
            weights.append(share[partner])
        assert len(set(partners)) > BATCH / 2
    # Beta(0.6, 0.6): mean 1/2, variance 1 / (4 * 2.2).
    weights = np.array(weights)
    assert weights.mean() == pytest.approx(0.5, abs=0.08)
    assert weights.var() == pytest.approx(1 / 8.8, abs=0.03)


def test_cutmix_weighs_labels_by_the_pixels(examples):
    originals, classes = examples
    for seed in range(12):
        images, labels = mixed(Augmentation(cutmix=1.0), examples, seed)
        for own, own_class, image, label in zip(
            originals, classes, images, labels, strict=True
        ):
            changed = (image != own).any(-1)
            if not changed.any():
                continue
            rows, columns = np.nonzero(changed)
            box = np.s_[
                rows.min() : rows.max() + 1, columns.min() : columns.max() + 1
            ]
            # A rectangle from another image, at the same place.
            assert changed[box].all()
            partner = (originals[:, *box] == image[box]).all((1, 2, 3)).argmax()
            np.testing.assert_array_equal(image[box], originals[partner][box])
            share = changed.mean()
            expected = (1 - share) * np.eye(CLASSES)[own_class]
            expected += share * np.eye(CLASSES)[classes[partner]]
            np.testing.assert_allclose(label, expected, atol=1e-6)


def test_one_of_the_two_for_each_batch(examples):
    both = Augmentation(mixup=0.8, cutmix=1.0)
    kinds = []
    for seed in range(60):
        images, _ = mixed(both, examples, seed)
        candidates = [
            (mixed(change, examples, seed)[0] == images).all()
            for change in (Augmentation(mixup=0.8), Augmentation(cutmix=1.0))
        ]
        assert sum(candidates) == 1
        kinds.append(candidates[0])
    assert 15 < sum(kinds) < 45


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_labels_stay_shares(kind, examples):
    for alpha in (1e-3, 0.05, 1.0):
        change = Augmentation(**{kind: alpha})
        for seed in range(5):
            _, labels = mixed(change, examples, seed)
            assert np.isfinite(labels).all()
            assert labels.min() >= 0
            np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)


def test_variables_stay_out_of_a_strategy_and_its_graph(examples):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    change = Augmentation(mixup=0.17, cutmix=0.23)
    with strategy.scope():

        @tf.function
        def apply():
            return change.batch(*examples, CLASSES, (3, 9))

        inside = apply()
    assert not apply.get_concrete_function().variables
    expected = change.batch(*examples, CLASSES, (3, 9))
    np.testing.assert_array_equal(inside[0], expected[0])


@pytest.mark.parametrize(
    "setting", ["floatx", pytest.param("policy", marks=pytest.mark.slow)]
)
def test_other_precisions(setting, examples):
    picture = tf.constant(examples[0][0])

    def results():
        @tf.function
        def apply(seed):
            change = Augmentation("none", 0.3, mixup=0.5, cutmix=0.5)
            mixed = change.batch(*examples, CLASSES, seed)
            # Keras's own RandAugment fails with floatx float64.
            alone = picture
            if setting == "policy":
                alone = change.image(picture, 12, seed)
            return *mixed, alone

        return [apply(tf.constant([seed, 0])) for seed in range(10)]

    expected = results()
    before = keras.config.floatx(), keras.config.dtype_policy()
    if setting == "floatx":
        keras.config.set_floatx("float64")
    else:
        keras.config.set_dtype_policy("mixed_float16")
    try:
        found = results()
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            if setting == "policy":
                np.testing.assert_array_equal(a, b)
