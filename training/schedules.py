"""The learning rate over the steps of a run."""

import keras


def learning_rate(config, steps_per_epoch):
    """Returns the `LearningRateSchedule` that a `TrainConfig` describes."""
    peak = config.peak_learning_rate
    if config.schedule == "steps":
        # In a staircase, step n is in stair floor(n / decay_steps): the first
        # step of an epoch has the rate of that epoch.
        return keras.optimizers.schedules.ExponentialDecay(
            peak,
            decay_steps=config.decay_epochs * steps_per_epoch,
            decay_rate=config.decay_rate,
            staircase=True,
        )
    total = config.epochs * steps_per_epoch
    warmup = int(config.warmup * total)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        decay_steps=total - warmup,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def describe_rate(config):
    """Says how the peak of the learning rate comes about."""
    text = f"{config.peak_learning_rate:g}"
    if config.peak_learning_rate != config.learning_rate:
        text += (
            f" ({config.learning_rate:g} for {config.base_batch_size} images "
            f"a step, times {config.batch_size} / {config.base_batch_size})"
        )
    return text
