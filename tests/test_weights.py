"""PyTorch checkpoints, in the formats they are published in."""

import json

import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy
import numpy as np
import pytest
import safetensors.numpy
import torch_writer
from reference import golden_images
from reference import golden_logits
from reference import golden_state
from reference import rule_tensor

from eca_keras import applications
from eca_keras.weights import CheckpointError
from eca_keras.weights import inspect_checkpoint
from eca_keras.weights import load_checkpoint
from eca_keras.weights import load_into


def authors_checkpoint(state):
    """What the authors' training script saves."""
    return {
        "epoch": 100,
        "arch": "eca_resnet50",
        "state_dict": {f"module.{k}": v for k, v in state.items()},
        "best_prec1": np.array(77.4, "float32"),
        "optimizer": {
            "state": {0: {"momentum_buffer": np.ones((64, 3), "float32")}},
            "param_groups": [{"lr": 1e-4, "nesterov": False, "params": [0]}],
        },
    }


def save_authors(state, path):
    torch_writer.save(authors_checkpoint(state), path)


def save_authors_legacy(state, path):
    # As released: the old container, from a GPU.
    checkpoint = authors_checkpoint(state)
    torch_writer.save(checkpoint, path, legacy=True, location="cuda:0")


def save_bare(state, path):
    torch_writer.save(state, path)


WRITERS = {
    "authors.pth.tar": save_authors,
    "legacy.pth.tar": save_authors_legacy,
    "bare.pth": save_bare,
    "timm.safetensors": safetensors.numpy.save_file,
}

GOLDEN = {
    "eca_mobilenetv2_k13": ("ECAMobileNetV2", (1, 1, 1, 1, 3, 3, 3)),
    "eca_resnet18_k3577": ("ECAResNet18", (3, 5, 7, 7)),
    "timm_ecaresnext26t_32x4d": ("ECAResNeXt26T", (5, 5, 5, 7)),
    "eca_resnet50_k3557": ("ECAResNet50", (3, 5, 5, 7)),
    "timm_ecaresnet50t": ("ECAResNet50T", (5, 5, 5, 7)),
    "timm_ecaresnetlight": ("ECAResNetLight", (5, 5, 5, 7)),
}
# Each small network in the formats it is published in; the rest is slow.
FAST = {
    ("eca_mobilenetv2_k13", "authors.pth.tar"),
    ("eca_mobilenetv2_k13", "bare.pth"),
    ("eca_resnet18_k3577", "legacy.pth.tar"),
    ("timm_ecaresnext26t_32x4d", "timm.safetensors"),
}
FORMATS = [
    pytest.param(
        *case, marks=() if case in FAST else pytest.mark.slow, id="-".join(case)
    )
    for case in [(name, kind) for name in GOLDEN for kind in WRITERS]
]


@pytest.mark.parametrize(("name", "kind"), FORMATS)
def test_logits_equal_the_reference(tmp_path, name, kind):
    path = tmp_path / kind
    WRITERS[kind](golden_state(name), path)

    network = inspect_checkpoint(path)
    assert (network.builder, network.kernel_sizes) == GOLDEN[name]
    assert (network.attention, network.classes) == ("eca", 1000)

    model = load_checkpoint(
        path, input_shape=(128, 128, 3), classifier_activation=None
    )
    logits = np.asarray(model(golden_images(), training=False))
    # See test_golden.py for what this tolerance tells apart.
    assert np.abs(logits - golden_logits(name)).max() < 1e-5


