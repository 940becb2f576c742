"""What the settings of all training runs share.

Neither Keras nor TensorFlow is imported here: the command line reads these
classes to print its help.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import re
import typing

from eca_keras.export.formats import FORMATS
from eca_keras.utils import checks
from eca_keras.utils.checks import refusal

Schedule = typing.Literal["cosine", "steps"]
Decayed = typing.Literal["kernels", "all"]
OptimizerName = typing.Literal["sgd", "adam", "adamw"]
Precision = typing.Literal["float32", "mixed_float16", "mixed_bfloat16"]
StrategyName = typing.Literal[
    "auto", "one-device", "mirrored", "multi-worker", "tpu"
]


def option(default, group, rule=None, *, resume=False):
    """Return a field of settings.

    Args:
        default: Its default.
        group: Heading under which the help lists it.
        rule: `(test, words)`: what a value must be like, if its type does
            not say.
        resume: Whether it may change when a run is resumed, since it has no
            say in the weights.
    """
    metadata = {"group": group, "rule": rule, "resume": resume}
    return dataclasses.field(default=default, metadata=metadata)


def shared(name, default):
    """Return the field `name` of `RunConfig` with another default."""
    field = RunConfig.__dataclass_fields__[name]
    return dataclasses.field(default=default, metadata=field.metadata)


def within(least, end):
    return (
        lambda x: least <= x < end,
        f"must be at least {least} and below {end}",
    )


def at_least(least):
    return lambda x: least <= x < float("inf"), f"must be at least {least}"


def or_none(rule):
    holds, words = rule
    return lambda x: x is None or holds(x), f"{words}, or None"


_NONE = type(None)

POSITIVE = (lambda x: 0 < x < float("inf"), "must be positive and finite")
COUNT = at_least(1)
FORMAT_NAMES = (
    lambda names: set(names) <= set(FORMATS),
    f"must be among {', '.join(FORMATS)}",
)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Settings of a training run; every field is an option.

    Args:
        recipe: Name of the recipe that the other settings come from where
            they are not given.
        data: The dataset.
        validation_fraction: Fraction of the training images that is kept for
            validation, where the data has no such split.
        on_bad_image: 'fail' names an unreadable image and stops. 'skip' takes
            another one instead and names it at the end.
        attention: 'eca', 'eca_circular', 'eca_ns', 'eca_spatial', 'se',
            'se_var1', 'se_var2', 'se_var3', 'se_gc', 'cbam', 'gc' or 'none'.
        kernel_size: 'adaptive' (Eq. 12 of the paper), 'paper' (of the
            released weights), an odd integer, or one per stage.
        alpha: Width multiplier of an ECAMobileNetV2.
        epochs: Passes over the training images.
        batch_size: Images per step, over all devices and workers together.
        optimizer: 'sgd' (as in PyTorch), 'adam', which goes with a
            `weight_decay` of 0, or 'adamw'.
        learning_rate: Peak of the schedule.
        base_batch_size: Batch size that the learning rate is meant for. The
            rate is scaled in proportion to `batch_size`. By default it is
            used as it is.
        schedule: 'cosine' (down to zero) or 'steps' (times `decay_rate` at
            each of `decay_epochs`, or every `decay_every` epochs).
        warmup: Fraction of the steps in which the learning rate rises
            linearly.
        warmup_steps: Number of these steps, instead of `warmup`.
        warmup_start: Fraction of the learning rate that step 0 has.
        decay_epochs: Epochs after which 'steps' lowers the learning rate.
        decay_every: Epochs from one step of 'steps' to the next, instead of
            `decay_epochs`.
        decay_rate: Factor of each step of 'steps'.
        momentum: Momentum of 'sgd'; beta_1 of 'adam' and 'adamw'.
        nesterov: Use Nesterov's momentum, with 'sgd'.
        weight_decay: L2 weight decay. With 'sgd' it is added to the gradients,
            as in PyTorch; 'adamw' applies it to the weights themselves.
        decayed: Which weights decay: 'kernels' (of convolutions and dense
            layers) or 'all' (scales, offsets and attention too, as in the
            authors' code).
        clip_norm: Largest global norm of the gradients, 0 for no clipping.
        ema: Momentum per step of the EMA of the weights, which is evaluated
            and saved; 0 for none.
        sync_batchnorm: Synchronize BatchNorm: normalize over the images of
            all replicas, not those of each.
        validation_every: Epochs from one evaluation to the next. The last
            epoch is always evaluated.
        precision: 'float32', 'mixed_float16' or 'mixed_bfloat16'.
        xla: Compile the training step with XLA, on one device.
        strategy: 'auto' (several workers if the environment names them, or
            all GPUs, or else the CPU), 'one-device', 'mirrored' (all GPUs, or
            else all logical CPUs), 'multi-worker' or 'tpu'.
        worker_timeout: Seconds after which a worker that waits for the others
            gives up.
        checkpoint_seconds: Seconds between checkpoints within an epoch. There
            is one after every epoch.
        seed: Seed of the weights, the order of the images and their
            augmentation.
        export: Formats that the command exports the best model to:
            'saved_model', 'tflite', 'onnx'.
        output: Folder of the results. It must not hold an earlier run, unless
            that is resumed.
    """

    recipe: str = option("", "data", resume=True)
    data: str = option("", "data")
    validation_fraction: float = option(
        0.1, "data", (lambda x: 0 < x < 1, "must be between 0 and 1")
    )
    on_bad_image: typing.Literal["fail", "skip"] = option(
        "fail", "data", resume=True
    )
    attention: str = option("eca", "model")
    kernel_size: int | list[int] | str = option("adaptive", "model")
    alpha: float | None = option(1.0, "model", or_none(POSITIVE))
    epochs: int = option(20, "schedule", COUNT)
    batch_size: int = option(64, "schedule", COUNT)
    optimizer: OptimizerName = option("sgd", "optimizer")
    learning_rate: float | None = option(0.1, "optimizer", POSITIVE)
    base_batch_size: int | None = option(
        None, "optimizer", (lambda x: x is None or x >= 1, COUNT[1])
    )
    schedule: Schedule = option("cosine", "schedule")
    warmup: float = option(0.1, "schedule", within(0, 1))
    warmup_steps: int | None = option(None, "schedule", or_none(at_least(0)))
    warmup_start: float = option(0.0, "schedule", within(0, 1))
    decay_epochs: list[int] | tuple[int, ...] = option((), "schedule")
    decay_every: int | None = option(None, "schedule", or_none(COUNT))
    decay_rate: float = option(0.1, "schedule", POSITIVE)
    momentum: float = option(0.9, "optimizer", within(0, 1))
    nesterov: bool = option(False, "optimizer")
    weight_decay: float = option(0.0, "optimizer", at_least(0))
    decayed: Decayed = option("all", "optimizer")
    clip_norm: float = option(0.0, "optimizer", at_least(0))
    ema: float = option(0.0, "optimizer", within(0, 1))
    sync_batchnorm: bool = option(False, "model")
    validation_every: int = option(1, "run", COUNT)
    precision: Precision = option("float32", "device")
    xla: bool = option(False, "device")
    strategy: StrategyName = option("auto", "device", resume=True)
    worker_timeout: float = option(600.0, "device", POSITIVE, resume=True)
    checkpoint_seconds: float = option(600.0, "run", at_least(0), resume=True)
    seed: int = option(
        0,
        "run",
        (lambda x: 0 <= x < 2**32, "must be at least 0 and below 2^32"),
    )
    export: list[str] | tuple[str, ...] = option(
        (), "run", FORMAT_NAMES, resume=True
    )
    output: str = option("", "run", (bool, "must name a folder"), resume=True)

    # Field that names the network of an alpha.
    NETWORK: typing.ClassVar[str]
    # Module with `make_task`, loaded when a run begins.
    TASK: typing.ClassVar[str]

    def __post_init__(self) -> None:
        for name in ("export", "decay_epochs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        choices = _choices(type(self))  # type: ignore[arg-type]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if hasattr(value, "item"):  # of NumPy, which JSON does not take
                value = value.item()
                object.__setattr__(self, field.name, value)
            if field.name in choices:
                checks.check_choice(field.name, value, choices[field.name])
            if rule := field.metadata["rule"]:
                holds, words = rule
                if not _holds(holds, value):
                    shown = list(value) if isinstance(value, tuple) else value
                    raise refusal(field.name, shown, words)
        self._check_optimizer()
        self._check_decay()
        network = getattr(self, self.NETWORK)
        if self.alpha not in (None, 1) and network != "ECAMobileNetV2":
            rule = f"must be 1 for every {self.NETWORK} but ECAMobileNetV2"
            raise refusal("alpha", self.alpha, rule)

    def _check_optimizer(self):
        if self.optimizer == "adam" and self.weight_decay:
            rule = "must be 0 with optimizer='adam'; 'adamw' has it"
            raise refusal("weight_decay", self.weight_decay, rule)
        if self.optimizer == "sgd" and self.nesterov and not self.momentum:
            rule = "must be positive with nesterov=True"
            raise refusal("momentum", self.momentum, rule)

    def _check_decay(self):
        epochs, every = self.decay_epochs, self.decay_every
        if self.schedule == "steps" and not epochs and every is None:
            rule = "must be given with schedule='steps', or `decay_every`"
            raise refusal("decay_epochs", [], rule)
        if self.schedule == "cosine" and epochs:
            rule = "must be empty with schedule='cosine'"
            raise refusal("decay_epochs", list(epochs), rule)
        if every is not None and (epochs or self.schedule == "cosine"):
            rule = "must be None with schedule='cosine' or `decay_epochs`"
            raise refusal("decay_every", every, rule)
        bounded = [0, *epochs, self.epochs]
        if epochs and any(
            before >= after
            for before, after in zip(bounded, bounded[1:], strict=False)
        ):
            rule = f"must rise, from 1 at least to below epochs={self.epochs}"
            raise refusal("decay_epochs", list(epochs), rule)

    @property
    def base_learning_rate(self) -> float:
        """The learning rate for `base_batch_size` images a step."""
        return typing.cast(float, self.learning_rate)

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate for `batch_size` images a step."""
        scale = self.batch_size / (self.base_batch_size or self.batch_size)
        return self.base_learning_rate * scale

    def lowered_at(self) -> list[int]:
        """Return the epochs after which 'steps' lowers the learning rate."""
        if self.decay_every is None:
            return list(self.decay_epochs)
        return list(range(self.decay_every, self.epochs, self.decay_every))

    def make_task(self, cluster):
        """Return the `Task` of these settings.

        Args:
            cluster: `Cluster`, entered.

        Raises:
            InputError: if something in the settings cannot be done.
        """
        return importlib.import_module(self.TASK).make_task(self, cluster)


def _holds(rule, value):
    try:
        return rule(value)
    except TypeError:  # None, or text for a number
        return False


@functools.cache
def _choices(kind):
    """The choices of a settings class, by field."""
    choices = {}
    for name, hint in typing.get_type_hints(kind).items():
        if typing.get_origin(hint) is typing.Literal:
            choices[name] = typing.get_args(hint)
        parts = typing.get_args(hint)
        if parts[1:] == (_NONE,) and typing.get_args(parts[0]):
            choices[name] = (None, *typing.get_args(parts[0]))
    return choices


def deciding(config) -> dict:
    """Return the settings of a run that have a say in its weights.

    As JSON has them: lists for tuples.
    """
    return {
        field.name: list(value) if isinstance(value, tuple) else value
        for field in dataclasses.fields(config)
        for value in [getattr(config, field.name)]
        if not field.metadata["resume"]
    }


def find_recipe(recipes, name):
    """Return one of the recipes; refuse a name that is none of theirs."""
    checks.check_choice("recipe", name, recipes)
    return recipes[name]


# What options of runs that were made earlier are called now.
_RENAMED = {"places": "max_objects", "fixed_statistics": "frozen_batchnorm"}


def upgraded(settings: dict) -> dict:
    """Return the settings of an earlier run under the names of today.

    Args:
        settings: What `config.json` holds.
    """
    settings = {
        _RENAMED.get(name, name): value for name, value in settings.items()
    }
    if isinstance(settings.get("decay_epochs"), int):
        every = settings.pop("decay_epochs")
        if settings.get("schedule") == "steps":
            settings["decay_every"] = every
    kernels = settings.get("kernel_size")
    if isinstance(kernels, str) and re.fullmatch(r"[\d,]+", kernels):
        sizes = [int(size) for size in kernels.split(",") if size]
        settings["kernel_size"] = sizes if len(sizes) > 1 else sizes[0]
    if "flip" in settings:
        flip = settings.pop("flip")
        settings["augmentation"] = "flip" if flip else "none"
    return settings
