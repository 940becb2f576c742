"""The layouts in which training scripts save a network."""

import argparse
import collections
import datetime
import functools
import logging
import pathlib

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
    "EMA in a callback of Lightning": (
        {
            "state_dict": prefixed(RAW, "model."),
            "callbacks": {"EMA": {"ema_state_dict": prefixed(EMA, "model.")}},
        },
        True,
        True,
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


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    saved, is_ema, both = LAYOUTS[name]
    path = tmp_path / "checkpoint"  # the content decides
    legacy = list(LAYOUTS).index(name) % 2  # the containers take turns
    torch_writer.save(saved, path, bool(legacy))
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
