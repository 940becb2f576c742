"""Scales of an int8 file that its runtime would refuse.

Where the outputs of a layer are 0 for all calibration images (a dead ReLU, as
in a gate of few units), the converter takes its range to be next to
nothing. The scale that follows is millions of times too fine: XNNPACK takes
no product of the scales of input and weights that is 256 times the scale of
the output, or more, and LiteRT 2.3 then frees memory twice and aborts the
process. The layer returned 0, which has a value at any scale.
"""

import numpy as np

# What XNNPACK takes at most: scales of input and weights by that of the output.
LIMIT = 256.0
# What a layer beyond it gets: no coarser than it must be, for a layer with
# one channel of large weights need not be 0.
TARGET = 128.0

# Operations with weights, and those whose output has the scale of its input.
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
PASSING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "RELU", "RELU6", "TRANSPOSE")
POOLING = ("MAX_POOL_2D", "AVERAGE_POOL_2D", "REDUCE_MAX", "STRIDED_SLICE")


def widen(content):
    """Give layers of an int8 file scales that its runtime takes.

    Args:
        content: Bytes of the TFLite file.

    Returns:
        The bytes, changed where a scale was too fine, and the number of
        layers of which it was.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = bytearray(content)
    graph = _Graph(schema, schema.Model.GetRootAs(content, 0))
    widened = sum(graph.repair(operator) for operator in graph.operators)
    return bytes(content), widened


def notes(widened):
    """Return what a report says about layers whose scale was too fine."""
    if not widened:
        return ()
    layers = "1 layer" if widened == 1 else f"{widened} layers"
    return (
        f"{layers} had outputs next to 0 for the calibration images: a coarser "
        "scale was set, which LiteRT needs",
    )


def operators(schema, model, graph):
    """Yield the operators of a graph in a file, each after its name."""
    names = {code: name for name, code in vars(schema.BuiltinOperator).items()}
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        yield names[code], operator


class _Graph:
    """The only subgraph of a file, changed in place."""

    def __init__(self, schema, model):
        self.model, self.graph = model, model.Subgraphs(0)
        self.operators = list(operators(schema, model, self.graph))

    def repair(self, named):
        """Repair one operation; return whether it had to be."""
        name, operator = named
        if name not in WEIGHTED:
            return False
        scales = [
            self.scales(operator.Inputs(0)),
            self.scales(operator.Inputs(1)),
            self.scales(operator.Outputs(0)),
        ]
        if any(each is None for each in scales):  # in floats
            return False
        inputs, weights, outputs = scales
        finest = inputs[0] * weights.max()
        if finest < LIMIT * outputs[0]:
            return False
        self.rescale(operator.Outputs(0), np.float32(finest / TARGET))
        return True

    def scales(self, index):
        """Return the scales of a tensor, a view of the file; `None` without."""
        quantization = self.graph.Tensors(index).Quantization()
        if quantization is None or not quantization.ScaleLength():
            return None
        return quantization.ScaleAsNumpy()

    def rescale(self, index, scale):
        """Change the scale of a tensor, and what has to follow it."""
        scales = self.scales(index)
        factor = np.float64(scale) / scales[0]
        scales[0] = scale
        for name, operator in self.operators:
            if operator.Inputs(0) != index:
                continue
            if name in (*PASSING, *POOLING):
                self.rescale(operator.Outputs(0), scale)
            elif name in WEIGHTED:
                self.rescale_bias(operator, factor)

    def rescale_bias(self, operator, factor):
        """Change that of a bias, which is that of input times weights."""
        if operator.InputsLength() < 3 or operator.Inputs(2) < 0:
            return
        tensor = self.graph.Tensors(operator.Inputs(2))
        self.scales(operator.Inputs(2))[:] *= np.float32(factor)
        data = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
        values = data.view("int32")
        values[:] = np.round(values / factor).astype("int32")
