"""Settings of detectors that belong together, by name."""

import dataclasses

from eca_keras.training.config import find_recipe
from eca_keras.training.detection.config import RATED_BATCH
from eca_keras.training.detection.config import DetectConfig

# Rates are per step, epochs are passes over the data; see `DetectConfig` for
# each of them.
DETECT_RECIPES = {
    # Generated images from scratch: some minutes of two CPU cores. The
    # backbone is the smallest of the builders that has the stages.
    "shapes": DetectConfig(),
    # The schedule that the paper's detectors were trained with (mmdet 1's
    # "1x"): 12 epochs, a tenth of the rate after the 8th and the 11th.
    "1x": DetectConfig(
        backbone="ECAResNet50",
        alpha=1.0,
        data="coco:coco",
        height=800,
        width=1344,
        epochs=12,
        batch_size=16,
        optimizer="sgd",
        learning_rate=None,
        base_batch_size=RATED_BATCH,
        schedule="steps",
        decay_epochs=(8, 11),
        decay_rate=0.1,
        warmup_steps=500,
        warmup_start=1 / 3,
        momentum=0.9,
        weight_decay=1e-4,
        clip_norm=35.0,
        frozen_stages=1,
        frozen_batchnorm=True,
        filters=256,
        units=1024,
        head_initializer="normal",
        anchor_size=32,
        anchor_samples=256,
        proposal_samples=512,
        train_proposals=2000,
        proposals=1000,
        augmentation="flip",
        max_objects=100,
        validation_every=1,
        output="runs/1x",
    ),
}
DETECT_RECIPES = {
    name: dataclasses.replace(config, recipe=name)
    for name, config in DETECT_RECIPES.items()
}


def detect_recipe(name: str, **changes) -> DetectConfig:
    """Return the `DetectConfig` of a recipe, with some settings changed.

    Args:
        name: A key of `DETECT_RECIPES`.
        **changes: Fields of `DetectConfig`.
    """
    return dataclasses.replace(find_recipe(DETECT_RECIPES, name), **changes)