def mobilenet_state(width_mult=0.5, per_channel=False, classes=7):
    """The state dict of the authors' MobileNetV2: widths `int(c * width)`."""
    channels = int(32 * width_mult)
    shapes = {"features.0.0.weight": (channels, 3, 3, 3)}
    _norm(shapes, "features.0.1", channels)
    block = 1
    for expansion, c, blocks in [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ]:
        for _ in range(blocks):
            prefix, hidden = f"features.{block}.conv", channels * expansion
            at = 0
            if expansion != 1:
                shapes[f"{prefix}.0.0.weight"] = (hidden, channels, 1, 1)
                _norm(shapes, f"{prefix}.0.1", hidden)
                at = 1
            shapes[f"{prefix}.{at}.0.weight"] = (hidden, 1, 3, 3)
            _norm(shapes, f"{prefix}.{at}.1", hidden)
            channels = int(c * width_mult)
            shapes[f"{prefix}.{at + 1}.weight"] = (channels, hidden, 1, 1)
            _norm(shapes, f"{prefix}.{at + 2}", channels)
            groups = channels if per_channel else 1
            kernel = 1 if c < 96 else 3
            shapes[f"{prefix}.{at + 3}.conv.weight"] = (groups, 1, kernel)
            block += 1
    head = int(1280 * max(1.0, width_mult))
    shapes[f"features.{block}.0.weight"] = (head, channels, 1, 1)
    _norm(shapes, f"features.{block}.1", head)
    shapes["classifier.1.weight"] = (classes, head)
    shapes["classifier.1.bias"] = (classes,)
    return {name: rule_tensor(name, shape) for name, shape in shapes.items()}


def _norm(shapes, prefix, channels):
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{prefix}.{leaf}"] = (channels,)


@pytest.mark.parametrize("width_mult", [0.5, 0.875, 1.4])
def test_widths_of_the_authors_mobilenet(tmp_path, width_mult):
    path = tmp_path / "mobilenet.pth.tar"
    save_authors(mobilenet_state(width_mult), path)
    network = inspect_checkpoint(path)
    assert network.options == {"alpha": width_mult, "rounding": "truncate"}
    assert network.classes == 7


@pytest.mark.parametrize("per_channel", [False, True], ids=["eca", "eca_ns"])
def test_mobilenet_of_half_the_width(tmp_path, per_channel):
    path = tmp_path / "mobilenet.pth"
    state = mobilenet_state(0.5, per_channel)
    save_bare(state, path)
    model = load_checkpoint(path, input_shape=(32, 32, 3))
    # 24 * 0.5 is 12; keras.applications would round it to 16.
    conv = model.get_layer("block_1_project")
    assert conv.kernel.shape[-1] == 12
    np.testing.assert_array_equal(
        np.asarray(conv.kernel)[0, 0],
        state["features.2.conv.2.weight"][:, :, 0, 0].T,
    )
    name = "block_16_eca_ns" if per_channel else "block_16_eca"
    kernel = np.asarray(model.get_layer(name).kernel)
    expected = state["features.17.conv.4.conv.weight"]
    np.testing.assert_array_equal(kernel, expected.transpose(2, 1, 0))


def test_rounding_is_a_builder_argument():
    model = applications.ECAMobileNetV2(
        alpha=0.5, include_top=False, rounding="truncate"
    )
    assert model.get_layer("block_1_project").kernel.shape[-1] == 12
    with pytest.raises(ValueError, match="`rounding` must be one of"):
        applications.ECAMobileNetV2(rounding="up")


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    """A checkpoint that loads quickly."""
    path = tmp_path_factory.mktemp("small") / "small.pth.tar"
    save_authors(mobilenet_state(), path)
    return path


SMALL = {
    "alpha": 0.5,
    "rounding": "truncate",
    "kernel_size": "paper",
    "input_shape": (32, 32, 3),
}


def test_weights_argument_of_a_builder(small_file):
    model = applications.ECAMobileNetV2(**SMALL, classes=7, weights=small_file)
    same = load_checkpoint(small_file, input_shape=(32, 32, 3))
    images = golden_images(32)
    np.testing.assert_array_equal(
        np.asarray(model(images)), np.asarray(same(images))
    )


def test_without_the_classifier(small_file):
    model = load_checkpoint(small_file, include_top=False, pooling="avg")
    assert model.output.shape == (None, 1280)
    whole = load_checkpoint(small_file, input_shape=(32, 32, 3))
    np.testing.assert_array_equal(
        np.asarray(model.get_layer("Conv_1").kernel),
        np.asarray(whole.get_layer("Conv_1").kernel),
    )


