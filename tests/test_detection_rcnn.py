"""Faster and Mask R-CNN: against torchvision, in training, saved, counted."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from detection_cases import SHAPE
from detection_cases import TARGETS
from detection_cases import check_detections
from detection_cases import golden
from detection_cases import images
from detection_cases import mmdet_rule
from detection_cases import pad_objects
from detection_cases import randomize
from detection_cases import tiny_backbone

from eca_keras.applications import stage_outputs
from eca_keras.applications.detection import FasterRCNN
from eca_keras.applications.detection import MaskRCNN
from eca_keras.applications.detection import losses
from eca_keras.applications.detection import masks
from eca_keras.applications.detection import paste_masks
from eca_keras.applications.detection import proposals
from eca_keras.profiling import layer_costs
from eca_keras.profiling.counts import profile

BOTH = pytest.mark.parametrize("kind", [FasterRCNN, MaskRCNN])


def whole_masks(boxes, shape=SHAPE):
    """Masks of the size of the images: all of a box but a corner."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    x1, y1, x2, y2 = np.moveaxis(boxes, -1, 0)[..., None, None]
    inside = (x > x1) & (x < x2) & (y > y1) & (y < y2)
    corner = (x - x1 < (x2 - x1) / 2) & (y - y1 < (y2 - y1) / 2)
    return (inside & ~corner).astype("uint8")


WITH_MASKS = {**TARGETS, "masks": whole_masks(TARGETS["boxes"])}


def make(kind, **kwargs):
    arguments = {
        "num_classes": 3,
        "input_shape": SHAPE,
        "filters": 16,
        "units": 16,
        "anchor_sizes": (16, 32, 64, 128, 256),
        "train_proposals": 60,
        "proposals": 40,
        "anchor_samples": 32,
        "proposal_samples": 24,
        **kwargs,
    }
    return kind(tiny_backbone(), **arguments)


@pytest.fixture(scope="module", params=[FasterRCNN, MaskRCNN])
def trained(request):
    """A model, its weights before one step, and what the step logged."""
    keras.utils.set_random_seed(0)
    model = make(request.param)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
    before = {w.path: np.array(w) for w in model.weights}
    logs = model.train_on_batch(images(), WITH_MASKS, return_dict=True)
    return model, before, logs


@pytest.fixture(scope="module")
def torchvision():
    """Torchvision's answers, and our model with its weights."""
    case = golden("", file="mask_rcnn.npz")
    height, width = 128, 192
    model = MaskRCNN(
        tiny_backbone((8, 8, 16, 16)),
        num_classes=3,
        input_shape=(height, width, 3),
        filters=12,
        units=16,
        anchor_sizes=(16, 32, 64, 128, 256),
        train_proposals=200,
        proposals=200,
        # All there are: the losses depend on no draw.
        anchor_samples=100_000,
        proposal_samples=100_000,
        score_threshold=0.3,
    )
    weights = {
        name.removeprefix("weights/"): values
        for name, values in case.items()
        if name.startswith("weights/")
    }
    for weight in model.weights:
        weight.assign(weights.pop(weight.path))
    assert not weights
    pictures = case["colors"].repeat(8, axis=1).repeat(8, axis=2)
    return case, model, pictures, model(pictures)


def test_proposals_equal_torchvision(torchvision):
    case, model, _, outputs = torchvision
    boxes, kept = proposals.propose(
        model.anchors,
        outputs["objectness"],
        outputs["offsets"],
        case["sizes"],
        count=200,
    )
    for i in range(2):
        expected = case[f"proposals{i}"]
        assert 30 < len(expected) <= 200
        assert int(tf.reduce_sum(tf.cast(kept[i], tf.int32))) == len(expected)
        np.testing.assert_allclose(
            boxes[i, : len(expected)], expected, atol=0.01
        )
        assert np.all(boxes[i, len(expected) :] == 0)


