"""What an export makes a file of: a function of named tensors."""

from __future__ import annotations

from typing import Any
from typing import ClassVar

import keras

from eca_keras.errors import InputError
from eca_keras.export import metadata
from eca_keras.export.backend import tf
from eca_keras.export.checking import network
from eca_keras.export.checking import samples as sampling
from eca_keras.utils import checks

# Keras counts its names up (`keras_tensor_7`), so that they would change with
# what else the process has built. These do not.
INPUT_NAME = "images"
OUTPUT_NAME = "outputs"


class Endpoint:
    """Base class: a function of a Keras model, and how it is judged.

    It is called with tensors by their names, batch first, and returns a
    dictionary of tensors. A subclass has the methods `__call__`, `on`,
    `metadata`, `samples`, `change` and `compare`, see `Network`.

    Attributes:
        model: The `keras.Model` that has the weights.
        tolerance: Default of the error that passes.
        max_batch: Samples that the model or a file sees at once.
        least_opset: The first opset of ONNX that has all its operations.
    """

    tolerance: ClassVar[float] = 1e-5
    max_batch: ClassVar[int] = 32
    least_opset: ClassVar[int] = 11

    def __init__(self, model: keras.Model):
        self.model = model

    def __call__(self, **tensors: Any) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """Shape of one image; `None` stands for any size."""
        return tuple(self.model.inputs[0].shape[1:])

    def specs(
        self,
        batch_size: int | None = None,
        shape: tuple[int | None, ...] | None = None,
    ) -> dict[str, tf.TensorSpec]:
        """Return the inputs: `tf.TensorSpec`s by name, in their order.

        Args:
            batch_size: `None` for any.
            shape: Shape of one image; `None` for that of the model.
        """
        shape = self.image_shape if shape is None else shape
        dtype = self.model.inputs[0].dtype
        return {
            INPUT_NAME: tf.TensorSpec((batch_size, *shape), dtype, INPUT_NAME)
        }

    def function(self):
        """Return a function of tensors in the order of `specs`."""
        names = list(self.specs())
        return lambda *tensors: self(**dict(zip(names, tensors, strict=True)))

    def graph(self, batch_size=None):
        """Return the function of tensors, traced: a `tf.ConcreteFunction`.

        Unlike a `tf.function` it may be one of many in a process: of these,
        TensorFlow would say that one is traced too often.

        Args:
            batch_size: `None` for any.
        """
        return tf.function(
            self.function(),
            input_signature=list(self.specs(batch_size).values()),
        ).get_concrete_function()

    def as_predicted(self):
        """Return the function as the model's `predict` runs it: as a graph.

        In half precision, where TensorFlow may keep what lies between two
        operations in float32, the outputs of a graph differ from those of
        its operations one by one.
        """
        specs, run = self.specs(), self.graph()
        return lambda **batch: run(
            *(
                tf.constant(batch[name], spec.dtype)
                for name, spec in specs.items()
            )
        )

    def check_quantization(self, quantize):
        """Refuse a kind of `quantization.KINDS` that does not do."""


class Network(Endpoint):
    """A model with one input and one output: from `images` to `outputs`."""

    def __init__(self, model):
        model_input(model)
        super().__init__(model)

    def __call__(self, images):
        outputs = self.model(images, training=False)
        return {OUTPUT_NAME: keras.tree.flatten(outputs)[0]}

    def on(self, model):
        """Return the same function of another model."""
        return Network(model)

    def metadata(self, labels, preprocessing):
        """Return the `Metadata` of the file, after checking its parts."""
        return metadata.of_network(self.model, labels, preprocessing)

    def samples(self, samples, shape, count=sampling.COUNT):
        """Return inputs to compare on, arrays by name.

        Args:
            samples: What the user gave.
            shape: Shape of one image, as in `specs`.
            count: How many to generate if that is nothing.
        """
        return {INPUT_NAME: sampling.resolve(samples, self.model, shape, count)}

    def change(self, before, after):
        """Say how far outputs are from others, for a note."""
        before = before[OUTPUT_NAME].astype("float64")
        largest = abs(before - after[OUTPUT_NAME]).max()
        return f"changes its outputs by up to {largest:.1e}"

    def compare(self, expected, actual, *, numbers, least_agreement, **fields):
        """Return the report of a file, or raise.

        Args:
            expected: The outputs of this function.
            actual: The outputs of the file.
            numbers: The `Numbers` of the file.
            least_agreement: The agreement that the file needs.
            **fields: `allow_constant`, whether outputs may pass that prove
                nothing, and the other fields of the report.
        """
        return network.compare(
            expected[OUTPUT_NAME],
            actual[OUTPUT_NAME],
            integer=numbers.integer,
            least_agreement=least_agreement if numbers.integer else 0.0,
            **fields,
        )


def model_input(model):
    """Return the only input of a model, a Keras tensor.

    Raises:
        ValueError: if `model` is not a built `keras.Model` with one input
            and one output, of any batch size.
    """
    is_model = isinstance(model, keras.Model)
    checks.check("model", model, is_model, "must be a keras.Model")
    # A Sequential without input shape raises; other models have no inputs.
    inputs = getattr(model, "inputs", None)
    if not model.built or not inputs:
        raise checks.refusal(
            "model",
            model,
            "must be built with a known input: a Functional model, or a "
            "Sequential one that starts with keras.Input. Another model `m` "
            "becomes one as `x = keras.Input(shape)` and "
            "`keras.Model(x, m(x))`",
        )
    if len(inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            "`model` must have one input and one output: export its parts "
            "one by one, as `keras.Model(one_input, one_output)`. Received a "
            f"model with {len(inputs)} inputs and {len(model.outputs)} "
            "outputs."
        )
    if inputs[0].shape[0] is not None:
        raise InputError(
            "`model` must take any batch size: build it on a keras.Input "
            "without `batch_size`. Received: a model for "
            f"{tuple(inputs[0].shape)}"
        )
    return inputs[0]
