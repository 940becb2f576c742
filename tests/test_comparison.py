"""Networks side by side: counts, ratios, other libraries, the picture."""

import csv
import dataclasses
import importlib.util
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from benchmarks import bubbles
from benchmarks import network_contest
from benchmarks import torch_process
from benchmarks.networks import Networks
from eca_keras import cli
from eca_keras.applications import ECAMobileNetV2
from eca_keras.applications import ECAResNet18
from eca_keras.errors import ComparisonFailed
from eca_keras.profiling import timing as benchmarking

with_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="compares with PyTorch"
)
QUICK = {
    "image_size": 32,
    "batch_sizes": (2,),
    "training_batch_size": None,
    "rounds": 2,
    "warmup": 1,
}


def contestants(*pairs):
    counts = {"parameters": 7, "attention_parameters": 1, "macs": 90}
    return [
        network_contest._Contestant(library, attention, None, counts)
        for library, attention in pairs
    ]


def row(**changes):
    these = contestants(("eca-keras", "none"))
    wall = np.array([[1.0], [3.0]])
    measured = benchmarking.Rounds("inference", 6, wall, wall)
    made = network_contest._row(measured, 0, these, "ECAResNet18", 64)
    return dataclasses.replace(made, **changes)


def test_ratios_are_to_the_same_library_and_the_same_attention():
    these = contestants(
        ("eca-keras", "none"),
        ("eca-keras", "eca"),
        ("torch", "none"),
        ("torch", "eca"),
    )
    # Each round slows everything down alike.
    wall = np.array([[1.0, 2.0, 3.0, 9.0]]) * np.array([[1], [10], [4]])
    measured = benchmarking.Rounds("training", 6, wall, 2 * wall)
    rows = [
        network_contest._row(measured, i, these, "ECAResNet18", 64)
        for i in range(4)
    ]
    assert [each.ratio for each in rows] == [1, 2, 1, 3]
    assert [each.cpu_ratio for each in rows] == [1, 2, 1, 3]
    assert [each.library_ratio for each in rows] == [1, 1, 3, 4.5]
    assert [each.seconds for each in rows] == [4, 8, 12, 36]
    assert [each.cpu_seconds for each in rows] == [8, 16, 24, 72]
    assert rows[0].images_per_second == 1.5
    assert (rows[0].seconds_lower, rows[0].seconds_upper) == (2.5, 7)
    assert rows[3].parameters == 7


@pytest.mark.slow
def test_against_keras_applications():
    rows = network_contest.compare_networks(
        "ECAMobileNetV2",
        ("eca", "none"),
        against=("keras.applications",),
        **QUICK,
    )
    names = [(each.library, each.attention) for each in rows]
    assert names == [
        ("eca-keras", "eca"),
        ("eca-keras", "none"),
        ("keras.applications", "none"),
    ]
    ours, plain, theirs = rows
    peer = keras.applications.MobileNetV2(weights=None)
    trainable = sum(np.prod(w.shape) for w in peer.trainable_weights)
    # 13 kernels of 3 (16 to 96 channels), 4 of 5 (160 and 320).
    assert theirs.parameters == plain.parameters == trainable
    assert ours.parameters == plain.parameters + 59
    assert (ours.attention_parameters, plain.attention_parameters) == (59, 0)
    assert ours.ratio == theirs.ratio == 1
    assert theirs.library_ratio > 0
    assert plain.macs == theirs.macs


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"network": "VGG16"}, "`model` must be one of"),
        ({"attentions": ()}, "`attentions` must have at least one name"),
        ({"attentions": ("eca", "eca")}, "`attentions` must be different"),
        ({"against": ("timm",)}, "`against` must be some of"),
        (
            {"network": "ECAResNet20", "against": ("torch",)},
            "`against` must be a library that has the network",
        ),
        (
            {"attentions": ("se",), "against": ("torch",)},
            "Received: against=torch for ECAResNet18 with se",
        ),
        (
            {"against": ("torch",), "torch_python": "/no/python"},
            "`torch_python` must be a Python that has PyTorch",
        ),
    ],
)
def test_refusals(arguments, sentence):
    arguments = {"network": "ECAResNet18", **QUICK, **arguments}
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        network_contest.compare_networks(**arguments)


def test_a_python_without_torch(tmp_path):
    python = tmp_path / "python"
    # Without the folder of installed packages.
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    with pytest.raises(ValueError, match="must be a Python that has PyTorch"):
        network_contest.compare_networks(
            "ECAResNet18", against=("torch",), torch_python=python, **QUICK
        )