def test_detections_and_masks_equal_torchvision(torchvision):
    case, model, _, outputs = torchvision
    found = model.detect(outputs, case["sizes"])
    for i in range(2):
        expected = {
            name: case[f"found/{name}{i}"]
            for name in ("boxes", "scores", "labels", "masks")
        }
        count = len(expected["scores"])
        assert 30 < count < 100
        assert found["count"][i] == count
        for name, tolerance in (("boxes", 0.01), ("scores", 1e-4)):
            np.testing.assert_allclose(
                found[name][i, :count], expected[name], atol=tolerance
            )
        np.testing.assert_array_equal(
            found["labels"][i, :count], expected["labels"]
        )
        np.testing.assert_allclose(
            found["masks"][i, :count:10], expected["masks"] / 65535, atol=1e-3
        )
        assert np.all(found["masks"][i, count:] == 0)


def test_losses_equal_torchvision(torchvision, monkeypatch):
    case, model, _, outputs = torchvision
    # Where torchvision takes a pixel to be.
    monkeypatch.setattr(masks, "PIXEL_CENTER", 0.0)
    targets = pad_objects(
        [case["boxes0"], case["boxes1"]],
        [case["labels0"], case["labels1"]],
        max_objects=4,
    )
    stored = [np.unpackbits(case[f"masks{i}"], axis=-1) for i in (0, 1)]
    targets["masks"] = np.zeros((2, 4, 128, 192), "uint8")
    for i, ellipses in enumerate(stored):
        targets["masks"][i, : len(ellipses)] = ellipses
    targets["sizes"] = case["sizes"]
    loss = model.compute_loss(y=targets, y_pred=outputs)
    logs = model.get_metrics_result()
    names = {
        "objectness_loss": "loss_objectness",
        "rpn_box_loss": "loss_rpn_box_reg",
        "class_loss": "loss_classifier",
        "box_loss": "loss_box_reg",
        "mask_loss": "loss_mask",
    }
    for name, theirs in names.items():
        # Torchvision reads more points of a mask in large regions.
        tolerance = 1e-3 if name == "mask_loss" else 1e-5
        expected = float(case[f"losses/{theirs}"])
        assert float(logs[name]) == pytest.approx(expected, tolerance), name
    assert float(loss) == pytest.approx(
        sum(float(logs[name]) for name in names), 1e-6
    )


