"""The networks of the zoo against timm's, with timm's own files."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from eca_keras.weights import hub
from eca_keras.weights import inspect_checkpoint
from eca_keras.weights import load_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("timm") is None, reason="compares with timm"
    ),
]

# Not in the process of the test: TensorFlow and torchvision do not share one.
# The statistics are those of random images, or 269 layers would lose the
# difference between two of them, and then changed, or they would be no test.
_TIMM = """
import sys
import numpy as np, timm, torch
from safetensors.torch import save_file
name, images, path, logits = sys.argv[1:]
torch.manual_seed(0)
model = timm.create_model(name).train()
for key, values in model.named_parameters():
    if values.ndim == 1:
        low, high = (0.5, 1.5) if key.endswith("weight") else (-0.3, 0.3)
        values.data.uniform_(low, high)
    elif values.ndim < 4:
        values.data.normal_(0, 0.5 if values.ndim == 3 else 0.05)
for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.momentum = None
with torch.no_grad():
    scales = torch.tensor([0.5, 1, 2, 0.8])[:, None, None, None]
    model(torch.randn(4, 3, 96, 96) * scales)
    for key, values in model.named_buffers():
        if key.endswith("running_var"):
            values *= torch.empty_like(values).uniform_(0.7, 1.4)
    model.eval()
    if name.endswith("t"):
        torch.save({"state_dict": model.state_dict(), "epoch": 1}, path)
    else:
        save_file(model.state_dict(), path)
    x = torch.from_numpy(np.load(images)).permute(0, 3, 1, 2)
    np.save(logits, model(x).numpy())
"""


@pytest.mark.parametrize("builder", hub.TIMM_NAMES)
def test_logits_equal_timms(builder, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 96, 96, 3))
    np.save(tmp_path / "images.npy", images.astype("float32"))
    files = [tmp_path / name for name in ("images.npy", "w", "logits.npy")]
    name = hub.TIMM_NAMES[builder]
    subprocess.run([sys.executable, "-c", _TIMM, name, *files], check=True)
    network = inspect_checkpoint(files[1])
    assert (network.builder, network.options) == (builder, {})
    assert network.kernel_sizes == (5, 5, 5, 7)
    model = load_checkpoint(
        files[1], input_shape=(96, 96, 3), classifier_activation=None
    )
    logits = model.predict(images, verbose=0)
    expected = np.load(files[2])
    assert np.abs(expected[0] - expected[1]).max() > 1
    # float32 through up to 269 layers: 3e-4 of the largest logit was
    # measured for ECAResNet269D, 2e-5 for most; in float64 3e-12.
    tolerance = 1e-3 * np.abs(expected).max()
    assert np.abs(logits - expected).max() < tolerance
