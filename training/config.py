"""What a training run is made of."""

import dataclasses

from eca_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of `eca-keras train`; every field is an option.

    Args:
        recipe: Name of the recipe that the other settings come from where
            they are not given; see `eca_keras.training.RECIPES`.
        model: Name of a builder in eca_keras.applications.
        data: 'digits', 'fashion-mnist', 'fashion-mnist:FOLDER',
            'folder:PATH' or 'tfds:NAME'.
        epochs: Passes over the training images.
        batch_size: Images per step, over all devices and hosts together.
        learning_rate: Peak of the schedule.
        base_batch_size: Batch size that the learning rate is meant for: it is
            scaled in proportion to `batch_size`. None: used as it is.
        schedule: 'cosine' (down to zero) or 'steps' (times `decay_rate` after
            every `decay_epochs`).
        warmup: Share of the steps in which the learning rate rises linearly
            from zero, for 'cosine'.
        decay_epochs: Epochs between the steps of 'steps'.
        decay_rate: Factor of each step of 'steps'.
        momentum: Of stochastic gradient descent, as in PyTorch.
        nesterov: Use Nesterov's momentum.
        weight_decay: Times the weights is added to their gradients, as in
            PyTorch.
        decayed: What the weight decay is for: 'kernels' (of convolutions and
            dense layers) or 'all' (scales, offsets and attention too, as in
            the authors' code).
        label_smoothing: Share of the label that all classes divide.
        mixup: Alpha of MixUp, 0 for none.
        cutmix: Alpha of CutMix, 0 for none. With both, each batch gets one.
        randaugment: Strength of RandAugment, from 0 (none) to 1.
        antialias: Average over the pixels that a smaller crop leaves out, as
            torchvision does; it halves the speed of the input.
        ema: Momentum per step of the moving average of the weights that is
            evaluated and saved, 0 for none.
        dropout: Rate of the dropout before the classifier.
        image_size: Height and width in pixels; by default what suits the
            data.
        augmentation: 'none', 'flip', 'shift', 'shift-flip' or 'crop-flip'; by
            default what suits the data.
        validation_fraction: Share of the training images that is kept back
            to choose the best epoch, where the data has no such part.
        check_images: Decode every file of a folder once before training, so
            that an unreadable one is named now and not in the middle.
        on_bad_image: 'fail' names an unreadable image and stops, 'skip' takes
            another one instead and names it at the end.
        kernel_size: 'adaptive', 'paper', an odd integer, or a list of one
            per stage; null for attention without a kernel.
        attention: 'eca', another attention module, or 'none'.
        alpha: Width of an ECAMobileNetV2, times the standard one.
        precision: 'float32', 'mixed_float16' or 'mixed_bfloat16'.
        xla: Compile the training step with XLA, on one device.
        sync_batchnorm: Normalize over the images of all replicas, not those
            of each.
        strategy: 'auto' (several hosts if the environment names them, or all
            GPUs, or else the CPU), 'one-device', 'mirrored' (all GPUs, or
            else all logical CPUs), 'multi-worker' or 'tpu'.
        worker_timeout: Seconds after which a host that waits for the others
            gives up.
        checkpoint_seconds: Seconds between checkpoints within an epoch; there
            is one after every epoch.
        seed: Of the weights, the order of the images and the augmentation.
        export: What to export the best model to: 'saved_model', 'tflite',
            'onnx'.
        output: Folder of the results. It must not hold an earlier run, unless
            that is resumed.
    """

    recipe: str = "small"
    model: str = "ECAResNet20"
    data: str = "digits"
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 0.1
    base_batch_size: int | None = None
    schedule: str = "cosine"
    warmup: float = 0.1
    decay_epochs: int = 30
    decay_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decayed: str = "kernels"
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    randaugment: float = 0.0
    antialias: bool = False
    ema: float = 0.0
    dropout: float = 0.0
    image_size: int | None = None
    augmentation: str | None = None
    validation_fraction: float = 0.1
    check_images: bool = True
    on_bad_image: str = "fail"
    kernel_size: int | list[int] | str = "adaptive"
    attention: str = "eca"
    alpha: float = 1.0
    precision: str = "float32"
    xla: bool = False
    sync_batchnorm: bool = False
    strategy: str = "auto"
    worker_timeout: float = 600.0
    checkpoint_seconds: float = 600.0
    seed: int = 0
    export: list[str] | tuple[str, ...] = ("saved_model", "tflite")
    output: str = "runs/digits"

    def __post_init__(self):
        object.__setattr__(self, "export", tuple(self.export))
        check(self, RANGES, CHOICES)
        if self.schedule == "steps" and self.warmup:
            rule = "must be 0 with schedule='steps'"
            raise refusal("warmup", self.warmup, rule)
        if self.alpha != 1 and self.model != "ECAMobileNetV2":
            rule = "must be 1 for all networks but ECAMobileNetV2"
            raise refusal("alpha", self.alpha, rule)
        if self.nesterov and not self.momentum:
            rule = "must be positive with nesterov=True"
            raise refusal("momentum", self.momentum, rule)

    @property
    def base_learning_rate(self):
        """The learning rate for `base_batch_size` images a step."""
        return self.learning_rate

    @property
    def peak_learning_rate(self):
        """The learning rate for `batch_size` images a step."""
        return scaled_rate(self)


def scaled_rate(config):
    """The learning rate of settings for their `batch_size`."""
    scale = config.batch_size / (config.base_batch_size or config.batch_size)
    return config.base_learning_rate * scale


def check(config, ranges, choices):
    """Refuses settings that are out of their ranges.

    Args:
        config: Object with the settings as attributes, `export` among them.
        ranges: What a value must be like, by name: a test and its words.
        choices: Allowed values, by name.

    Raises:
        InputError: for the first one.
    """
    for name, (allowed, rule) in ranges.items():
        if not allowed(getattr(config, name)):
            raise refusal(name, getattr(config, name), rule)
    for name, words in choices.items():
        if getattr(config, name) not in words:
            listed = ", ".join(str(word) for word in words)
            raise refusal(
                name, getattr(config, name), f"must be one of {listed}"
            )
    if not set(config.export) <= set(EXPORTS):
        rule = f"must be among {', '.join(EXPORTS)}"
        raise refusal("export", list(config.export), rule)


def refusal(name, value, rule):
    """Returns the error for a setting that cannot be."""
    return InputError(f"`{name}` {rule}. Received: {name}={value!r}")


def within(least, end):
    return (
        lambda x: least <= x < end,
        f"must be at least {least} and below {end}",
    )


def at_least(least):
    return lambda x: least <= x < float("inf"), f"must be at least {least}"


POSITIVE = (lambda x: 0 < x < float("inf"), "must be positive and finite")

RANGES = {
    "epochs": at_least(1),
    "batch_size": at_least(1),
    "learning_rate": POSITIVE,
    "base_batch_size": (lambda x: x is None or x >= 1, "must be at least 1"),
    "warmup": within(0, 1),
    "decay_epochs": at_least(1),
    "decay_rate": POSITIVE,
    "momentum": within(0, 1),
    "weight_decay": at_least(0),
    "label_smoothing": within(0, 1),
    "mixup": at_least(0),
    "cutmix": at_least(0),
    "randaugment": (lambda x: 0 <= x <= 1, "must be from 0 to 1"),
    "ema": within(0, 1),
    "dropout": within(0, 1),
    "image_size": (lambda x: x is None or x >= 8, "must be at least 8"),
    "validation_fraction": (lambda x: 0 < x < 1, "must be between 0 and 1"),
    "alpha": POSITIVE,
    "worker_timeout": POSITIVE,
    "checkpoint_seconds": at_least(0),
    "seed": (lambda x: 0 <= x < 2**32, "must be at least 0 and below 2^32"),
    "output": (bool, "must name a folder"),
}
# Formats, and what the result of each is called in the folder of a run.
EXPORTS = {
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "onnx": "model.onnx",
}
STRATEGIES = ("auto", "one-device", "mirrored", "multi-worker", "tpu")
CHOICES = {
    "schedule": ("cosine", "steps"),
    "decayed": ("kernels", "all"),
    "augmentation": (None, "none", "flip", "shift", "shift-flip", "crop-flip"),
    "on_bad_image": ("fail", "skip"),
    "precision": ("float32", "mixed_float16", "mixed_bfloat16"),
    "strategy": STRATEGIES,
}
# What may change when a run is resumed: it has no say in the weights.
FREE = (
    "recipe",
    "check_images",
    "on_bad_image",
    "on_bad_annotation",
    "strategy",
    "worker_timeout",
    "checkpoint_seconds",
    "export",
    "output",
)
