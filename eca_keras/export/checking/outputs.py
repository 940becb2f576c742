"""Outputs of models and of exported files, and how long they take."""

import time

import keras
import numpy as np

ROUNDS = 10  # timed calls for the latency


def model_outputs(endpoint, samples):
    """Return the outputs of an endpoint for samples, arrays by name."""
    run = endpoint.as_predicted()
    return _by_batches(
        lambda batch: keras.tree.map_structure(np.array, run(**batch)),
        samples,
        endpoint.max_batch,
    )


def file_outputs(run, samples, batch_size):
    """Return the outputs of an exported file for samples, arrays by name.

    Args:
        run: Callable that maps a batch of exactly `batch_size` samples to
            its outputs.
        samples: Arrays of samples by name; the last batch is filled up.
        batch_size: Positive integer.
    """
    count = sample_count(samples)
    missing = -count % batch_size
    filled = {
        name: np.concatenate([values, *[values[-1:]] * missing])
        for name, values in samples.items()
    }
    outputs = _by_batches(run, filled, batch_size)
    return {name: values[:count] for name, values in outputs.items()}


def sample_count(samples):
    """Return the number of samples, which are arrays by name."""
    return len(next(iter(samples.values())))


def latency(run, samples, batch_size):
    """Return the median seconds of a call with `batch_size` samples."""
    batch = {
        name: np.resize(values, (batch_size, *values.shape[1:]))
        for name, values in samples.items()
    }
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def _by_batches(run, samples, batch_size):
    outputs = []
    for i in range(0, sample_count(samples), batch_size):
        batch = {name: x[i : i + batch_size] for name, x in samples.items()}
        # Copied: a runtime may write its next outputs to the same place.
        outputs.append({name: np.array(x) for name, x in run(batch).items()})
    return {
        name: np.concatenate([batch[name] for batch in outputs])
        for name in outputs[0]
    }