def test_file_without_a_classifier(tmp_path):
    state = mobilenet_state()
    state = {k: v for k, v in state.items() if not k.startswith("classifier")}
    save_bare(state, tmp_path / "backbone.pth")
    model = load_checkpoint(tmp_path / "backbone.pth")
    assert model.output.shape[-1] == 1280
    with pytest.raises(CheckpointError, match="Pass include_top=False"):
        load_checkpoint(
            tmp_path / "backbone.pth",
            include_top=True,
            input_shape=(32, 32, 3),
        )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"kernel_size": "adaptive", "classes": 7},
            r"it has kernel_size=\(1, 1, 1, 1, 3, 3, 3\), but the model has "
            r"kernel_size=\(3, 3, 3, 3, 3, 3, 5\)\. Pass "
            r"kernel_size=\(1, 1, 1, 1, 3, 3, 3\)\.$",
        ),
        (
            {},
            r"it has classes=7, but the model has classes=1000\. Pass "
            r"classes=7, or include_top=False and a classifier of your own",
        ),
        ({"alpha": 1.0, "classes": 7}, r"alpha=0\.5.*alpha=1\.0.*Pass alpha"),
        (
            {"attention": None, "kernel_size": "adaptive", "classes": 7},
            r"it has attention='eca'.*but the model has attention=None",
        ),
        (
            {"attention": "se", "kernel_size": "adaptive", "classes": 7},
            r"it has attention='eca'.*but the model has attention='se",
        ),
    ],
    ids=["kernel_size", "classes", "alpha", "no-attention", "attention"],
)
def test_arguments_that_disagree_with_the_file(small_file, arguments, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        applications.ECAMobileNetV2(
            **{**SMALL, **arguments}, weights=small_file
        )


def test_another_builder_s_file(small_file):
    with pytest.raises(
        CheckpointError, match="holds ECAMobileNetV2, not ECAResNet18"
    ):
        load_into(applications.ECAResNet18(include_top=False), small_file)
    with pytest.raises(CheckpointError, match="none of the networks that have"):
        load_into(applications.ECAResNet20(), small_file)


def test_load_checkpoint_checks_its_arguments(small_file, tmp_path):
    with pytest.raises(CheckpointError, match="classes=7.*classes=10"):
        load_checkpoint(small_file, classes=10, input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="takes its weights from `path`"):
        load_checkpoint(small_file, weights="other.pth")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "missing.pth")


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("float16", "half.pth"), ("bfloat16", "half.safetensors")],
)
def test_half_precision_becomes_float32(tmp_path, dtype, kind):
    state = {k: v.astype(dtype) for k, v in mobilenet_state().items()}
    path = tmp_path / kind
    if kind.endswith("pth"):
        save_bare(state, path)
    else:
        save_safetensors_bfloat16(state, path)
    model = load_checkpoint(path, input_shape=(32, 32, 3))
    kernel = model.get_layer("Conv1").kernel
    assert kernel.dtype == "float32"
    expected = state["features.0.0.weight"].astype("float32")
    np.testing.assert_array_equal(
        np.asarray(kernel), expected.transpose(2, 3, 1, 0)
    )


def save_safetensors_bfloat16(state, path):
    header, start = {}, 0
    for name, array in state.items():
        end = start + array.nbytes
        header[name] = {
            "dtype": "BF16",
            "shape": array.shape,
            "data_offsets": (start, end),
        }
        start = end
    header = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in state.values())
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_views_of_one_storage(tmp_path):
    """Tensors that are not contiguous are read as PyTorch reads them."""
    state = mobilenet_state()
    name = "classifier.1.weight"
    expected = state[name]
    state[name] = np.asfortranarray(expected)
    assert not state[name].flags.c_contiguous
    save_bare(state, tmp_path / "view.pth")
    model = load_checkpoint(tmp_path / "view.pth", input_shape=(32, 32, 3))
    np.testing.assert_array_equal(
        np.asarray(model.get_layer("predictions").kernel), expected.T
    )
