"""Training from a `TrainConfig` to a folder of results."""

import dataclasses
import functools
import json
import math
import pathlib
import time

import keras

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.atomic import write_text
from eca_keras.errors import InputError
from eca_keras.errors import require
from eca_keras.training.callbacks import History
from eca_keras.training.callbacks import SaveModels
from eca_keras.training.classifier import build_classifier
from eca_keras.training.curves import write_curves
from eca_keras.training.data import load_source
from eca_keras.training.data.pipeline import evaluation_batches
from eca_keras.training.data.pipeline import training_batches
from eca_keras.training.evaluation import compile_arguments
from eca_keras.training.evaluation import evaluate
from eca_keras.training.output import new_folder
from eca_keras.training.strategy import check_batch_size
from eca_keras.training.strategy import make_strategy


def train(config, verbose=1):
    """Trains a network and writes the results to `config.output`.

    The folder gets `model.keras` (the epoch with the best validation top-1),
    `last.keras`, `preprocessing.json`, `config.json`, `history.csv`,
    `curves.png`, `metrics.json` and TensorBoard logs in `tensorboard`.

    Args:
        config: `TrainConfig`.
        verbose: 0 is silent, 1 a progress bar, 2 a line per epoch.

    Returns:
        The content of `metrics.json`: loss, top-1 and top-5 (fractions) on
        the test images, or on the validation images where there are none.

    Raises:
        InputError: if something in `config` cannot be done.
    """
    require("train", "Training", "matplotlib", "tensorboard")
    started = time.monotonic()
    keras.utils.set_random_seed(config.seed)
    strategy = make_strategy(config.strategy)
    check_batch_size(config.batch_size, strategy)
    source = load_source(
        config.data, config.validation_fraction, config.check_images
    )
    preprocessing = Preprocessing(
        labels=source.class_names,
        image_size=config.image_size or source.image_size,
        channels=source.channels,
        crop_fraction=source.crop_fraction,
    )
    shown = functools.partial(
        evaluation_batches,
        batch_size=config.batch_size,
        image_size=preprocessing.image_size,
        crop_fraction=preprocessing.crop_fraction,
    )
    batches = training_batches(
        source.train,
        batch_size=config.batch_size,
        image_size=preprocessing.image_size,
        augmentation=config.augmentation or source.augmentation,
        seed=config.seed,
    )
    steps = source.train.size // config.batch_size
    with strategy.scope():
        model = _compiled_model(config, preprocessing, steps)
    # Last of the checks: a refused run leaves nothing behind.
    output = new_folder(config.output, "output")
    _write_json(output / "config.json", dataclasses.asdict(config))
    preprocessing.save(output)
    history = model.fit(
        batches,
        epochs=config.epochs,
        validation_data=shown(source.validation),
        callbacks=_callbacks(output),
        shuffle=False,  # the data set does it
        verbose=verbose,
    )
    _check_convergence(history.history["loss"], config)
    write_curves(output / "history.csv", output / "curves.png")
    with strategy.scope():
        model.load_weights(output / "model.keras")
    part = "validation" if source.test is None else "test"
    metrics = {
        "evaluated_on": part,
        "images": getattr(source, part).size,
        **evaluate(model, shown(getattr(source, part))),
        "model": config.model,
        "parameters": model.count_params(),
        "epochs": config.epochs,
        "replicas": strategy.num_replicas_in_sync,
        "seconds": round(time.monotonic() - started, 1),
    }
    _write_json(output / "metrics.json", metrics)
    return metrics


def _write_json(path, values):
    write_text(path, json.dumps(values, indent=2) + "\n")


def _compiled_model(config, preprocessing, steps):
    model = build_classifier(
        config.model,
        preprocessing=preprocessing,
        attention=config.attention,
        kernel_size=config.kernel_size,
    )
    optimizer = _optimizer(config, steps)
    optimizer.exclude_from_weight_decay(_not_decayed(model))
    model.compile(optimizer=optimizer, **compile_arguments(model))
    return model


def _not_decayed(model):
    """Returns all trainable variables but the kernels of the network.

    The scales and offsets of BatchNormalization, the biases and the few
    weights of attention are not what makes a network overfit.
    """
    kinds = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.Dense,
    )
    decayed = {id(x.kernel) for x in model.layers if isinstance(x, kinds)}
    return [v for v in model.trainable_variables if id(v) not in decayed]


def _check_convergence(losses, config):
    if not math.isfinite(losses[-1]):
        raise InputError(
            f"Training diverged: the loss became {losses[-1]} in epoch "
            f"{len(losses)}. A smaller `learning_rate` may help. "
            f"Received: learning_rate={config.learning_rate}"
        )


def _optimizer(config, steps):
    total = config.epochs * steps
    warmup = int(config.warmup * total)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else config.learning_rate,
        decay_steps=total - warmup,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return keras.optimizers.SGD(
        schedule,
        momentum=config.momentum,
        nesterov=config.momentum > 0,
        weight_decay=config.weight_decay or None,
    )


def _callbacks(output):
    return [
        History(output / "history.csv"),
        SaveModels(output),
        keras.callbacks.TensorBoard(
            log_dir=pathlib.Path(output) / "tensorboard", write_graph=False
        ),
        keras.callbacks.TerminateOnNaN(),
    ]
