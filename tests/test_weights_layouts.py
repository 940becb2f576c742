"""The layouts in which training scripts save a network."""

import argparse
import collections
import datetime
import functools
import logging
import pathlib
import sys
import types

import narrow
import numpy as np
import pytest
import safetensors.numpy
import torch_writer
from narrow import prefixed
from narrow import with_head

from eca_keras import applications
from eca_keras import cli
from eca_keras.weights import CheckpointError
from eca_keras.weights import inspect_checkpoint
from eca_keras.weights import load_checkpoint
from eca_keras.weights import load_into

RAW, EMA = narrow.state(0), narrow.state(1)


def settings():
    """What `argparse` and its users put beside the weights."""
    return argparse.Namespace(
        lr=0.1,
        output=pathlib.PurePosixPath("/runs"),
        started=datetime.datetime(2026, 1, 1),
        schedule={1, 2},
        frozen=frozenset([3]),
        made=functools.partial(print, 1),
        by_class=collections.defaultdict(list, a=[1]),
        seen=collections.Counter("aab"),
        z=1j,
        raw=bytearray(b"12"),
        nested=[[[argparse.Namespace(x=())]]],
    )


def timm(**more):
    """What timm's training script saves."""
    return {
        "epoch": 3,
        "arch": "ecaresnet26t",
        "state_dict": RAW,
        "optimizer": {
            "state": {0: {"exp_avg": np.ones((24, 3, 3, 3), "float32")}},
            "param_groups": [{"lr": np.float64(0.1), "params": [0]}],
        },
        "version": 2,
        "args": settings(),
        "amp_scaler": {"scale": 65536.0},
        "metric": np.float64(77.5),
        "saver": {"checkpoint_files": [("a", np.float32(1))]},
        **more,
    }


def swa(state):
    """The state of torch.optim.swa_utils.AveragedModel."""
    return {"n_averaged": np.array(9), **prefixed(state, "module.")}


