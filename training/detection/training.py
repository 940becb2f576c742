"""Training of detectors, by the loop that trains everything here."""

from eca_keras.training.detection.setup import DetectionSetup
from eca_keras.training.run.loop import carry_out
from eca_keras.training.run.plan import plan as plan_run


def train(config, resume=False, verbose=1, conclude=None):
    """Trains a detector and writes the results to `config.output`.

    The folder gets what a run of classification has, see
    `eca_keras.training.train`, with `detection.json` for
    `preprocessing.json`. The best epoch has the highest average precision on
    the validation images, of masks where there are any, or else of boxes.

    Args:
        config: `DetectConfig`.
        resume: Go on with the run in `config.output`, if there is one. On
            CPUs the weights become those of a run that never stopped, bit for
            bit.
        verbose: 0 is silent, 1 a progress bar, 2 a line per epoch.
        conclude: Called with the metrics on the first host, while the others
            wait.

    Returns:
        The content of `metrics.json`: COCO's figures on the validation
        images, see `average_precision.figure_names`, and what they are of.

    Raises:
        InputError, Diverged, Interrupted, HostLost: as
            `eca_keras.training.train`.
    """
    return carry_out(config, DetectionSetup.of, resume, verbose, conclude)


def plan(config):
    """Returns what `train` would do as a table, `(name, text)` pairs.

    Builds the detector and opens the data, computes and writes nothing.

    Args:
        config: `DetectConfig`.

    Raises:
        InputError: as `train`.
    """
    return plan_run(config, DetectionSetup.of)
