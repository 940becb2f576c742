"""Runs what is for any backend on one of them, in a process of its own.

    KERAS_BACKEND=jax python tests/backend_checks.py layers
    KERAS_BACKEND=jax python tests/backend_checks.py networks LOGITS.npz
    KERAS_BACKEND=torch python tests/backend_checks.py api

Prints one line of JSON per check: what was checked and the largest difference
from NumPy (layers) or from the logits in the file, whose keys are
MODEL/ATTENTION (networks, relative to the largest logit). Of the functions
(api) it prints the name, and the error where there was one.
"""

import json
import sys
import tempfile

import api_calls
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
                layer = case.make(data_format=data_format)
                values = to_format(x, data_format).astype("float32")
                layer.build(values.shape)
                randomize(layer)
                outputs, gradients = GRADIENTS[keras.backend.backend()](
                    layer, values
                )
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


def _with_jax(layer, x):
    """Outputs, compiled, and the gradients of the sum of their squares."""
    import jax

    def loss(weights, x):
        outputs, _ = layer.stateless_call(weights, [], x)
        return (outputs**2).sum(), outputs

    weights = [v.value for v in layer.trainable_variables]
    compiled = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, outputs), gradients = compiled(weights, x)
    return np.asarray(outputs), [np.asarray(each) for each in gradients]


def _with_torch(layer, x):
    outputs = layer(keras.ops.convert_to_tensor(x))
    if layer.trainable_variables:
        (outputs**2).sum().backward()
    gradients = [v.value.grad.numpy() for v in layer.trainable_variables]
    return outputs.detach().numpy(), gradients


GRADIENTS = {"jax": _with_jax, "torch": _with_torch}


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


def check_api():
    with tempfile.TemporaryDirectory() as folder:
        for name, call in api_calls.calls(folder).items():
            error = None
            try:
                call()
            except Exception as caught:
                error = f"{type(caught).__name__}: {caught}"
            report(name=name, error=error)


if __name__ == "__main__":
    assert keras.backend.backend() in GRADIENTS
    {"layers": check_layers, "networks": check_networks, "api": check_api}[
        sys.argv[1]
    ](*sys.argv[2:])
