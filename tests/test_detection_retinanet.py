"""RetinaNet as a model: against torchvision, in training, saved, counted."""

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
from eca_keras.applications.detection import RetinaNet
from eca_keras.applications.detection import fpn
from eca_keras.applications.detection import heads
from eca_keras.applications.detection.fixed_norm import FixedBatchNormalization
from eca_keras.profiling import layer_costs
from eca_keras.profiling.counts import profile

CONFIG = (
    "name",
    "num_classes",
    "frozen_stages",
    "frozen_batchnorm",
    "filters",
    "anchor_sizes",
    "score_threshold",
    "iou_threshold",
    "max_detections",
    "kernel_size",
    "attention",
)


def make(**kwargs):
    arguments = {
        "num_classes": 3,
        "input_shape": SHAPE,
        "filters": 16,
        "anchor_sizes": (16, 32, 64, 128, 256),
        **kwargs,
    }
    return RetinaNet(tiny_backbone(), **arguments)


@pytest.fixture(scope="module")
def trained():
    """A model, its weights before one step, and what the step logged."""
    keras.utils.set_random_seed(0)
    model = make()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), run_eagerly=True)
    before = {w.path: np.array(w) for w in model.weights}
    logs = model.train_on_batch(images(), TARGETS, return_dict=True)
    return model, before, logs


def test_heads_losses_and_detections_equal_torchvision():
    case = golden("retinanet")
    stages = {
        name: case[f"even/{name}"].transpose(0, 2, 3, 1)
        for name in ("C3", "C4", "C5")
    }
    inputs = {n: keras.Input(x.shape[1:], name=n) for n, x in stages.items()}
    pyramid = fpn.feature_pyramid(inputs, 8, extra="convolutions")
    logits, offsets = heads.retina_head(pyramid, 9, 3, filters=8)
    graph = keras.Model(inputs, {"logits": logits, "offsets": offsets})
    for weight in graph.weights:
        weight.assign(case[weight.path])
    outputs = graph(stages)
    for name, stored in (("logits", "logits"), ("offsets", "regressions")):
        np.testing.assert_allclose(
            outputs[name][:, ::11], case[stored], atol=1e-4
        )

    model = make(
        input_shape=(128, 128, 3), anchor_sizes=(32, 64, 128, 256, 512)
    )
    targets = pad_objects(
        [case["objects0"], case["objects1"]],
        [case["labels0"], case["labels1"]],
        max_objects=5,
    )
    loss = float(model.compute_loss(y=targets, y_pred=outputs))
    logs = {n: float(v) for n, v in model.get_metrics_result().items()}
    assert logs["class_loss"] == pytest.approx(float(case["class_loss"]), 1e-5)
    assert logs["box_loss"] == pytest.approx(float(case["box_loss"]), 1e-5)
    assert loss == pytest.approx(case["class_loss"] + case["box_loss"], 1e-5)

    found = model.detect(outputs, case["sizes"])
    for i in range(2):
        count = len(case[f"scores_{i}"])
        assert count > 50
        assert found["count"][i] == count
        for name, tolerance in (("boxes", 0.01), ("scores", 1e-4)):
            expected = case[f"{name}_{i}"]
            np.testing.assert_allclose(
                found[name][i, :count], expected, atol=tolerance
            )
        np.testing.assert_array_equal(
            found["labels"][i, :count], case[f"labels_{i}"]
        )


def test_the_first_class_loss_is_small(trained):
    model, _, logs = trained
    assert 0.1 < logs["class_loss"] < 3
    assert logs["loss"] == pytest.approx(logs["class_loss"] + logs["box_loss"])
    scores = tf.sigmoid(make()(images())["logits"])
    assert float(tf.reduce_mean(scores)) == pytest.approx(0.01, rel=0.1)


def test_a_step_changes_what_trains_and_nothing_else(trained):
    model, before, _ = trained
    stages = stage_outputs(model.backbone)
    frozen = {
        w.path
        for layer in keras.Model(model.backbone.input, stages["C2"]).layers
        for w in layer.weights
    }
    fixed = {p for p in before if "/moving_" in p}
    assert len(frozen) == 16
    assert len(fixed) == 2 * 12
    for weight in model.weights:
        if weight.path in frozen | fixed:
            np.testing.assert_array_equal(weight, before[weight.path])
    names = {w.path for w in model.trainable_weights}
    assert names == set(before) - frozen - fixed


