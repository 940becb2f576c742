"""`eca-keras convert`."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from typing import Annotated
from typing import Literal

from tyro.conf import Positional

from eca_keras.errors import ExportMismatch
from eca_keras.errors import InputError
from eca_keras.utils.checks import listed
from eca_keras.utils.checks import shown

# Difference that float32 may make where logits are 1 or smaller.
VERIFY_TOLERANCE = 1e-4
VERIFY_IMAGES = 2


@dataclasses.dataclass(frozen=True)
class Convert:
    """Convert a PyTorch checkpoint to a Keras model.

    The result is the bare network, which takes images after
    `preprocess_input`. Beside it, NAME.preprocessing.json tells `predict`,
    `evaluate` and `export` how images are prepared for it.

    Args:
        checkpoint: A file of torch.save or of safetensors, whatever its
            suffix, or the name of a network with public weights, such as
            ECAResNet50T.
        output: The .keras file to write.
        tag: Public weights, such as a1_in1k: those to download, or those
            whose images the file expects.
        test_size: Take the larger images at which timm measured a higher
            accuracy.
        labels: Text file with the names of the classes, one on each line.
        attention: 'eca', or 'none' for the file of a plain network.
        ema: Take the EMA of the weights, and refuse a file without one. By
            default the EMA is taken where there is one.
        no_ema: Take the weights themselves, not their EMA.
        include_top: Whether the classifier is kept. Without it the result is
            the backbone, which is all that a detector's file can give.
        verify: Compare with PyTorch, which has to be installed, and for
            timm's networks timm.
    """

    checkpoint: Annotated[str, Positional]
    output: Annotated[pathlib.Path, Positional]
    tag: str = "imagenet"
    test_size: bool = False
    labels: pathlib.Path | None = None
    attention: Literal["eca", "none"] = "eca"
    ema: bool = False
    no_ema: bool = False
    include_top: bool = True
    verify: bool = False

    EXAMPLES = (
        "eca-keras convert eca_resnet50_k3557.pth.tar resnet.keras",
        "eca-keras convert ECAResNet50T resnet50t.keras --tag a1_in1k",
    )

    def check(self) -> None:
        if self.output.suffix != ".keras":
            raise InputError(
                f"`output` must end in .keras. Received: output={self.output}"
            )
        if self.ema and self.no_ema:
            raise InputError("`ema` and `no_ema` exclude each other")

    def run(self) -> None:
        from eca_keras.weights import inspect_checkpoint

        path = self._file()
        network = inspect_checkpoint(path, ema=self._wanted_ema())
        if not self.include_top:
            network = dataclasses.replace(network, classes=None, head=None)
        print(_described(network), flush=True)
        preprocessing = self._preprocessing(network)
        model = self._model(path, network, preprocessing)
        count = sum(
            math.prod(weight.shape) for weight in model.trainable_weights
        )
        print(f"parameters: {count:,} trainable", flush=True)
        if self.verify:
            print(self._verified(path, network, preprocessing), flush=True)
        self._write(model, preprocessing)

    def _wanted_ema(self):
        return False if self.no_ema else self.ema or None

    def _file(self):
        """Return the checkpoint, downloaded if it is a network's name."""
        from eca_keras.applications.registry import BUILDERS

        if self.checkpoint not in BUILDERS:
            return self.checkpoint
        from eca_keras.weights import hub

        return hub.download(self.checkpoint, self.tag)

    def _preprocessing(self, network):
        from eca_keras.applications.image_settings import numbered_labels
        from eca_keras.weights import preprocessing

        settings = preprocessing(network.builder, self.tag, test=self.test_size)
        classes = network.classes or 0
        labels = numbered_labels(classes)
        if self.labels:
            text = self.labels.read_bytes().decode("utf-8", "replace")
            labels = tuple(text.splitlines())
        if len(labels) != classes or not all(map(str.strip, labels)):
            raise InputError(
                f"`labels` must be a file of {classes} lines, one name for "
                f"each class. Received: {self.labels} with {len(labels)} lines"
            )
        return dataclasses.replace(settings, labels=labels)

    def _model(self, path, network, preprocessing, **arguments):
        from eca_keras.weights import load_checkpoint

        size = preprocessing.image_size
        if self.attention == "none":
            arguments["attention"] = None
        if not self.include_top:
            arguments["include_top"] = False
        return load_checkpoint(
            path,
            ema=network.ema,
            input_shape=(size, size, preprocessing.channels),
            **arguments,
        )

    def _verified(self, path, network, preprocessing):
        """Return how far Keras and PyTorch are apart on generated images."""
        import numpy as np

        from eca_keras.weights import torch_reference

        size = preprocessing.image_size
        images = np.random.default_rng(0).normal(
            size=(VERIFY_IMAGES, size, size, preprocessing.channels)
        )
        images = images.astype("float32")
        expected = torch_reference.predict(path, network, images)
        logits = self._model(
            path, network, preprocessing, classifier_activation=None
        )
        difference = np.abs(logits.predict(images, verbose=0) - expected).max()
        largest = np.abs(expected).max()
        text = (
            f"max absolute error of a logit to PyTorch: {difference:.1e} "
            f"(largest logit: {largest:.2g})"
        )
        # In this form NaN does not pass.
        if not difference <= VERIFY_TOLERANCE * max(1.0, largest):
            raise ExportMismatch(f"{text}; nothing was written", None)
        return text

    def _write(self, model, preprocessing):
        from eca_keras.utils.files import staged_files

        settings = preprocessing.path(self.output)
        with staged_files(self.output, settings) as [file, settings_file]:
            model.save(file)
            pathlib.Path(settings_file).write_text(
                preprocessing.text(), "utf-8"
            )
        size = preprocessing.image_size
        print(
            f"written: {self.output}, {self.output.stat().st_size:,} bytes\n"
            f"written: {settings}, {size} x {size} pixels, "
            f"{preprocessing.crop_fraction:.3f} of the short side, "
            f"{preprocessing.interpolation}"
        )


def _described(network):
    kernels = "no kernels"
    if network.kernel_sizes:
        kernels = f"kernels {' '.join(map(str, network.kernel_sizes))}"
    options = "".join(
        f", {name}={shown(value)}" for name, value in network.options.items()
    )
    text = (
        f"recognised: {network.builder}, attention "
        f"{network.attention or 'none'}, {kernels} by stage, "
        f"{network.classes or 'no'} classes{options}"
    )
    if network.beside:
        kind, other = "the EMA", "--no-ema takes the weights themselves"
        if not network.ema:
            kind, other = "no EMA", "--ema takes it"
        text += (
            f"\nweights: {kind}, {shown(network.source)}; {other}, "
            f"{listed(network.beside)}"
        )
    elif network.source:
        kind = "the EMA, " if network.ema else ""
        text += f"\nweights: {kind}{shown(network.source)}"
    return text
