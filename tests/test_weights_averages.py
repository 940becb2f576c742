"""Averages of the weights, and what only looks like one."""

import argparse

import narrow
import numpy as np
import pytest
import torch_writer
from narrow import prefixed

from eca_keras.weights import CheckpointError
from eca_keras.weights import averages

RAW, EMA = narrow.state(0), narrow.state(1)


def read(tmp_path, saved, ema=None):
    torch_writer.save(saved, tmp_path / "file")
    return narrow.read(tmp_path / "file", ema)


MOMENTS = {
    "opt": {"model": RAW, "opt": {"exp_avg": EMA, "exp_avg_sq": EMA}},
    "adam": {"model": RAW, "adam": {"exp_avg": EMA}},
    "adamw": {"net": RAW, "adamw": {"state": {"exp_avg": EMA}}},
    "state": {"model": RAW, "state": {"max_exp_avg_sq": EMA}},
    "sgd": {"model": RAW, "sgd": {"ax_avg": EMA, "ax": EMA}},
    "lamb": {"net": RAW, "lamb_state": {"m": EMA}},
    "of one network": {"net": RAW, "gen_opt": EMA},
    "beside": {"net": RAW, "momentum_buffer": EMA, "square_avg": EMA},
    "others": {"net": RAW, "mu": EMA, "acc_delta": EMA, "grad_avg": EMA},
    "prefix": prefixed(RAW, "model.") | prefixed(EMA, "exp_avg."),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_are_no_ema(tmp_path, name):
    network, tensors = read(tmp_path, MOMENTS[name])
    narrow.assert_holds(tensors, RAW)
    assert not network.ema
    assert not network.beside
    with pytest.raises(CheckpointError, match="asks for the EMA"):
        read(tmp_path, MOMENTS[name], ema=True)


@pytest.mark.parametrize(
    "key",
    [
        *("polyak", "shadow", "mean_teacher", "meanTeacher", "modelema"),
        *("model_avg", "avg_model", "averages", "momentum_encoder"),
    ],
)
def test_other_words_for_an_ema(tmp_path, key):
    network, tensors = read(tmp_path, {"model": RAW, key: EMA})
    narrow.assert_holds(tensors, EMA)
    assert (network.source, network.beside) == (key, ("model",))


LIST = list(EMA.values())
TORCH_EMA = {
    "decay": 0.9,
    "num_updates": 3,
    "shadow_params": LIST,
    "collected_params": [],
}
WITHOUT_NAMES = {
    "torch_ema": {"state_dict": RAW, "ema": TORCH_EMA},
    "torch_ema elsewhere": {"model": RAW, "ema_state_dict": TORCH_EMA},
    "NeMo": {
        "state_dict": prefixed(RAW, "model."),
        "optimizer_states": [
            {"opt": {"state": {}}, "ema": tuple(LIST), "current_step": 3}
        ],
    },
    "by number": {"model": RAW, "ema": {f"{i}": v for i, v in enumerate(LIST)}},
    "LitEma": {
        "state_dict": {
            **prefixed(RAW, "model."),
            "model_ema.decay": np.array(0.9, "float32"),
            "model_ema.num_updates": np.array(3),
            **{f"model_ema.{k.replace('.', '')}": v for k, v in EMA.items()},
        }
    },
    "mmcls": {
        "state_dict": {
            **prefixed(RAW, "backbone."),
            **{
                f"ema_backbone_{k.replace('.', '_')}": v for k, v in EMA.items()
            },
        }
    },
    "NAME_ema": {**RAW, **{f"{k}_ema": v for k, v in EMA.items()}},
}


@pytest.mark.parametrize("name", WITHOUT_NAMES)
def test_an_ema_without_the_names_of_the_network(tmp_path, name):
    sentence = "its EMA .* does not have the names .* Pass ema=False to load"
    for ema in (None, True):
        with pytest.raises(CheckpointError, match=sentence):
            read(tmp_path, WITHOUT_NAMES[name], ema)
    _, tensors = read(tmp_path, WITHOUT_NAMES[name], ema=False)
    narrow.assert_holds(tensors, RAW)


class Net:
    """Stands for a module that was pickled whole."""


@pytest.mark.parametrize("key", ["best_ema", "swa_model", "polyak"])
def test_a_pickled_ema_under_any_key(tmp_path, key):
    saved = {"state_dict": RAW, key: Net()}
    sentence = f"its EMA of the weights, {key}, is no state dict: it asks"
    for ema in (None, True):
        with pytest.raises(CheckpointError, match=sentence):
            read(tmp_path, saved, ema)
    _, tensors = read(tmp_path, saved, ema=False)
    narrow.assert_holds(tensors, RAW)


def test_settings_and_scores_of_an_ema_are_none(tmp_path):
    saved = {
        "state_dict": RAW,
        "ema_decay": np.float64(0.9),
        "best_ema": np.float64(77.5),
        "ema_args": argparse.Namespace(decay=0.9),
        "avg_losses": [np.ones(()), np.ones(3)],
        "optimizer": {"state": {0: {"exp_avg": np.ones((3, 3))}}},
    }
    network, tensors = read(tmp_path, saved)
    narrow.assert_holds(tensors, RAW)
    assert not network.ema


@pytest.mark.parametrize("name", ["opt_model", "resnet_sgd", "sgd_run"])
def test_keys_and_prefixes_that_are_no_moments(tmp_path, name):
    for saved in ({name: RAW}, prefixed(RAW, f"{name}.")):
        narrow.assert_holds(read(tmp_path, saved)[1], RAW)
    narrow.assert_holds(read(tmp_path, prefixed(RAW, "mu."))[1], RAW)


@pytest.mark.parametrize("part", ["adam", "_opt", "opt1", "_exp_avg", "a."])
def test_names_that_a_file_chose_to_be_slow(part):
    # With unbounded repeats these take hours.
    assert averages.is_ema(part * 20000 + "!.ema")
