"""Mask R-CNN beside torchvision's: weights, agreement, time and memory."""

import argparse
import dataclasses
import importlib.util
import re
import sys
import time

import detection_cases
import numpy as np
import pytest
import torch_writer

from benchmarks import detector_contest
from benchmarks import detector_pairs
from benchmarks import serving
from benchmarks import worker
from benchmarks.detectors import Detectors
from eca_keras.applications.detection import MaskRCNN
from eca_keras.applications.detection import RetinaNet
from eca_keras.errors import ComparisonFailed
from eca_keras.errors import InputError
from eca_keras.weights import CheckpointError
from eca_keras.weights.detectors import load_into_detector

with_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="compares with torchvision",
)
SMALL = {"image_size": (96, 128), "rounds": 2, "warmup": 1}

# What torchvision calls the layers of the heads.
MODULES = {
    "fpn_lateral2": "backbone.fpn.inner_blocks.0.0",
    "fpn_lateral3": "backbone.fpn.inner_blocks.1.0",
    "fpn_lateral4": "backbone.fpn.inner_blocks.2.0",
    "fpn_lateral5": "backbone.fpn.inner_blocks.3.0",
    "fpn_p2": "backbone.fpn.layer_blocks.0.0",
    "fpn_p3": "backbone.fpn.layer_blocks.1.0",
    "fpn_p4": "backbone.fpn.layer_blocks.2.0",
    "fpn_p5": "backbone.fpn.layer_blocks.3.0",
    "rpn_hidden": "rpn.head.conv.0.0",
    "rpn_objectness": "rpn.head.cls_logits",
    "rpn_offsets": "rpn.head.bbox_pred",
    "box_dense1": "roi_heads.box_head.fc6",
    "box_dense2": "roi_heads.box_head.fc7",
    "box_logits": "roi_heads.box_predictor.cls_score",
    "box_offsets": "roi_heads.box_predictor.bbox_pred",
    "mask_1": "roi_heads.mask_head.0.0",
    "mask_2": "roi_heads.mask_head.1.0",
    "mask_3": "roi_heads.mask_head.2.0",
    "mask_4": "roi_heads.mask_head.3.0",
    "mask_enlarge": "roi_heads.mask_predictor.conv5_mask",
    "mask_logits": "roi_heads.mask_predictor.mask_fcn_logits",
}
NORMS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def narrow(num_classes=3):
    return MaskRCNN(
        detection_cases.tiny_backbone(),
        num_classes=num_classes,
        input_shape=(64, 96, 3),
        filters=12,
        units=16,
    )


def torchvision_name(path):
    layer, leaf = path.split("/")[-2:]
    if layer in MODULES:
        return f"{MODULES[layer]}.{leaf.replace('kernel', 'weight')}"
    block = re.fullmatch(r"conv(\d)_block(\d)_(?:(\d)_)?(\w+)", layer)
    leaf = {"kernel": "weight", **NORMS}[leaf]
    if not block:  # the stem
        return f"backbone.body.{layer.removeprefix('conv1_')}1.{leaf}"
    stage, number, part, kind = block.groups()
    prefix = f"backbone.body.layer{int(stage) - 1}.{int(number) - 1}"
    if kind == "eca":
        return f"{prefix}.eca.conv.{leaf}"
    if part == "0":
        return f"{prefix}.downsample.{['conv', 'bn'].index(kind)}.{leaf}"
    return f"{prefix}.{kind}{part}.{leaf}"


def torch_layout(path, values):
    if path.endswith("box_dense1/kernel"):
        # PyTorch flattens (channels, rows, columns), Keras channels last.
        order = np.arange(values.shape[0]).reshape(7, 7, 12)
        return values.T[:, order.transpose(2, 0, 1).reshape(-1)]
    if values.ndim == 4:
        return values.transpose(3, 2, 0, 1)
    return values.T


def state_of(model):
    return {
        torchvision_name(weight.path): np.ascontiguousarray(
            torch_layout(weight.path, np.array(weight))
        )
        for weight in model.weights
    }


def test_weights_of_torchvision(tmp_path):
    model, other = narrow(), narrow()
    detection_cases.randomize(model)
    state = state_of(model)
    assert len(state) == len(model.weights)
    torch_writer.save(state, tmp_path / "detector.pth")
    load_into_detector(other, tmp_path / "detector.pth")
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_weights_of_a_training_script(tmp_path):
    model, other = narrow(), narrow()
    detection_cases.randomize(model)
    ema = {f"module.{name}": values for name, values in state_of(model).items()}
    saved = {
        "args": argparse.Namespace(lr=0.1),
        "model": state_of(other),
        "model_ema": {"n_averaged": np.array(3), **ema},
    }
    torch_writer.save(saved, tmp_path / "model_25.pth")
    load_into_detector(other, tmp_path / "model_25.pth", ema=True)
    for ours, theirs in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_a_classifier_is_no_detector(tmp_path):
    saved = {"layer1.0.conv1.weight": np.zeros((4, 4, 1, 1), "float32")}
    torch_writer.save(saved, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match="holds no backbone.body.layer1"):
        load_into_detector(narrow(), tmp_path / "resnet.pth")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda state: state.pop("rpn.head.cls_logits.bias"),
            "missing rpn.head.cls_logits.bias",
        ),
        (
            lambda state: state.update({"rpn.extra": np.zeros(3)}),
            "unexpected rpn.extra",
        ),
    ],
)
def test_other_weights_are_refused(change, sentence, tmp_path):
    model = narrow()
    state = state_of(model)
    change(state)
    torch_writer.save(state, tmp_path / "detector.pth")
    with pytest.raises(CheckpointError, match=sentence):
        load_into_detector(model, tmp_path / "detector.pth")