# What is saved, whether the default is the EMA, and whether there are both.
LAYOUTS = {
    "bare": (RAW, False, False),
    "timm": (timm(), False, False),
    "timm with EMA": (timm(state_dict_ema=EMA), True, True),
    "EMA alone": ({"state_dict_ema": EMA}, True, False),
    "model_ema": ({"model": RAW, "model_ema": EMA}, True, True),
    "ema": ({"net": RAW, "ema": EMA}, True, True),
    "modelEMA": ({"model": RAW, "modelEMA": EMA}, True, True),
    "ema nested": (
        {"model": {"state_dict": RAW}, "ema": {"state_dict": EMA, "decay": 1}},
        True,
        True,
    ),
    "ema_state_dict of mmengine": (
        {
            "state_dict": RAW,
            "ema_state_dict": {
                "steps": np.array(3),
                **prefixed(EMA, "module."),
            },
        },
        True,
        True,
    ),
    "EMA in a Lightning module": (
        {
            "state_dict": prefixed(RAW, "model.")
            | prefixed(EMA, "model_ema.module.")
        },
        True,
        True,
    ),
    "SWA": (swa(EMA), True, False),
    "SWA and model": ({"model": RAW, "averaged": swa(EMA)}, True, True),
    "SWA without a word": ({"a": RAW, "b": swa(EMA)}, True, True),
    **{
        key: ({key: RAW, "epoch": 3}, False, False)
        for key in (
            *("model_state_dict", "model_state", "model", "net", "module"),
            *("weights", "params", "my own key"),
        )
    },
    "nested": ({"model": {"state_dict": RAW}}, False, False),
    "deeper": ({"a": {"model": {"state_dict": RAW}}}, False, False),
    "list": ([3, RAW], False, False),
    "Lightning": (
        {
            "state_dict": prefixed(RAW, "model."),
            "hyper_parameters": settings(),
            "callbacks": {"SWA": {"average_model_state": EMA}},
        },
        False,
        False,
    ),
    "Lightning with a loss": (
        {
            "state_dict": {
                **prefixed(RAW, "net."),
                "criterion.weight": np.ones(5, "float32"),
            }
        },
        False,
        False,
    ),
    **{
        prefix: (prefixed(RAW, prefix), False, False)
        for prefix in (
            *("module.", "_orig_mod.module.", "module._orig_mod."),
            *("module.module.", "module._orig_mod.module.", "backbone."),
            *("_fsdp_wrapped_module.model.", "encoder.module.backbone."),
        )
    },
    "wrappers inside": (
        {
            name.replace("layer1.0.", "layer1.0._checkpoint_wrapped_module."): v
            for name, v in RAW.items()
        },
        False,
        False,
    ),
    "names before keys": (
        {"state_dict": RAW, "other": EMA, "model": EMA},
        False,
        False,
    ),
    "EMA of an optimizer": (
        {"model": RAW, "optimizer": {"ema": EMA}},
        False,
        False,
    ),
    **{
        head: (with_head(RAW, head), False, False)
        for head in ("fc.1", "head.fc", "classifier", "last_linear", "fc.0.out")
    },
    "head elsewhere": (with_head(RAW, "head.fc", "backbone."), False, False),
    "Sequential": (with_head(RAW, "1", "0."), False, False),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name, legacy):
    saved, is_ema, both = LAYOUTS[name]
    path = tmp_path / "checkpoint"  # the content decides
    torch_writer.save(saved, path, legacy)
    network, tensors = narrow.read(path)
    assert (network.builder, network.classes) == (narrow.BUILDER, 5)
    assert network.options == {"block_widths": narrow.WIDTHS}
    assert network.ema == is_ema
    assert bool(network.beside) == both
    narrow.assert_holds(tensors, EMA if is_ema else RAW)
    for ema in (True, False):
        if both or ema == is_ema:
            _, tensors = narrow.read(path, ema)
            narrow.assert_holds(tensors, EMA if ema else RAW)
        else:
            sentence = f"ema={ema} asks for the .*Pass ema={not ema} to load"
            with pytest.raises(CheckpointError, match=sentence):
                narrow.read(path, ema)


def test_prefixes_in_safetensors(tmp_path):
    saved = prefixed(RAW, "model.") | prefixed(EMA, "ema.")
    safetensors.numpy.save_file(saved, tmp_path / "both.bin")
    network, tensors = narrow.read(tmp_path / "both.bin")
    narrow.assert_holds(tensors, EMA)
    assert (network.source, network.beside) == ("ema", ("model",))


def test_an_ema_that_cannot_be_read(tmp_path):
    saved = {"model": RAW, "ema": argparse.Namespace()}
    torch_writer.save(saved, tmp_path / "last.pt")
    sentence = (
        "its EMA of the weights, ema, is no state dict: it asks for "
        "argparse.Namespace, which was not run. Pass ema=False to load"
    )
    for ema in (None, True):
        with pytest.raises(CheckpointError, match=sentence):
            narrow.read(tmp_path / "last.pt", ema)
    _, tensors = narrow.read(tmp_path / "last.pt", ema=False)
    narrow.assert_holds(tensors, RAW)


def images():
    return np.random.default_rng(0).normal(size=(2, 32, 32, 3))


def test_models_of_either_kind(tmp_path, caplog):
    path = tmp_path / "last.pth.tar"
    torch_writer.save(timm(state_dict_ema=EMA), path)
    torch_writer.save(EMA, tmp_path / "ema")
    torch_writer.save(RAW, tmp_path / "raw")
    outputs = {
        kind: load_checkpoint(tmp_path / kind, input_shape=(32, 32, 3)).predict(
            images(), verbose=0
        )
        for kind in ("ema", "raw")
    }
    assert np.abs(outputs["ema"] - outputs["raw"]).max() > 1e-3
    notes = [r for r in caplog.records if r.name == "eca_keras"]
    assert not notes
    for ema, kind in ((None, "ema"), (True, "ema"), (False, "raw")):
        model = narrow.network(
            kernel_size=inspect_checkpoint(path).kernel_sizes
        )
        caplog.clear()
        with caplog.at_level(logging.WARNING, "eca_keras"):
            load_into(model, path, ema=ema)
        np.testing.assert_allclose(
            model.predict(images(), verbose=0), outputs[kind], 1e-5
        )
        notes = [r for r in caplog.records if r.name == "eca_keras"]
        assert len(notes) == (ema is None)
        said = "loaded the EMA of the weights, state_dict_ema. Pass ema=False"
        assert all(said in note.getMessage() for note in notes)
    with pytest.raises(ValueError, match="`ema` must be True, False or None"):
        load_checkpoint(path, ema="yes")


