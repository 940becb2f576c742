"""How the networks of a study are trained, if the user does not say."""

from eca_keras.training.recipes import recipe

# What 15 networks times 5 seeds can have of two cores in an afternoon; see
# docs/studies.md for what was measured. Augmentation is what suits the data.
_SETTINGS = {
    "epochs": 2,
    "batch_size": 128,
    "learning_rate": 0.1,
    "image_size": 32,
    "augmentation": None,
    "output": "runs/study",
    "export": (),
}


def settings_for(data, **changes):
    """Returns the `TrainConfig` of a study on some data.

    Args:
        data: As in `TrainConfig`.
        **changes: Fields that are not to be the study's own.
    """
    return recipe("fashion-mnist", **{**_SETTINGS, "data": data, **changes})