def test_other_detectors_are_refused(tmp_path):
    torch_writer.save(state_of(narrow()), tmp_path / "detector.pth")
    other = RetinaNet(
        detection_cases.tiny_backbone(),
        num_classes=3,
        input_shape=(64, 96, 3),
        filters=12,
    )
    with pytest.raises(InputError, match="`model` must be a MaskRCNN. Rec"):
        load_into_detector(other, tmp_path / "detector.pth")


def test_other_classes_are_refused(tmp_path):
    torch_writer.save(state_of(narrow()), tmp_path / "detector.pth")
    sentence = (
        r"roi_heads.box_predictor.cls_score.weight of shape \(4, 16\) for"
    )
    with pytest.raises(CheckpointError, match=sentence):
        load_into_detector(narrow(num_classes=7), tmp_path / "detector.pth")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"network": "ECAMobileNetV2"}, "`network` must be one of ECAResNet18"),
        ({"attentions": ()}, "`attentions` must be names that differ"),
        ({"attentions": ("eca", "eca")}, "`attentions` must be names that dif"),
        ({"attentions": ("se",)}, "`attentions` must be some of none, eca"),
        ({"image_size": (0, 64)}, "`image_size` must be two positive integers"),
        ({"image_size": (64,)}, "`image_size` must be two positive integers"),
        ({"rounds": 0}, "`rounds` must be a positive integer"),
        ({"warmup": 1.5}, "`warmup` must be a positive integer"),
        ({"threads": 0}, "`threads` must be a positive integer"),
        ({"torch_python": "/no/python"}, "a Python that has PyTorch and tor"),
    ],
)
def test_refusals(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        detector_contest.compare_detectors(**{**SMALL, **arguments})


def test_a_python_without_torch(tmp_path):
    python = tmp_path / "python"
    # Without the folder of installed packages.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    with pytest.raises(ValueError, match="has PyTorch and torchvision"):
        Detectors(torch_python=str(python)).run()


def process(code):
    """A worker whose server is a class in `code`."""
    folder = serving.__file__.rpartition("/")[0]
    start = f"import sys; sys.path.insert(0, {folder!r}); import serving\n"
    end = "\nserving.serve(Server())"
    return worker.Worker([sys.executable, "-c", start + code + end])


def test_a_process_answers_and_times_itself():
    code = """
import time
class Server:
    def add(self, a, b):
        print("not a reply")
        return {"sum": a + b}
    def time(self, seconds):
        return serving.timed(lambda: time.sleep(seconds))
"""
    with process(code) as other:
        assert other.ask("add", a=2, b=3) == {"sum": 5}
        step = worker.RemoteStep(other, {"seconds": 0.2})
        started = time.monotonic()
        wall, cpu = step.timed()
        # It has come to rest before the next one begins.
        assert time.monotonic() - started > 0.2 + serving.SPIN
        assert wall >= 0.2
        assert cpu < 0.1


def test_memory_is_that_of_the_process_alone():
    here = np.ones(40_000_000)  # 320 MB, which a process inherits as its peak
    code = """
class Server:
    def take(self, bytes):
        serving.block = bytearray(bytes)
        return self.give()
    def give(self):
        serving.block = None
        return {"bytes": serving.peak_memory()}
"""
    with process(code) as other:
        before = other.ask("give")["bytes"]
        after = other.ask("take", bytes=100_000_000)["bytes"]
        again = other.ask("give")["bytes"]
    assert before < here.nbytes / 4
    assert 95e6 < after - before < 110e6
    assert again == after  # the most there was, not what there is


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no more')", "early: RuntimeError: no more"),
        (
            "import os; os.kill(os.getpid(), 9)",
            "early: it got the signal SIGKI",
        ),
        ("sys.exit()", "early: no reason given"),
    ],
)
def test_a_process_that_ends_says_why(code, reason):
    with process(code) as other, pytest.raises(ComparisonFailed, match=reason):
        other.ask("time")