@with_torch
@pytest.mark.slow
@pytest.mark.parametrize("attention", ["none", "eca"])
@pytest.mark.parametrize("builder", [ECAResNet18, ECAMobileNetV2])
def test_torch_answers_alike(builder, attention):
    model = builder(
        attention=None if attention == "none" else attention,
        input_shape=(64, 64, 3),
        classes=10,
        classifier_activation=None,
    )
    with torch_process.TorchNetwork(builder.__name__, model) as other:
        # Measured 2e-6 at most; a gate left out differs by more than 0.1.
        assert other.difference < 1e-5
        for layer in model.layers:
            if "eca" in layer.name:
                layer.set_weights([0 * w for w in layer.get_weights()])
        reply = other.ask("answer", seed=1)
        wall, cpu = other.step("training", 2).timed()
        assert wall > 0
        assert cpu > 0
    changed = model.predict_on_batch(np.array(reply["images"], "float32"))
    same = np.allclose(changed, reply["logits"], atol=1e-3)
    assert same == (attention == "none")


@with_torch
def test_a_network_that_answers_otherwise_is_refused(monkeypatch):
    model = ECAResNet18(
        input_shape=(64, 64, 3), classes=10, classifier_activation=None
    )
    monkeypatch.setattr(torch_process, "load_into", lambda model, path: None)
    with pytest.raises(ComparisonFailed, match="answers unlike PyTorch"):
        torch_process.TorchNetwork("ECAResNet18", model)


@with_torch
@pytest.mark.slow
def test_the_command_against_torch(tmp_path, capsys):
    path = tmp_path / "rows.csv"
    arguments = ["ECAResNet18", "--against", "torch"]
    arguments += ["--image-size", "64", "--rounds", "2"]
    arguments += ["--output", str(path)]
    assert cli.run_command(Networks, arguments, "networks") == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [each["library"] for each in rows] == 3 * (
        2 * ["eca-keras"] + 2 * ["torch"]
    )
    by_task = [(each["task"], each["batch_size"]) for each in rows[::4]]
    assert by_task == [
        ("inference", "8"),
        ("inference", "1"),
        ("training", "8"),
    ]
    assert "by ours" in capsys.readouterr().out


def test_accuracies(tmp_path):
    path = tmp_path / "accuracy.csv"
    path.write_text(
        "network,attention,top1,from\nECAResNet18,eca,70.92,x\n"
        "ECAResNet18,none,70.4,y\n"
    )
    assert bubbles.read_accuracies(path) == {
        ("ECAResNet18", "eca"): 70.92,
        ("ECAResNet18", "none"): 70.4,
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must have the columns network, attention, top1"),
        ("network,top1\n", "Received: network, top1 in"),
        ("network,attention,top1\na,b,170\n", "Received: top1=170 in line 2"),
        ("network,attention,top1\na,b,high\n", "Received: top1=high in line"),
        ("network,attention,top1\na\n", "Received: top1=None in line 2"),
    ],
)
def test_bad_accuracies(text, sentence, tmp_path):
    path = tmp_path / "accuracy.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        bubbles.read_accuracies(path)


def test_bubbles_show_accuracy_where_it_is_known():
    rows = [
        row(),
        row(attention="eca", parameters=8),
        row(library="torch"),
        row(task="training"),
    ]
    known = {("ECAResNet18", "eca"): 70.0}
    assert bubbles._points(rows, known) == [(rows[1], 70.0)]
    speeds = [(each, each.images_per_second) for each in rows[:2]]
    assert bubbles._points(rows, None) == speeds
    with pytest.raises(ValueError, match="must have one of the networks"):
        bubbles._points(rows, {("other", "eca"): 70.0})


def test_the_area_of_a_bubble_is_its_cost(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(
        bubbles, "save_figure", lambda figure, path: figures.append(figure)
    )
    rows = [
        row(network="a", macs=100, parameters=2_000_000),
        row(network="b", macs=25, parameters=1_000_000),
    ]
    bubbles.write_bubbles(rows, tmp_path / "a.png")
    [axes] = figures[0].axes
    areas, centres = axes.collections
    np.testing.assert_allclose(areas.get_sizes(), [375, 1500])
    np.testing.assert_allclose(areas.get_offsets()[:, 0], [1, 2])
    np.testing.assert_array_equal(areas.get_offsets(), centres.get_offsets())
    assert {text.get_text() for text in axes.texts} == {"a", "b"}


def test_the_picture_is_written(tmp_path):
    path = tmp_path / "networks.png"
    bubbles.write_bubbles([row(), row(attention="eca")], path)
    with Image.open(path) as image:
        assert len(image.convert("RGB").getcolors(1 << 20)) > 10


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--figure", "a.xyz"], "`--figure` must end in .png"),
        (["--accuracy", "a.csv"], "`--accuracy` must only be given with"),
        (["--torch-python", "p"], "`--torch-python` must only be given with"),
        (["--figure", "a.png", "--accuracy", "/no/a.csv"], "/no/a.csv"),
        (["--against", "timm"], "`--against` must be some of"),
    ],
)
def test_the_command_refuses(options, sentence, capsys):
    arguments = ["ECAResNet20", *options]
    assert cli.run_command(Networks, arguments, "networks") == 2
    assert sentence in capsys.readouterr().err
