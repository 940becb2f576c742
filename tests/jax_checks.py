"""Runs the layers and networks on the JAX backend, in a process of its own.

    KERAS_BACKEND=jax python tests/jax_checks.py layers
    KERAS_BACKEND=jax python tests/jax_checks.py networks LOGITS.npz

Prints one line of JSON per check: what was checked and the largest difference
from NumPy (layers) or from the logits in the file, whose keys are
MODEL/ATTENTION (networks, relative to the largest logit).
"""

import json
import sys

import jax
import keras
import numpy as np
from cases import CASES
from cases import expected
from cases import images
from cases import make_map
from cases import network
from cases import positions
from cases import randomize
from cases import slope
from cases import to_format

FORMATS = ("channels_last", "channels_first")


def report(**what):
    print(json.dumps(what), flush=True)


def difference(a, b):
    return float(np.max(np.abs(np.asarray(a, "float64") - b)))


def check_layers():
    for name, case in CASES.items():
        for data_format in FORMATS:
            for rank in (3, 4, 5):
                x = make_map((3, *positions(rank), 32))
                layer, run = _compile(case, x, data_format)
                outputs, gradients = run(
                    [v.value for v in layer.trainable_variables],
                    to_format(x, data_format).astype("float32"),
                )
                outputs = np.asarray(outputs)
                if data_format == "channels_first":
                    outputs = np.moveaxis(outputs, 1, -1)
                report(
                    check="layer",
                    name=name,
                    data_format=data_format,
                    rank=rank,
                    outputs=difference(outputs, expected(case, layer, x)),
                    gradients=_gradient_errors(case, layer, x, gradients),
                )


def _compile(case, x, data_format):
    layer = case.make(data_format=data_format)
    layer.build(to_format(x, data_format).shape)
    randomize(layer)

    def loss(weights, x):
        outputs, _ = layer.stateless_call(weights, [], x)
        return (outputs**2).sum(), outputs

    def run(weights, x):
        (_, outputs), gradients = jax.value_and_grad(loss, has_aux=True)(
            weights, x
        )
        return outputs, gradients

    return layer, jax.jit(run)


def _gradient_errors(case, layer, x, gradients):
    """Relative error of each weight's slope in a random direction."""
    rng = np.random.default_rng(1)
    errors = []
    for index, gradient in enumerate(gradients):
        directions = [np.zeros(g.shape) for g in gradients]
        directions[index] = rng.normal(size=gradient.shape)
        exact = slope(case, layer, x, directions)
        ours = np.sum(np.asarray(gradient, "float64") * directions[index])
        errors.append(abs(ours - exact) / abs(exact))
    return errors


def check_networks(path):
    with np.load(path) as file:
        reference = dict(file)
    for key, logits in reference.items():
        model_name, name = key.split("/")
        x = images(model_name)
        for data_format in FORMATS:
            keras.config.set_image_data_format(data_format)
            keras.backend.clear_session()
            model = network(model_name, name)
            outputs = model.predict_on_batch(to_format(x, data_format))
            report(
                check="network",
                model=model_name,
                name=name,
                data_format=data_format,
                outputs=difference(outputs, logits)
                / float(np.abs(logits).max()),
            )


if __name__ == "__main__":
    assert keras.backend.backend() == "jax"
    if sys.argv[1] == "layers":
        check_layers()
    else:
        check_networks(sys.argv[2])