def objects(count=100):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 400, (1, count, 2))
    return {
        "boxes": np.concatenate([corners, corners + 50], axis=-1),
        "scores": np.sort(rng.uniform(0.1, 1, (1, count)))[:, ::-1],
        "labels": rng.integers(0, 80, (1, count)),
        "masks": rng.uniform(size=(1, count, 28, 28)),
        "count": np.array([count]),
    }


def same(ours, theirs):
    return detector_pairs._same(ours, theirs, threshold=0.05)


def changed(found, name, change):
    values = found[name].astype("float64")
    values[0, :5] += change
    return {**found, name: values}


def test_the_same_objects():
    found = objects()
    facts = same(changed(found, "boxes", 0.014), found)
    assert facts["detections"] == 100
    assert facts["box_difference"] == pytest.approx(0.014)
    assert facts["score_difference"] == facts["mask_difference"] == 0
    # One object more, in whatever place, is a tie; more are not.
    facts = same(changed(found, "labels", [90, 0, 0, 0, 0]), found)
    assert facts["detections"] == 99


@pytest.mark.parametrize(
    ("name", "change"),
    [("boxes", 0.016), ("scores", 6e-4), ("labels", 1), ("masks", 6e-3)],
)
def test_other_objects_are_refused(name, change):
    found = objects()
    with pytest.raises(ComparisonFailed, match="95 of 100 here and 100 th"):
        same(changed(found, name, change), found)


def test_nothing_found_proves_nothing():
    nothing = {**objects(), "count": np.array([0])}
    with pytest.raises(ComparisonFailed, match="0 of 0 here and 0 there are"):
        same(nothing, nothing)


@pytest.fixture(scope="module")
def rows():
    return detector_contest.compare_detectors(
        "ECAResNet18", kernel_size=5, **SMALL
    )


@with_torchvision
@pytest.mark.slow
def test_the_rows(rows):
    names = [(row.library, row.attention) for row in rows]
    assert names == [
        ("eca-keras", "none"),
        ("eca-keras", "eca"),
        ("torchvision", "none"),
        ("torchvision", "eca"),
    ]
    assert all(row.detections >= 98 for row in rows)
    # Measured 5e-4, 3e-5 and 8e-5 at most.
    assert max(row.box_difference for row in rows) < 5e-3
    assert max(row.score_difference for row in rows) < 3e-4
    assert max(row.mask_difference for row in rows) < 8e-4
    assert rows[1].parameters == rows[0].parameters + 8 * 5
    assert [row.parameters for row in rows[2:]] == [
        row.parameters for row in rows[:2]
    ]
    assert rows[0].ratio == rows[2].ratio == 1
    assert rows[0].library_ratio == rows[1].library_ratio == 1
    assert all(row.seconds > 0 for row in rows)
    # A process with a library and 125 MB of weights in it.
    assert all(3e8 < row.peak_memory < 8e9 for row in rows)
    text = detector_contest.format_detectors(rows).splitlines()
    assert len(text) == 5
    assert f"{rows[3].parameters:,}" in text[4]
    assert f"{rows[3].peak_memory / 1e9:.2f}" in text[4]


@with_torchvision
@pytest.mark.slow
def test_a_detector_that_finds_others_is_refused(monkeypatch):
    # The same weights, and the same network but for the ends of the channels.
    def circular(setting, attention):
        return detector_pairs.KerasDetector(
            threads=setting.threads,
            backbone=setting.network,
            attention="eca_circular",
            kernel_size=setting.kernel_size,
            num_classes=detector_pairs.CLASSES,
            input_shape=(*setting.image_size, 3),
        )

    monkeypatch.setattr(detector_pairs.Setting, "keras_worker", circular)
    with pytest.raises(ComparisonFailed, match="different objects with"):
        detector_contest.compare_detectors(
            "ECAResNet18", ("eca",), kernel_size=5, **SMALL
        )


@pytest.mark.slow
def test_what_an_argument_must_be_is_one_sentence():
    with (
        detector_pairs.KerasDetector(
            threads=1, backbone="ECAResNet18", kernel_size=4
        ) as other,
        pytest.raises(ValueError, match="^`kernel_size` must be"),
    ):
        other.ask("about")


@with_torchvision
@pytest.mark.slow
def test_the_command(rows, monkeypatch, tmp_path, capsys):
    asked = {}

    def compare(*arguments, **options):
        asked.update(options, arguments=arguments)
        options["progress"]("on the way")
        return rows

    monkeypatch.setattr(detector_contest, "compare_detectors", compare)
    path = tmp_path / "detectors.csv"
    Detectors("ECAResNet18", image_size=(96, 128), output=path).run()
    assert asked["arguments"] == ("ECAResNet18", ("none", "eca"))
    assert asked["image_size"] == (96, 128)
    printed = capsys.readouterr()
    assert "torchvision" in printed.out
    assert "on the way" in printed.err
    title, *lines = path.read_text().splitlines()
    assert title.split(",") == [
        field.name for field in dataclasses.fields(rows[0])
    ]
    assert len(lines) == 4