def convert(*arguments):
    return cli.main(["convert", *map(str, arguments)])


def test_convert_says_which_weights_it_took(tmp_path, capsys):
    path, output = tmp_path / "last.ckpt", tmp_path / "out.keras"
    torch_writer.save(timm(state_dict_ema=EMA), path)
    assert convert(path, output) == 0
    said = capsys.readouterr()
    assert (
        "weights: the EMA, state_dict_ema; --no-ema takes the weights "
        "themselves, state_dict\n"
    ) in said.out
    assert not said.err
    assert convert(path, output, "--no-ema") == 0
    said = capsys.readouterr().out
    assert "weights: no EMA, state_dict; --ema takes it, state_dict_ema" in said
    assert convert(path, output, "--ema", "--no-ema") == 2
    assert (
        "`--ema` and `--no-ema` exclude each other" in capsys.readouterr().err
    )
    torch_writer.save(timm(), path)
    assert convert(path, output, "--ema") == 2
    said = capsys.readouterr().err
    assert "--ema asks for the EMA of the weights, and it only holds" in said
    assert "Pass --no-ema to load those." in said


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
    "reference script": lambda _: {"model": detector(), "args": settings()},
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
    output = tmp_path / "backbone.keras"
    assert convert(path, output) == 2
    assert "Pass --no-include-top to load" in capsys.readouterr().err
    assert convert(path, output, "--no-include-top") == 0


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


@pytest.mark.parametrize(
    ("saved", "sentence"),
    [
        (
            {"student": RAW, "teacher": EMA},
            "it holds several networks, in student, teacher. Save the weights",
        ),
        (
            prefixed(RAW, "encoder_q.") | prefixed(EMA, "encoder_k."),
            "it holds several networks, in encoder_q, encoder_k",
        ),
        (
            {"epoch": 1, "optimizer": {"state": {}}, "args": settings()},
            r"no state dict, only the keys epoch, optimizer, args \(asks for "
            r"argparse.Namespace, which was not run\). Save the weights alone",
        ),
        ({"a": [[[[[[RAW]]]]]]}, "no state dict, only the keys a. Save"),
        ({f"key{i}": 1 for i in range(99)}, "key9, and 89 more. Save"),
    ],
)
def test_files_without_one_network(tmp_path, saved, sentence):
    torch_writer.save(saved, tmp_path / "file")
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(tmp_path / "file")


def test_widths_that_differ_from_the_file_s(tmp_path):
    torch_writer.save(RAW, tmp_path / "narrow.pth")
    sizes = inspect_checkpoint(tmp_path / "narrow.pth").kernel_sizes
    model = applications.ECAResNet26T(include_top=False, kernel_size=sizes)
    sentence = (
        r"it has block_widths=\(\(\(8, 8, 16\).* but the model has "
        r"block_widths=None\. Pass block_widths=.* call "
        "eca_keras.load_checkpoint, which reads them"
    )
    with pytest.raises(CheckpointError, match=sentence):
        load_into(model, tmp_path / "narrow.pth")


def test_other_families_behind_a_prefix(tmp_path):
    saved = {"state_dict": {"model.features.0.weight": np.ones((64, 3, 3, 3))}}
    torch_writer.save(saved, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError, match="looks like VGG or AlexNet"):
        inspect_checkpoint(tmp_path / "vgg.pth")
