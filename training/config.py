"""What a training run is made of."""

import dataclasses

from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of `eca-keras train`; every field is an option.

    Args:
        model: Name of a builder in eca_keras.applications.
        data: 'digits', 'fashion-mnist', 'fashion-mnist:FOLDER',
            'folder:PATH' or 'tfds:NAME'.
        epochs: Passes over the training images.
        batch_size: Images per step, over all devices together.
        learning_rate: Peak of the schedule: linear warm-up, then a cosine
            down to zero.
        warmup: Share of the steps in which the learning rate rises from zero.
        momentum: Of stochastic gradient descent with Nesterov's update.
        weight_decay: Fraction of the convolution and dense kernels that is
            taken away in each step, times the learning rate.
        image_size: Height and width in pixels; by default what suits the
            data.
        augmentation: 'none', 'shift', 'shift-flip' or 'crop-flip'; by
            default what suits the data.
        validation_fraction: Share of the training images that is kept back
            to choose the best epoch, where the data has no such part.
        check_images: Decode every file of a folder once before training, so
            that an unreadable one is named now and not in the middle.
        kernel_size: 'adaptive', 'paper', an odd integer, or a list of one
            per stage; null for attention without a kernel.
        attention: 'eca', another attention module, or 'none'.
        strategy: 'auto' (all GPUs, or else the CPU), 'one-device' or
            'mirrored' (all GPUs, or else all logical CPUs).
        seed: Of the weights, the order of the images and the augmentation.
        export: What to export the best model to: 'saved_model', 'tflite',
            'onnx'.
        output: Folder of the results. It must not hold an earlier run.
    """

    model: str = "ECAResNet20"
    data: str = "digits"
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.1
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    image_size: int | None = None
    augmentation: str | None = None
    validation_fraction: float = 0.1
    check_images: bool = True
    kernel_size: int | list[int] | str = "adaptive"
    attention: str = "eca"
    strategy: str = "auto"
    seed: int = 0
    export: list[str] | tuple[str, ...] = ("saved_model", "tflite")
    output: str = "runs/digits"

    def __post_init__(self):
        object.__setattr__(self, "export", tuple(self.export))
        self._at_least(1, "epochs", "batch_size")
        self._at_least(0, "weight_decay", "seed")
        if not 0 < self.learning_rate < float("inf"):
            self._reject("learning_rate", "must be positive and finite")
        if self.seed >= 2**32:
            self._reject("seed", "must be below 2^32")
        for name in ("warmup", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                self._reject(name, "must be at least 0 and below 1")
        if not 0 < self.validation_fraction < 1:
            self._reject("validation_fraction", "must be between 0 and 1")
        if not self.output:
            self._reject("output", "must name a folder")
        if self.image_size is not None:
            self._at_least(8, "image_size")
        self._one_of(AUGMENTATIONS, "augmentation")
        self._one_of(STRATEGIES, "strategy")
        for name in self.export:
            if name not in EXPORTS:
                self._reject("export", f"must be among {', '.join(EXPORTS)}")

    def _at_least(self, least, *names):
        for name in names:
            if getattr(self, name) < least:
                self._reject(name, f"must be at least {least}")

    def _one_of(self, allowed, name):
        if getattr(self, name) not in allowed:
            words = ", ".join(str(word) for word in allowed)
            self._reject(name, f"must be one of {words}")

    def _reject(self, name, rule):
        raise InputError(
            f"`{name}` {rule}. Received: {name}={getattr(self, name)!r}"
        )


AUGMENTATIONS = (None, "none", "shift", "shift-flip", "crop-flip")
STRATEGIES = ("auto", "one-device", "mirrored")
# Formats, and what the result of each is called in the folder of a run.
EXPORTS = {
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "onnx": "model.onnx",
}
