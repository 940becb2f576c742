"""How good a model is."""

import keras


def compile_arguments(model):
    """Loss and metrics for `Model.compile`, exact on weighted batches.

    The metrics are `weighted_metrics`, so that the images which fill up the
    last batch of `evaluation_batches` do not count.

    Args:
        model: Model whose output has shape `(batch, classes)`.
    """
    classes = model.output_shape[-1]
    return {
        "loss": keras.losses.SparseCategoricalCrossentropy(),
        "weighted_metrics": [
            keras.metrics.SparseCategoricalAccuracy(name="top1"),
            keras.metrics.SparseTopKCategoricalAccuracy(
                min(5, classes), name="top5"
            ),
        ],
    }


def evaluate(model, batches, verbose=0):
    """Returns loss (nats), top-1 and top-5 (fractions) over all images.

    Args:
        model: A model compiled with `compile_arguments`.
        batches: Dataset made by `evaluation_batches`.
        verbose: As in `keras.Model.evaluate`.
    """
    results = model.evaluate(batches, verbose=verbose, return_dict=True)
    return {name: float(results[name]) for name in ("loss", "top1", "top5")}
