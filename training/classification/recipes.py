"""Settings that belong together, by name."""

import dataclasses
from typing import Any

from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.config import find_recipe

_IMAGENET: Any = {"data": "tfds:imagenet2012", "kernel_size": "paper"}

# Rates are per step, epochs are passes over the data, `warmup` is a fraction
# of all steps; see `TrainConfig` for each of them.
RECIPES = {
    # Images of at most 32 pixels a side, some thousands of them.
    "small": TrainConfig(),
    # 93 % and more on the test images in half an hour of two CPU cores.
    "fashion-mnist": TrainConfig(
        data="fashion-mnist",
        model="ECAResNet20",
        epochs=12,
        batch_size=128,
        learning_rate=0.2,
        schedule="cosine",
        warmup=0.15,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        decayed="kernels",
        augmentation="flip",
        validation_fraction=0.05,
        output="runs/fashion-mnist",
    ),
    # ECA-Net, section 4.1: ResNets on ImageNet.
    "paper-resnet": TrainConfig(
        **_IMAGENET,
        model="ECAResNet50",
        epochs=100,
        batch_size=256,
        base_batch_size=256,
        learning_rate=0.1,
        schedule="steps",
        warmup=0.0,
        decay_every=30,
        decay_rate=0.1,
        momentum=0.9,
        nesterov=False,
        weight_decay=1e-4,
        decayed="all",
        antialias=True,
        output="runs/paper-resnet",
    ),
    # ECA-Net, section 4.1: MobileNetV2 on ImageNet.
    "paper-mobilenetv2": TrainConfig(
        **_IMAGENET,
        model="ECAMobileNetV2",
        epochs=400,
        batch_size=96,
        base_batch_size=96,
        learning_rate=0.045,
        schedule="steps",
        warmup=0.0,
        decay_every=1,
        decay_rate=0.98,
        momentum=0.9,
        nesterov=False,
        weight_decay=4e-5,
        decayed="all",
        dropout=0.25,
        antialias=True,
        output="runs/paper-mobilenetv2",
    ),
    # After He et al., Bag of Tricks (arXiv 1812.01187), with RandAugment
    # (1909.13719), CutMix (1905.04899) and an EMA of the weights over about
    # 1/(1 - ema) = 10,000 steps, eight epochs.
    "modern": TrainConfig(
        **_IMAGENET,
        model="ECAResNet50",
        epochs=200,
        batch_size=1024,
        base_batch_size=256,
        learning_rate=0.1,
        schedule="cosine",
        warmup=5 / 200,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-5,
        decayed="kernels",
        label_smoothing=0.1,
        mixup=0.2,
        cutmix=1.0,
        randaugment=0.1,
        ema=0.9999,
        output="runs/modern",
    ),
}
RECIPES = {
    name: dataclasses.replace(config, recipe=name)
    for name, config in RECIPES.items()
}


def recipe(name: str, **changes) -> TrainConfig:
    """Return the `TrainConfig` of a recipe, with some settings changed.

    Args:
        name: A key of `RECIPES`.
        **changes: Fields of `TrainConfig`.
    """
    return dataclasses.replace(find_recipe(RECIPES, name), **changes)
