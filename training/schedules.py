"""The learning rate over the steps of a run."""

import keras
from keras import ops

from eca_keras.utils.checks import refusal


@keras.saving.register_keras_serializable("eca_keras")
class StepsAfterWarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that rises linearly at first and falls in steps.

    In step `n`, counted from 0, it is `peak`, times
    `start + (1 - start) * n / warmup_steps` in the first `warmup_steps`, times
    `factor` for each of the `boundaries` that `n` has reached. These are the
    schedules of mmdet.

    Args:
        peak: Rate after the rise.
        boundaries: Steps, integers.
        factor: Positive number.
        warmup_steps: Integer, 0 for no rise.
        start: Fraction of the peak that step 0 has.

    Example:

    >>> schedule = StepsAfterWarmUp(1.0, [8], 0.1, warmup_steps=4, start=0.2)
    >>> [round(float(schedule(step)), 2) for step in (0, 2, 4, 7, 8)]
    [0.2, 0.6, 1.0, 1.0, 0.1]
    """

    def __init__(self, peak, boundaries, factor, warmup_steps=0, start=0.0):
        super().__init__()
        self.peak = peak
        self.boundaries = list(boundaries)
        self.factor = factor
        self.warmup_steps = warmup_steps
        self.start = start

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = self.peak
        if self.warmup_steps:
            risen = ops.minimum(step / self.warmup_steps, 1.0)
            rate = rate * (self.start + (1 - self.start) * risen)
        if self.boundaries:
            reached = step >= ops.convert_to_tensor(self.boundaries, "float32")
            falls = ops.sum(ops.cast(reached, "float32"))
            rate = rate * ops.power(self.factor, falls)
        return ops.convert_to_tensor(rate, "float32")

    def get_config(self):
        return {
            "peak": self.peak,
            "boundaries": self.boundaries,
            "factor": self.factor,
            "warmup_steps": self.warmup_steps,
            "start": self.start,
        }


def learning_rate(config, steps_per_epoch: int):
    """Return the learning rate over the steps that a `RunConfig` describes.

    Args:
        config: `RunConfig`.
        steps_per_epoch: Steps of an epoch.

    Raises:
        InputError: if the warm-up takes as long as the run.
    """
    peak, start = config.peak_learning_rate, config.warmup_start
    total = config.epochs * steps_per_epoch
    warmup = config.warmup_steps
    if warmup is None:
        warmup = int(config.warmup * total)
    if warmup and warmup >= total:
        rule = f"must be below the {total} steps of the run"
        raise refusal("warmup_steps", warmup, rule)
    if config.schedule == "steps":
        boundaries = [epoch * steps_per_epoch for epoch in config.lowered_at()]
        return StepsAfterWarmUp(
            peak, boundaries, config.decay_rate, warmup, start
        )
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak * start if warmup else peak,
        decay_steps=total - warmup,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def describe_rate(config) -> str:
    """Return the peak of the learning rate and how it comes about."""
    peak, base = config.peak_learning_rate, config.base_learning_rate
    text = f"{peak:g}"
    if peak != base:
        text += (
            f" ({base:g} for {config.base_batch_size} images a step, times "
            f"{config.batch_size} / {config.base_batch_size})"
        )
    return text