def test_a_step_changes_what_trains_and_nothing_else(trained):
    model, before, logs = trained
    stages = stage_outputs(model.backbone)
    frozen = {
        w.path
        for layer in keras.Model(model.backbone.input, stages["C2"]).layers
        for w in layer.weights
    }
    fixed = {p for p in before if "/moving_" in p}
    assert (len(frozen), len(fixed)) == (16, 24)
    for weight in model.weights:
        if weight.path in frozen | fixed:
            np.testing.assert_array_equal(weight, before[weight.path])
    names = {w.path for w in model.trainable_weights}
    assert names == set(before) - frozen - fixed
    assert set(logs) == {"loss", *model.LOSSES}
    parts = [logs[name] for name in model.LOSSES]
    assert logs["loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert min(parts) > 0
    # Two classes for anchors and four for regions, of which nothing is known.
    assert logs["objectness_loss"] == pytest.approx(np.log(2), rel=0.05)
    assert logs["class_loss"] == pytest.approx(np.log(4), rel=0.2)


@BOTH
def test_every_trainable_variable_gets_a_gradient(kind):
    # All anchors: on images so small, none else learns from P5.
    model = make(kind, anchor_samples=10_000)
    randomize(model)
    with tf.GradientTape() as tape:
        outputs = model(images(), training=True)
        loss = model.compute_loss(y=WITH_MASKS, y_pred=outputs)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.path
        gradient = tf.convert_to_tensor(gradient)
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


@pytest.mark.slow
def test_only_the_batch_is_unknown():
    model = make(MaskRCNN, max_detections=9)
    found = (
        tf.function(lambda x: model.detect(model(x)))
        .get_concrete_function(tf.TensorSpec((None, *SHAPE)))
        .structured_outputs
    )
    assert {name: tuple(x.shape) for name, x in found.items()} == {
        "boxes": (None, 9, 4),
        "scores": (None, 9),
        "labels": (None, 9),
        "count": (None,),
        "masks": (None, 9, 28, 28),
    }


def test_training_draws_and_evaluation_does_not():
    model = make(FasterRCNN)
    randomize(model)
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    steps = [model.train_on_batch(images(), TARGETS) for _ in range(2)]
    assert steps[0][0] != steps[1][0]
    once, twice = (
        model.evaluate(images(), TARGETS, verbose=0) for _ in range(2)
    )
    assert once == twice


def test_sizes_keep_proposals_and_losses_out_of_the_padding():
    model = make(FasterRCNN, score_threshold=0.05)
    randomize(model)
    sizes = np.array([[72, 100], [30, 40], [72, 50]])
    inputs = {"images": images(), "sizes": sizes}
    model.compile(run_eagerly=True)
    found = model.predict(inputs, verbose=0)
    assert found["boxes"].shape == (3, 100, 4)
    assert found["count"].min() > 2
    check_detections(found, sizes, threshold=0.05)
    whole = model.predict(images(), verbose=0)
    assert whole["boxes"][1].max() > 40
    np.testing.assert_array_equal(whole["boxes"][0], found["boxes"][0])
    # The losses, too: other proposals.
    logs = [
        model.evaluate(x, TARGETS, verbose=0, return_dict=True)
        for x in (images(), inputs)
    ]
    assert logs[0]["objectness_loss"] == logs[1]["objectness_loss"]
    assert logs[0]["class_loss"] != logs[1]["class_loss"]


def test_sample_weights_and_padding():
    model = make(MaskRCNN)
    randomize(model)
    model.compile(run_eagerly=True)

    def loss(y, weights=None):
        logs = model.evaluate(
            images(), y, sample_weight=weights, verbose=0, return_dict=True
        )
        return logs["loss"]

    alone = [loss(WITH_MASKS, np.eye(3)[i]) for i in range(3)]
    assert sum(alone) == pytest.approx(loss(WITH_MASKS), rel=1e-5)
    assert min(alone) > 0


def test_an_image_without_objects_has_finite_losses():
    model = make(MaskRCNN)
    randomize(model)
    model.compile("sgd", run_eagerly=True)
    empty = {
        "boxes": np.zeros((3, 2, 4), "float32"),
        "labels": np.full((3, 2), -1),
        "masks": np.zeros((3, 2, 8, 8), "bool"),
    }
    logs = model.train_on_batch(images(), empty, return_dict=True)
    assert np.isfinite(logs["loss"])
    assert logs["rpn_box_loss"] == logs["box_loss"] == logs["mask_loss"] == 0
    assert logs["class_loss"] > 0
    assert all(np.isfinite(w).all() for w in model.trainable_weights)


def test_mean_over_counts_boxes_not_images():
    values = tf.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    counted = tf.constant([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    parts = losses.mean_over(values, counted, counted)
    assert float(tf.reduce_mean(parts)) == (1 + 2 + 3 + 4) / 4
    assert np.all(losses.mean_over(values, values * 0, values * 0) == 0)


def test_mask_targets_of_small_masks_and_of_whole_ones():
    frame = np.array([[[10, 20, 50, 60]]], "float32")
    whole = np.zeros((1, 1, 72, 100), "uint8")
    whole[0, 0, 20:40, 10:50] = 1  # its upper half
    small = np.zeros((1, 1, 28, 28), "bool")
    small[0, 0, :14] = True
    regions = tf.constant([[[10, 20, 50, 60], [0, 10, 40, 50]]], tf.float32)
    matches = tf.zeros((1, 2), tf.int32)
    image = np.array([[[0, 0, 100, 72]]], "float32")
    found = [
        masks.mask_targets(tf.constant(m), f, regions, matches, 8)[0].numpy()
        for m, f in ((whole, image), (small, frame))
    ]
    for same, moved in found:
        # The object's own box: bins of 5 pixels.
        np.testing.assert_allclose(same[:3], 1)
        np.testing.assert_allclose(same[5:], 0)
        # Ten pixels to the left and up: two bins.
        assert np.all(moved[:, :2] == 0)
        assert np.all(moved[:1] == 0)
        np.testing.assert_allclose(moved[3:5, 3:], 1)
        np.testing.assert_allclose(moved[7:], 0)
    np.testing.assert_allclose(found[0][0], found[1][0], atol=0.05)


def test_small_and_whole_masks_have_almost_the_same_loss():
    model = make(MaskRCNN)
    randomize(model)
    model.compile(run_eagerly=True)
    small = np.zeros((3, 3, 56, 56), "uint8")
    small[:] = 1
    small[:, :, :28, :28] = 0
    found = [
        model.evaluate(
            images(),
            {**TARGETS, "masks": array},
            verbose=0,
            return_dict=True,
        )["mask_loss"]
        for array in (WITH_MASKS["masks"], small, small * 0)
    ]
    assert found[1] == pytest.approx(found[0], rel=0.01)
    assert found[2] != pytest.approx(found[0], rel=0.03)


def test_pasted_masks_equal_torch():
    case = golden("paste", file="mask_rcnn.npz")
    expected = case["pasted"]
    found = paste_masks(case["masks"], case["boxes"], expected.shape[1:])
    assert expected.max() > 0.9
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_pasted_masks_at_the_edge():
    ones = np.ones((4, 28, 28))
    boxes = [[0, 0, 0, 0], [-9, -9, 3, 2], [90, 90, 99, 99], [2, 1, 30, 30]]
    found = paste_masks(ones, boxes, (5, 6))
    assert found.sum(axis=(1, 2)).tolist() == [0, 6, 0, 16]
    assert paste_masks(ones[:0], np.zeros((0, 4)), (5, 6)).shape == (0, 5, 6)


def test_a_pasted_mask_learned_from_an_image_lies_where_it_was():
    """What is read for training and then pasted has not moved."""
    box = np.array([[[7, 9, 63, 65]]], "float32")  # two pixels a bin
    whole = np.zeros((1, 1, 72, 100), "uint8")
    whole[0, 0, 20:40, 15:43] = 1
    image = np.array([[[0, 0, 100, 72]]], "float32")
    matches = tf.zeros((1, 1), tf.int32)
    read = masks.mask_targets(
        tf.constant(whole), image, tf.constant(box), matches, 28
    )
    pasted = paste_masks(read[0], box[0], (72, 100))[0]
    y, x = np.mgrid[:72, :100]
    for axis in (x, y):
        center = (axis * pasted).sum() / pasted.sum()
        expected = (axis * whole).sum() / whole.sum()
        assert center == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
@BOTH
def test_round_trip_with_everything_else_than_the_defaults(kind, tmp_path):
    keras.utils.set_random_seed(1)
    model = make(
        kind,
        num_classes=5,
        frozen_stages=2,
        frozen_batchnorm=False,
        filters=8,
        units=12,
        score_threshold=0.01,
        iou_threshold=0.4,
        max_detections=7,
        name="shapes",
    )
    model.compile(keras.optimizers.Adam(0.003), run_eagerly=True)
    model.train_on_batch(images(), WITH_MASKS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is kind
    names = set(model.get_config()) - {"backbone", "input_shape"}
    assert len(names) == 14
    for name in names:
        assert getattr(loaded, name) == getattr(model, name), name
    paths = [[w.path for w in m.trainable_weights] for m in (model, loaded)]
    assert paths[0] == paths[1]
    for m in (model, loaded):
        assert float(m.optimizer.learning_rate) == pytest.approx(0.003)
        assert int(m.optimizer.iterations) == 1
    old, new = (m.predict(images(), verbose=0) for m in (model, loaded))
    assert old["count"].min() > 0
    for name, values in old.items():
        np.testing.assert_array_equal(values, new[name])
    # With the optimizer's state and the same draws: the second step is equal.
    old, new = (
        m.train_on_batch(images(), WITH_MASKS, return_dict=True)
        for m in (model, loaded)
    )
    assert old == new
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "ECAResNet20"}, "C2, C3, C4 and C5"),
        ({"kernel_size": "paper"}, "only apply to a backbone .* by name"),
        (
            {"backbone": "ECAResNet18", "kernel_size": "paper"},
            "a backbone that was released for MaskRCNN",
        ),
        ({"num_classes": 0}, "`num_classes` must be a positive integer"),
        ({"filters": 1.5}, "`filters` must be .* filters=1.5"),
        ({"units": 0}, "`units` must be .* units=0"),
        ({"train_proposals": 0}, "`train_proposals` must be a positive"),
        ({"proposals": 0}, "`proposals` must be a positive integer"),
        ({"anchor_samples": 0}, "`anchor_samples` must be a positive"),
        ({"proposal_samples": -1}, "`proposal_samples` must be a positive"),
        ({"max_detections": 0}, "`max_detections` must be a positive integer"),
        ({"anchor_sizes": (32, 64)}, "one sequence per stride"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MaskRCNN(
            **{"backbone": tiny_backbone(), "input_shape": SHAPE, **arguments}
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "backbone", "trainable", "parameters", "giga"),
    [
        (FasterRCNN, "ECAResNet50", 41_531_877, 41_757_236, 207.18),
        (FasterRCNN, "ECAResNet101", 60_524_088, 60_749_441, 283.32),
        (MaskRCNN, "ECAResNet50", 44_175_424, 44_400_777, 275.69),
        (MaskRCNN, "ECAResNet101", 63_167_625, 63_392_978, 351.83),
    ],
)
def test_published_sizes(
    kind, backbone, trainable, parameters, giga, monkeypatch
):
    model = kind(backbone, kernel_size="paper", input_shape=(800, 1280, 3))
    counted = profile(model)
    assert counted.trainable_parameters == trainable
    moving = sum(
        layer_costs.size(w.shape) for w in model.weights if "/moving_" in w.path
    )
    assert counted.parameters - moving == parameters
    assert counted.uncounted == ()
    monkeypatch.setattr(layer_costs, "rule", mmdet_rule)
    macs = profile(model).macs + 1000 * profile(model.box_head).macs
    if kind is MaskRCNN:
        macs += 100 * profile(model.mask_head).macs
    assert round(macs / 1e9, 2) == giga


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "policy"), [(MaskRCNN, "float32"), (FasterRCNN, "mixed_bfloat16")]
)
def test_fit_evaluate_and_predict_under_xla(kind, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = make(kind, score_threshold=0.2)
    finally:
        keras.config.set_dtype_policy("float32")
    randomize(model)
    outputs = model(images())
    assert outputs["objectness"].dtype == outputs["offsets"].dtype == tf.float32
    assert outputs["P2"].dtype == policy.removeprefix("mixed_")
    results = []
    for jit_compile in (True, False):
        model.compile("sgd", jit_compile=jit_compile)
        logs = model.evaluate(images(), WITH_MASKS, verbose=0, return_dict=True)
        results.append((logs, model.predict(images(), verbose=0)))
    (xla_logs, xla_found), (logs, found) = results
    if policy == "float32":
        assert xla_logs == pytest.approx(logs, rel=1e-4)
        np.testing.assert_array_equal(xla_found["count"], found["count"])
    assert all(values.dtype != tf.bfloat16 for values in found.values())
    model.compile("sgd", jit_compile=True)
    history = model.fit(images(), WITH_MASKS, verbose=0, batch_size=3)
    assert np.isfinite(history.history["loss"]).all()
