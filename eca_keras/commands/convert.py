"""`eca-keras convert`."""

import dataclasses
import math
import pathlib
import typing

import tyro

from eca_keras.errors import InputError

# Difference that float32 may make where logits are 1 or smaller.
VERIFY_TOLERANCE = 1e-4
VERIFY_IMAGES = 2


@dataclasses.dataclass(frozen=True)
class Convert:
    """Make a Keras model of a PyTorch checkpoint.

    The result is the bare network, which takes images after
    `preprocess_input`. Beside it, NAME.preprocessing.json tells `predict`,
    `evaluate` and `export` how images are made for it.

    Args:
        checkpoint: A .pth.tar, .pth or .safetensors file, or the name of a
            network with public weights, such as ECAResNet50T.
        output: The .keras file to write.
        tag: Public weights, such as a1_in1k: those to download, or those
            whose images the file expects.
        test_size: Take the larger images at which timm measured a higher
            accuracy.
        labels: Text file with the names of the classes, one per line.
        attention: 'eca', or 'none' for a file of a plain network.
        verify: Compare with PyTorch, which has to be installed, and for
            timm's networks timm.
    """

    checkpoint: typing.Annotated[str, tyro.conf.Positional]
    output: typing.Annotated[pathlib.Path, tyro.conf.Positional]
    tag: str = "imagenet"
    test_size: bool = False
    labels: pathlib.Path | None = None
    attention: str = "eca"
    verify: bool = False

    def _check(self):
        if self.output.suffix != ".keras":
            raise InputError(
                f"`output` must end in .keras. Received: output={self.output}"
            )
        if self.attention not in ("eca", "none"):
            raise InputError(
                "`attention` must be 'eca' or 'none': the rest is read off "
                f"the file. Received: attention={self.attention!r}"
            )

    def run(self):
        self._check()
        from eca_keras.weights import inspect_checkpoint

        path = self._file()
        network = inspect_checkpoint(path)
        print(_described(network), flush=True)
        preprocessing = self._preprocessing(network)
        model = self._model(path, preprocessing)
        count = sum(
            math.prod(weight.shape) for weight in model.trainable_weights
        )
        print(f"parameters: {count:,} trainable", flush=True)
        if self.verify:
            print(self._verified(path, network, preprocessing), flush=True)
        self._write(model, preprocessing)

    def _file(self):
        """The checkpoint, downloaded if it is a network's name."""
        from eca_keras.applications.registry import BUILDERS
        from eca_keras.weights import hub

        name = self.checkpoint
        if name in BUILDERS:
            return hub.download(name, self.tag)
        return name

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

    def _model(self, path, preprocessing, **arguments):
        from eca_keras.weights import load_checkpoint

        size = preprocessing.image_size
        if self.attention == "none":
            arguments["attention"] = None
        return load_checkpoint(
            path,
            input_shape=(size, size, preprocessing.channels),
            **arguments,
        )

    def _verified(self, path, network, preprocessing):
        """Says how far Keras and PyTorch are apart on generated images."""
        import numpy as np

        from eca_keras.export import ExportMismatch
        from eca_keras.weights import torch_reference

        size = preprocessing.image_size
        images = np.random.default_rng(0).normal(
            size=(VERIFY_IMAGES, size, size, preprocessing.channels)
        )
        images = images.astype("float32")
        expected = torch_reference.predict(path, network, images)
        logits = self._model(path, preprocessing, classifier_activation=None)
        difference = np.abs(logits.predict(images, verbose=0) - expected).max()
        largest = np.abs(expected).max()
        text = (
            f"largest logit difference from PyTorch: {difference:.1e} "
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
    options = "".join(f", {k}={v}" for k, v in network.options.items())
    return (
        f"recognised: {network.builder}, attention "
        f"{network.attention or 'none'}, {kernels} by stage, "
        f"{network.classes or 'no'} classes{options}"
    )
