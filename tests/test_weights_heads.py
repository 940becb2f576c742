"""Backbones of detectors, and classifiers under any name or of any form."""

import argparse
import sys
import types

import narrow
import numpy as np
import pytest
import torch_writer
from narrow import prefixed
from narrow import with_head

from eca_keras import cli
from eca_keras.weights import CheckpointError
from eca_keras.weights import inspect_checkpoint
from eca_keras.weights import load_checkpoint
from eca_keras.weights import load_into

RAW = narrow.state()


def detector(prefix="backbone.body.", **others):
    body = {k: v for k, v in RAW.items() if not k.startswith("fc.")}
    return {
        **prefixed(body, prefix),
        "backbone.fpn.inner_blocks.0.0.weight": np.ones((8, 16, 1, 1)),
        "rpn.head.cls_logits.weight": np.ones((3, 8, 1, 1)),
        "roi_heads.box_predictor.cls_score.weight": np.ones((4, 32)),
        **others,
    }


def mmdet(monkeypatch):
    """A file of mmdetection, whose classes are not installed here."""
    names = ("mmengine", "mmengine.config", "mmengine.config.config")
    modules = {name: types.ModuleType(name) for name in names}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    kind = type("ConfigDict", (dict,), {"__module__": names[-1]})
    modules[names[-1]].ConfigDict = kind
    config = kind(model=kind(depth=[50]))
    config.filename = kind()
    return {
        "meta": {"cfg": config, "seed": np.int64(3), "hooks": [kind]},
        "state_dict": detector("backbone."),
        "message_hub": config,
    }


DETECTORS = {
    "torchvision": lambda _: detector(),
    "reference script": lambda _: {
        "model": detector(),
        "args": argparse.Namespace(lr=0.1),
    },
    "mmdetection": mmdet,
    "DETR": lambda _: {"model": detector("backbone.0.body.")},
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_give_their_backbone(tmp_path, name, monkeypatch, capsys):
    path = tmp_path / "detector.pth"
    torch_writer.save(DETECTORS[name](monkeypatch), path)
    network = inspect_checkpoint(path)
    assert (network.builder, network.classes) == (narrow.BUILDER, None)
    assert network.source.endswith(("body", "backbone"))
    model = load_checkpoint(path, include_top=False, pooling="avg")
    np.testing.assert_array_equal(
        np.asarray(model.get_layer("conv5_block2_3_conv").kernel)[0, 0],
        RAW["layer4.1.conv3.weight"][:, :, 0, 0].T,
    )
    sentence = (
        "it has no classifier of one linear layer, with a bias, on the last "
        "channels: it also holds backbone.fpn.inner_blocks.0.0.weight, rpn.h.*"
        "Pass include_top=False to load the network without it.$"
    )
    for arguments in ({}, {"include_top": True}):
        with pytest.raises(CheckpointError, match=sentence):
            load_checkpoint(path, input_shape=(32, 32, 3), **arguments)
    words = ("convert", str(path), str(tmp_path / "backbone.keras"))
    assert cli.main([*words]) == 2
    assert "Pass --no-include-top to load" in capsys.readouterr().err
    assert cli.main([*words, "--no-include-top"]) == 0


HEADS = {
    "of two layers": {
        "fc.0.weight": np.ones((32, 32)),
        "fc.0.bias": np.ones(32),
        "fc.2.weight": np.ones((5, 32)),
        "fc.2.bias": np.ones(5),
    },
    "with a norm before it": {
        "neck.weight": np.ones(32),
        "neck.running_mean": np.ones(32),
        "fc.weight": np.ones((5, 32)),
        "fc.bias": np.ones(5),
    },
    "with a scale": {
        "fc.weight": np.ones((5, 32)),
        "fc.bias": np.ones(5),
        "scale": np.ones(()),
    },
    "of directions": {"fc.weight": np.ones((5, 32))},
    "twice": {
        "fc.weight": np.ones((5, 32)),
        "fc.bias": np.ones(5),
        "aux.weight": np.ones((5, 32)),
        "aux.bias": np.ones(5),
    },
    "on other features": {
        "fc.weight": np.ones((5, 64)),
        "fc.bias": np.ones(5),
    },
    "of convolution": {
        "fc.weight": np.ones((5, 32, 1, 1)),
        "fc.bias": np.ones(5),
    },
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_the_network_does_not_have(tmp_path, name):
    state = {k: v for k, v in RAW.items() if not k.startswith("fc.")}
    path = tmp_path / "head.pth"
    torch_writer.save({**state, **HEADS[name]}, path)
    first = next(iter(HEADS[name]))
    sentence = f"no classifier of one linear .*also holds {first}.*include_top"
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(path)
    network, tensors = narrow.read(path)
    assert network.others == tuple(HEADS[name])
    narrow.assert_holds(tensors, state)
    model = narrow.network(include_top=False, kernel_size=network.kernel_sizes)
    load_into(model, path)


BESIDE = {
    "weights of classes": {"ce.weight": np.ones(5)},
    "counts": {"train_acc.tp": np.ones(5), "train_acc.fp": np.ones(5)},
    "sums": {"train_auc.total": np.array(3), "val_mean.value": np.ones(())},
    "confusion": {"val_cm.confmat": np.ones((5, 5))},
    "in a folder": {"meters.val_acc.value": np.ones(()), "f1.tp": np.ones(1)},
    "positives": {"ema.decay": np.array(0.9), "ce.pos_weight": np.ones(5)},
}


@pytest.mark.parametrize("head", ["net.fc", "head.fc"])
@pytest.mark.parametrize("name", BESIDE)
def test_losses_and_metrics_beside_a_network(tmp_path, name, head):
    saved = {"state_dict": {**with_head(RAW, head, "net."), **BESIDE[name]}}
    torch_writer.save(saved, tmp_path / "last.ckpt")
    network, tensors = narrow.read(tmp_path / "last.ckpt")
    assert (network.head, network.classes) == (head, 5)
    narrow.assert_holds(tensors, RAW)


ACTING = {
    "a second head": {"aux.weight": np.ones((5, 32)), "aux.bias": np.ones(5)},
    "on logits": {"after.weight": np.ones((5, 5)), "after.bias": np.ones(5)},
    "without a bias": {"after.weight": np.ones((5, 5))},
    "a norm": {"neck.weight": np.ones(32), "neck.running_mean": np.ones(32)},
    "a norm's weight": {"neck.weight": np.ones(32)},
    "a scale": {"scale": np.ones(())},
    "a temperature": {"calibration.temperature": np.ones(1)},
    "a power": {"pool.p": np.ones(1)},
    "prototypes": {"proto.vectors": np.ones((5, 32))},
}


@pytest.mark.parametrize("name", ACTING)
def test_layers_beside_a_network(tmp_path, name):
    saved = {"state_dict": {**prefixed(RAW, "net."), **ACTING[name]}}
    torch_writer.save(saved, tmp_path / "last.ckpt")
    assert narrow.read(tmp_path / "last.ckpt")[0].head is None
    with pytest.raises(CheckpointError, match="no classifier of one linear"):
        load_checkpoint(tmp_path / "last.ckpt")
