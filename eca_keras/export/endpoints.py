"""What an export makes a file of: a function of named tensors."""

import keras

from eca_keras.export import checks
from eca_keras.export import metadata
from eca_keras.export.backend import tf
from eca_keras.export.checking import network as compare
from eca_keras.export.checking import samples as sampling

# Keras counts its names up (`keras_tensor_7`), so that they would change with
# what else the process has built. These do not.
INPUT_NAME = "images"
OUTPUT_NAME = "outputs"


class Endpoint:
    """Base class: a function of a Keras model, and how it is judged.

    It is called with tensors by their names, batch first, and returns a
    dictionary of tensors.

    Attributes:
        model: The `keras.Model` that has the weights.
        tolerance: The difference that passes if the user does not say.
        max_batch: Samples that the model or a file sees at once.
        least_opset: The first version of ONNX's operations that it can be
            made of.
    """

    tolerance = 1e-5
    max_batch = 32
    least_opset = 11

    def __init__(self, model):
        self.model = model

    def __call__(self, **tensors):
        raise NotImplementedError

    def on(self, model):
        """The same function of another model."""
        raise NotImplementedError

    @property
    def image_shape(self):
        """Shape of one image; `None` stands for any size."""
        return tuple(self.model.inputs[0].shape[1:])

    def specs(self, batch_size=None, shape=None):
        """What it takes: `tf.TensorSpec`s by name, in their order.

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
        """A function of tensors in the order of `specs`."""
        names = list(self.specs())
        return lambda *tensors: self(**dict(zip(names, tensors, strict=True)))

    def graph(self, batch_size=None):
        """The function of tensors, traced: a `tf.ConcreteFunction`.

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
        """The function as the model's `predict` runs it: as a graph.

        In half precision, where TensorFlow may keep what lies between two
        operations in float32, a graph answers otherwise than operation by
        operation.
        """
        specs, run = self.specs(), self.graph()
        return lambda **batch: run(
            *(
                tf.constant(batch[name], spec.dtype)
                for name, spec in specs.items()
            )
        )

    def metadata(self, labels, preprocessing):
        """Returns the `Metadata` of the file, after checking its parts."""
        raise NotImplementedError

    def check_quantization(self, quantize):
        """Raises where a kind of `quantization.KINDS` does not do."""

    def samples(self, samples, shape, count=sampling.COUNT):
        """Returns inputs to compare on, arrays by name.

        Args:
            samples: What the user gave.
            shape: Shape of one image, as in `specs`.
            count: How many to generate if that is nothing.
        """
        raise NotImplementedError

    def change(self, before, after):
        """Says how far outputs are from others, for a note."""
        raise NotImplementedError

    def compare(self, expected, actual, *, kind, allow_constant, **fields):
        """Returns the report of a file, or raises.

        Args:
            expected: The outputs of this function.
            actual: The outputs of the file.
            kind: The `Quantization` of the file.
            allow_constant: Whether outputs may pass that prove nothing.
            **fields: The other fields of the report.
        """
        raise NotImplementedError


class Network(Endpoint):
    """A model with one input and one output: from `images` to `outputs`."""

    def __init__(self, model):
        checks.model_input(model)
        super().__init__(model)

    def __call__(self, images):
        outputs = self.model(images, training=False)
        return {OUTPUT_NAME: keras.tree.flatten(outputs)[0]}

    def on(self, model):
        return Network(model)

    def metadata(self, labels, preprocessing):
        labels = metadata.check(preprocessing, labels, self.model)
        checks.check_labels(labels, self.model.outputs[0].shape[-1])
        return metadata.Metadata(labels, metadata.fields(preprocessing))

    def samples(self, samples, shape, count=sampling.COUNT):
        return {INPUT_NAME: sampling.resolve(samples, self.model, shape, count)}

    def change(self, before, after):
        before = before[OUTPUT_NAME].astype("float64")
        largest = abs(before - after[OUTPUT_NAME]).max()
        return f"changes its outputs by up to {largest:.1e}"

    def compare(
        self,
        expected,
        actual,
        *,
        kind,
        allow_constant,
        least_agreement=0.0,
        **fields,
    ):
        return compare.compare(
            expected[OUTPUT_NAME],
            actual[OUTPUT_NAME],
            allow_constant=allow_constant,
            integer=kind.integer,
            least_agreement=least_agreement if kind.integer else 0.0,
            **fields,
        )


def endpoint_of(model):
    """Returns the function that a file is made of.

    Args:
        model: An `Endpoint`, a detector, or another model.
    """
    if isinstance(model, Endpoint):
        return model
    from eca_keras.applications.detection.detector import Detector
    from eca_keras.export.detection import DetectionEndpoint

    if isinstance(model, Detector):
        return DetectionEndpoint(model)
    return Network(model)