def test_every_trainable_variable_gets_a_gradient():
    model = make()
    randomize(model)  # the last level of a new head is almost constant
    with tf.GradientTape() as tape:
        outputs = model(images(), training=True)
        loss = model.compute_loss(y=TARGETS, y_pred=outputs)
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path
        assert np.abs(gradient).max() > 0, variable.path


def test_frozen_stages_and_statistics():
    counts = [
        len(make(frozen_stages=n).backbone.trainable_weights)
        for n in (0, 1, 3, 4)
    ]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4
    assert counts[3] == 0
    free = make(frozen_batchnorm=False, frozen_stages=0)
    assert len(free.backbone.trainable_weights) == counts[0]
    kinds = {type(layer) for layer in free.backbone.layers}
    assert FixedBatchNormalization not in kinds
    free.compile("sgd", run_eagerly=True)
    norm = free.backbone.get_layer("conv5_block1_2_bn")
    before = np.array(norm.moving_mean)
    free.train_on_batch(images(), TARGETS)
    assert np.abs(norm.moving_mean - before).min() > 0


def test_weights_of_the_backbone_are_copied():
    backbone = tiny_backbone(kind="se")
    randomize(backbone)
    before = backbone.get_weights()
    model = RetinaNet(backbone, num_classes=3, input_shape=SHAPE, filters=16)
    expected = keras.Model(backbone.input, stage_outputs(backbone))(images())
    found = model.backbone(images())
    for name, stage in expected.items():
        np.testing.assert_allclose(found[name], stage, atol=1e-5)
    model.compile("sgd", run_eagerly=True)
    model.train_on_batch(images(), TARGETS)
    for old, new in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert all(layer.trainable for layer in backbone.layers)


def test_predictions_lie_within_their_images():
    model = make(score_threshold=0.2, max_detections=20, iou_threshold=0.3)
    randomize(model)
    sizes = np.array([[72, 100], [30, 40], [72, 50]])
    inputs = {"images": images(), "sizes": sizes}
    model.compile(run_eagerly=True)
    found = model.predict(inputs, verbose=0)
    assert found["boxes"].shape == (3, 20, 4)
    assert found["count"].min() > 2
    check_detections(found, sizes, threshold=0.2)
    whole = model.predict(images(), verbose=0)
    assert whole["boxes"][1].max() > 40
    np.testing.assert_array_equal(whole["boxes"][0], found["boxes"][0])


@pytest.mark.slow
def test_round_trip_with_everything_else_than_the_defaults(tmp_path):
    keras.utils.set_random_seed(1)
    model = make(
        num_classes=5,
        frozen_stages=2,
        frozen_batchnorm=False,
        head_initializer=keras.initializers.HeNormal(seed=None),
        score_threshold=0.01,
        iou_threshold=0.4,
        max_detections=7,
        name="shapes",
    )
    model.compile(keras.optimizers.Adam(0.003), run_eagerly=True)
    model.train_on_batch(images(), TARGETS)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded) is RetinaNet
    for name in CONFIG:
        assert getattr(loaded, name) == getattr(model, name), name
    assert isinstance(loaded.head_initializer, keras.initializers.HeNormal)
    kernels = [model.get_layer(f"class_{i}").kernel for i in (1, 2)]
    assert np.std(kernels[0]) > 0.05
    assert np.abs(kernels[0] - kernels[1]).max() > 0.05
    paths = [[w.path for w in m.trainable_weights] for m in (model, loaded)]
    assert paths[0] == paths[1]
    for m in (model, loaded):
        assert float(m.optimizer.learning_rate) == pytest.approx(0.003)
        assert int(m.optimizer.iterations) == 1
    old, new = (m.predict(images(), verbose=0) for m in (model, loaded))
    for name, values in old.items():
        np.testing.assert_array_equal(values, new[name])
    # The state of the optimizer, too: the second step is the same.
    old, new = (
        m.train_on_batch(images(), TARGETS, return_dict=True)
        for m in (model, loaded)
    )
    assert old == new
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_sample_weights_and_padding():
    model = make()
    randomize(model)
    model.compile(run_eagerly=True)

    def loss(y, weights=None):
        logs = model.evaluate(
            images(), y, sample_weight=weights, verbose=0, return_dict=True
        )
        return logs["loss"]

    more = {
        "boxes": np.pad(TARGETS["boxes"], [(0, 0), (0, 4), (0, 0)]),
        "labels": np.pad(
            TARGETS["labels"], [(0, 0), (0, 4)], constant_values=-1
        ),
    }
    assert loss(more) == pytest.approx(loss(TARGETS), rel=1e-6)
    alone = [loss(TARGETS, np.eye(3)[i]) for i in range(3)]
    assert sum(alone) == pytest.approx(loss(TARGETS), rel=1e-5)
    assert min(alone) > 0


