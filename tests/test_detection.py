"""The parts of the detectors, against torchvision or NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from detection_cases import golden
from detection_cases import tiny_backbone

from eca_keras.applications.detection import anchors
from eca_keras.applications.detection import boxes
from eca_keras.applications.detection import fpn
from eca_keras.applications.detection import heads
from eca_keras.applications.detection import losses
from eca_keras.applications.detection import matching
from eca_keras.applications.detection import nms
from eca_keras.applications.detection import published
from eca_keras.applications.detection import roi_align
from eca_keras.applications.detection.fixed_norm import FixedBatchNormalization
from eca_keras.applications.detection.one_stage import OneStageDetector

STRIDES = (8, 16, 32, 64, 128)
SIZES = [anchors.octave_sizes(4 * stride) for stride in STRIDES]


def test_anchors_equal_torchvision():
    made = np.concatenate(anchors.make_anchors((128, 128), STRIDES, SIZES))
    np.testing.assert_array_equal(made, golden("retinanet")["anchors"])


def test_anchors_of_a_size_that_no_stride_divides():
    levels = anchors.make_anchors((100, 136), STRIDES, SIZES)
    assert [len(level) for level in levels] == [
        9 * n for n in (13 * 17, 7 * 9, 4 * 5, 2 * 3, 2)
    ]
    centers = levels[2].reshape(4, 5, 9, 4)[3, 2].reshape(9, 2, 2).mean(1)
    np.testing.assert_array_equal(centers, [[64, 96]] * 9)
    with pytest.raises(ValueError, match="one sequence per stride"):
        anchors.make_anchors((64, 64), STRIDES, SIZES[:2])


def test_box_coder_equals_torchvision():
    case = golden("coder")
    coder = boxes.BoxCoder((10, 10, 5, 5))
    encoded = coder.encode(case["objects"], case["anchors"])
    np.testing.assert_allclose(encoded, case["encoded"], atol=1e-4)
    decoded = coder.decode(case["offsets"], case["anchors"])
    np.testing.assert_allclose(decoded, case["decoded"], atol=1e-3)
    back = coder.decode(encoded, case["anchors"])
    np.testing.assert_allclose(back, case["objects"], atol=1e-3)


def test_box_coder_stays_finite():
    anchor = tf.constant([[10.0, 10.0, 20.0, 20.0]])
    decoded = boxes.BoxCoder().decode(tf.constant([[0, 0, 99.0, 99]]), anchor)
    np.testing.assert_allclose(decoded[0, 2] - decoded[0, 0], 625, rtol=1e-5)
    point = tf.constant([[15.0, 15.0, 15.0, 15.0]])
    assert np.isfinite(boxes.BoxCoder().encode(point, anchor)).all()


def test_clip_to_one_size_and_to_one_per_image():
    box = tf.constant([[[-5.0, 3.0, 50.0, 70.0]]] * 2)
    np.testing.assert_array_equal(
        boxes.clip(box, (60, 40)), [[[0, 3, 40, 60]]] * 2
    )
    np.testing.assert_array_equal(
        boxes.clip(box, [(60, 40), (20, 30)]),
        [[[0, 3, 40, 60]], [[0, 3, 30, 20]]],
    )


@pytest.mark.parametrize("low_quality", [False, True])
def test_matcher_equals_torchvision_with_ties(low_quality):
    case = golden("matcher")
    padding = [[0, 0, 48, 48]]  # would match, were it valid
    objects = np.concatenate([padding, case["objects"]])[None]
    valid = np.array([[False] + [True] * len(case["objects"])])
    matches = matching.match(
        case["anchors"],
        tf.constant(objects, tf.float32),
        tf.constant(valid),
        high=0.7,
        low=0.3,
        low_quality=low_quality,
    )
    expected = case[f"matches_{low_quality}"]
    expected = np.where(expected >= 0, expected + 1, expected)
    np.testing.assert_array_equal(matches[0], expected)


def test_an_object_without_area_and_an_image_without_objects_match_nothing():
    case = golden("matcher")
    objects = tf.constant([[[9.0, 9.0, 9.0, 9.0]]] * 2)
    matches = matching.match(
        case["anchors"],
        objects,
        tf.constant([[True], [False]]),
        high=0.5,
        low=0.4,
        low_quality=True,
    )
    assert np.all(matches == matching.BACKGROUND)


def test_sampler_counts_fractions_and_seeds():
    rng = np.random.default_rng(0)
    matches = rng.choice([3, -1, -2], size=(2, 400), p=[0.3, 0.5, 0.2])
    matches[1, 5:] = np.where(matches[1, 5:] >= 0, -1, matches[1, 5:])
    matches[1, :5] = 2  # few positives: background fills up
    matches = tf.constant(matches, tf.int32)
    drawn = [matching.sample(matches, 64, 0.25, seed=[1, s]) for s in (0, 0, 7)]
    for indices, positive, weights in drawn:
        taken = np.take_along_axis(matches.numpy(), indices.numpy(), axis=1)
        assert (taken >= 0).sum(axis=1).tolist() == [16, 5]
        np.testing.assert_array_equal(positive, taken >= 0)
        np.testing.assert_array_equal(positive[0], np.arange(64) < 16)
        assert not (taken == matching.IGNORED).any()
        assert np.all(weights == 1)
        assert all(len(set(row)) == 64 for row in indices.numpy())
    same, again, other = (set(indices[0].numpy()) for indices, _, _ in drawn)
    assert same == again != other


def test_sampler_leaves_entries_empty_and_takes_all_that_fit():
    matches = tf.constant([[-2, 4, -1, -2, -1, -2, 0, -2]])
    for seed in (None, [0, 1]):
        indices, positive, weights = matching.sample(matches, 6, 0.5, seed)
        assert weights.numpy().tolist() == [[1, 1, 1, 1, 0, 0]]
        assert set(indices[0, :2].numpy()) == {1, 6}
        assert set(indices[0, 2:4].numpy()) == {2, 4}
        assert positive.numpy().tolist() == [[True] * 2 + [False] * 4]


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_nms_keeps_what_torchvision_keeps(jit_compile):
    case = golden("nms")
    nothing = np.zeros_like(case["scores"])
    function = tf.function(
        lambda *tensors: nms.batched_nms(
            *tensors, iou_threshold=0.5, count=280
        ),
        jit_compile=jit_compile,
    )
    indices, kept = function(
        tf.constant(np.stack([case["boxes"]] * 2)),
        tf.constant(np.stack([case["scores"], nothing])),
        tf.constant(np.stack([case["groups"]] * 2)),
    )
    assert not kept[1].numpy().any()
    np.testing.assert_array_equal(indices[0][kept[0]], case["kept"])


def test_nms_keeps_a_box_at_the_origin_and_classes_apart():
    box = tf.constant([[[0.0, 0.0, 9.0, 9.0]] * 3])
    indices, kept = tf.function(nms.batched_nms)(
        box,
        tf.constant([[0.3, 0.9, 0.5]]),
        tf.constant([[0, 1, 1]]),
        iou_threshold=0.5,
        count=3,
    )
    assert indices[0][kept[0]].numpy().tolist() == [1, 0]


def _roi_align_case():
    case = golden("roi_align")
    maps = [case[f"map{i}"].transpose(0, 2, 3, 1) for i in range(4)]
    return case, [tf.constant(m) for m in maps], tf.constant(case["rois"])


@pytest.mark.parametrize("size", [7, 14])
def test_roi_align_and_its_gradient_equal_torchvision(size):
    case, maps, rois = _roi_align_case()
    with tf.GradientTape() as tape:
        tape.watch(maps)
        output = roi_align.roi_align(maps, rois, size)
        output = tf.reshape(output, (-1, size, size, 2))
        output = tf.transpose(output, (0, 3, 1, 2))
        weights = np.cos(np.arange(tf.size(output), dtype=np.float32))
        total = tf.reduce_sum(output * weights.reshape(output.shape))
    expected = case[f"output{size}"]
    np.testing.assert_allclose(output[:: size // 7], expected, atol=1e-4)
    for i, gradient in enumerate(tape.gradient(total, maps)):
        expected = case[f"gradient{size}_{i}"].transpose(0, 2, 3, 1)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(gradient, expected, atol=1e-4)


@pytest.mark.slow
def test_roi_align_under_xla_and_in_half_precision():
    _, maps, rois = _roi_align_case()
    eager = roi_align.roi_align(maps, rois, 7)
    compiled = tf.function(roi_align.roi_align, jit_compile=True)(maps, rois, 7)
    np.testing.assert_allclose(compiled, eager, atol=1e-4)
    half = roi_align.roi_align([tf.cast(m, tf.bfloat16) for m in maps], rois, 7)
    assert half.dtype == tf.bfloat16
    # 16 products, each rounded to 8 bits.
    assert np.abs(tf.cast(half, tf.float32) - eager).max() < 0.05


def test_levels_of_the_pyramid():
    sides = np.array([0, 1, 111.9, 112, 223.9, 224, 448, 4000], np.float32)
    rois = np.stack([sides * 0, sides * 0, sides, sides], axis=1)
    levels = roi_align.assign_levels(rois, 2, 5)
    assert levels.numpy().tolist() == [2, 2, 2, 3, 3, 4, 5, 5]


@pytest.mark.parametrize("kind", ["even", "odd"])
def test_pyramid_equals_torchvision(kind):
    case = golden("retinanet")
    stages = {
        name: case[f"{kind}/{name}"].transpose(0, 2, 3, 1)
        for name in ("C3", "C4", "C5")
    }
    inputs = {n: keras.Input(x.shape[1:], name=n) for n, x in stages.items()}
    pyramid = keras.Model(
        inputs, fpn.feature_pyramid(inputs, 8, extra="convolutions")
    )
    assert list(pyramid.output) == ["P3", "P4", "P5", "P6", "P7"]
    for weight in pyramid.weights:
        weight.assign(case[weight.path])
    for name, level in pyramid(stages).items():
        expected = case[f"{kind}/{name}"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(level, expected, atol=1e-3)


def test_pyramid_ends():
    x = keras.Input((9, 10, 4))
    assert list(fpn.feature_pyramid({"C5": x}, 4)) == ["P5"]
    pyramid = fpn.feature_pyramid({"C5": x}, 4, extra="pool")
    assert pyramid["P6"].shape == (None, 5, 5, 4)
    with pytest.raises(ValueError, match="`extra` must be .* extra='pol'"):
        fpn.feature_pyramid({"C5": x}, 4, extra="pol")


def test_focal_loss_by_hand():
    logits = np.array([-3.0, 0.5, 2.0, -1.0])
    targets = np.array([0.0, 0.0, 1.0, 1.0])
    p = 1 / (1 + np.exp(-logits))
    p = np.where(targets == 1, p, 1 - p)
    alpha = np.where(targets == 1, 0.3, 0.7)
    expected = -alpha * (1 - p) ** 3 * np.log(p)
    loss = losses.focal_loss(logits, targets, alpha=0.3, gamma=3.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_smooth_l1_by_hand():
    values = [0.05, -0.5, 2.0]
    np.testing.assert_allclose(
        losses.smooth_l1(values, [0.0] * 3), np.abs(values)
    )
    loss = losses.smooth_l1(values, [0.0] * 3, beta=0.5)
    np.testing.assert_allclose(loss, [0.0025, 0.25, 1.75], rtol=1e-6)


def test_frozen_batchnorm_survives_training():
    layer = FixedBatchNormalization(momentum=0.5)
    model = keras.Sequential([keras.Input((3,)), layer])
    layer.moving_mean.assign([1.0, -2.0, 0.5])
    before = [np.array(v) for v in (layer.moving_mean, layer.moving_variance)]
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(3, 2, (8, 3))
    answer = model.predict(x, verbose=0)
    np.testing.assert_array_equal(model(x, training=True), answer)
    model.fit(x, x, verbose=0)
    np.testing.assert_array_equal(layer.moving_mean, before[0])
    np.testing.assert_array_equal(layer.moving_variance, before[1])
    assert len(layer.trainable_variables) == 2
    assert np.abs(layer.beta).min() > 0


def test_released_kernels():
    kernels = published.kernel_sizes("RetinaNet", "ECAResNet50")
    assert kernels == (3, 3, 7, 7)
    with pytest.raises(ValueError, match="one of .*'ECAResNet101'.*ResNet18"):
        published.kernel_sizes("RetinaNet", "ECAResNet18")


@keras.saving.register_keras_serializable("tests")
class Centers(OneStageDetector):
    """A detector without anchors, as FCOS: positions are matched by overlap.

    It is here to show what a new detector has to define.
    """

    NAMES = ("Centers", "centers")
    LOSSES = ("class_loss", "box_loss")
    EXTRA = "convolutions"
    RATIOS = (1.0,)

    def outputs_of(self, pyramid, num_classes, filters, **options):
        hidden = (filters, options["depth"], "he_normal")
        return {
            "logits": heads.subnet(pyramid, "class", hidden, 1, num_classes),
            "offsets": heads.subnet(pyramid, "box", hidden, 1, 4),
        }

    def losses_of(self, objects, outputs, training):
        positions = tf.concat(self.anchors, axis=0)
        matches = matching.match(
            positions,
            objects["boxes"],
            objects["labels"] >= 0,
            high=0.4,
            low=0.4,
            low_quality=True,
        )
        labels = matching.take(objects["labels"], matches)
        classes = tf.one_hot(
            tf.where(matches >= 0, labels, -1), self.num_classes
        )
        boxes = matching.take(objects["boxes"], matches)
        offsets = self.coder.encode(boxes, positions)
        found = tf.cast(matches >= 0, tf.float32)
        distance = losses.smooth_l1(outputs["offsets"], offsets)
        distance = tf.reduce_sum(distance, -1)
        return {
            "class_loss": tf.reduce_sum(
                losses.focal_loss(outputs["logits"], classes), axis=(1, 2)
            ),
            "box_loss": losses.mean_over(distance, found, found),
        }


@pytest.mark.slow
def test_a_new_detector_is_its_heads_and_its_loss(tmp_path):
    model = Centers(
        tiny_backbone(),
        num_classes=3,
        input_shape=(64, 64, 3),
        filters=8,
        depth=1,
    )
    assert [len(level) for level in model.anchors] == [64, 16, 4, 1, 1]
    model.compile(keras.optimizers.SGD(1e-3))
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3))
    targets = {
        "boxes": np.array([[[5, 5, 40, 50]], [[-1, -1, -1, -1]]], "float32"),
        "labels": np.array([[1], [-1]]),
    }
    history = model.fit(images, targets, batch_size=2, verbose=0).history
    assert set(history) == {"loss", *Centers.LOSSES}
    assert all(np.isfinite(values).all() for values in history.values())
    before = model.predict(images, verbose=0)
    assert before["boxes"].shape == (2, 100, 4)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert copy.get_config() == model.get_config()
    for name, values in copy.predict(images, verbose=0).items():
        np.testing.assert_array_equal(values, before[name])