@pytest.mark.slow
def test_mixed_precision_has_float32_boxes():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = make()
    finally:
        keras.config.set_dtype_policy("float32")
    outputs = model(images())
    assert outputs["logits"].dtype == outputs["offsets"].dtype == tf.float32
    assert model.get_layer("class_1").compute_dtype == "bfloat16"
    model.compile("sgd", run_eagerly=True)
    assert np.isfinite(model.train_on_batch(images(), TARGETS)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "ResNet50"}, "one of .*'ECAResNet50'.*='ResNet50'"),
        ({"backbone": "ECAResNet20"}, "C3, C4 and C5"),
        ({"kernel_size": "paper"}, "only apply to a backbone .* by name"),
        ({"attention": None}, "only apply to a backbone .* attention=None"),
        (
            {"backbone": "ECAResNet18", "kernel_size": "paper"},
            "a backbone that was released for RetinaNet",
        ),
        ({"num_classes": 0}, "`num_classes` must be a positive integer"),
        ({"filters": 1.5}, "`filters` must be .* filters=1.5"),
        ({"max_detections": 0}, "`max_detections` must be a positive integer"),
        ({"frozen_stages": 5}, "an integer from 0 to 4.*frozen_stages=5"),
        ({"input_shape": (None, 64, 3)}, "three positive integers"),
        ({"anchor_sizes": (32, 64)}, "one sequence per stride"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        RetinaNet(
            **{"backbone": tiny_backbone(), "input_shape": SHAPE, **arguments}
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "trainable", "parameters", "giga"),
    [
        ("ECAResNet50", 37_743_423, 37_968_776, 239.43),
        ("ECAResNet101", 56_735_624, 56_960_977, 315.57),
    ],
)
def test_published_sizes(backbone, trainable, parameters, giga, monkeypatch):
    model = RetinaNet(backbone, kernel_size="paper", input_shape=(800, 1280, 3))
    counted = profile(model)
    assert counted.trainable_parameters == trainable
    moving = sum(
        layer_costs.size(w.shape) for w in model.weights if "/moving_" in w.path
    )
    assert counted.parameters - moving == parameters
    assert counted.uncounted == ()
    monkeypatch.setattr(layer_costs, "rule", mmdet_rule)
    assert round(profile(model).macs / 1e9, 2) == giga


@pytest.mark.slow
def test_fit_evaluate_and_predict_under_xla():
    model = make(score_threshold=0.3)
    randomize(model)
    results = []
    for jit_compile in (True, False):
        model.compile("sgd", jit_compile=jit_compile)
        logs = model.evaluate(images(), TARGETS, verbose=0, return_dict=True)
        results.append((logs, model.predict(images(), verbose=0)))
    (xla_logs, xla_found), (logs, found) = results
    assert xla_logs == pytest.approx(logs, rel=1e-4)
    np.testing.assert_array_equal(xla_found["count"], found["count"])
    model.compile("sgd", jit_compile=True)
    history = model.fit(images(), TARGETS, verbose=0, batch_size=3)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["eca", "cbam", None])
def test_a_named_backbone_round_trips(attention, tmp_path):
    model = RetinaNet(
        "ECAResNet18",
        num_classes=2,
        input_shape=(64, 64, 3),
        filters=16,
        attention=attention,
    )
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert loaded.get_config()["backbone"] == "ECAResNet18"
    x = images(shape=(64, 64, 3))
    for name, values in model(x).items():
        np.testing.assert_array_equal(values, loaded(x)[name])
