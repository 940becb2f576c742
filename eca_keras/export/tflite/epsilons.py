"""Small numbers that a float16 file has lost.

The converter rounds every constant to float16, the epsilon of a division with
the weights. What is below 3e-8 becomes 0, and 0 / 0 is NaN: TensorFlow's NMS
adds 1e-8 to the union of two boxes, and without it loses detections, without a
warning. The smallest number of float16, 6e-8, does as
well as the epsilon.
"""

import numpy as np

SMALLEST = np.array([2.0**-24], "float16").view("uint8")

# What TFLite aligns the data of its tensors to, in bytes.
ALIGNMENT = 16
IDENTIFIER = b"TFL3"


def restore(content):
    """Give divisions their epsilons back.

    A sum with nothing, by which something is divided, had an epsilon.

    Args:
        content: Bytes of the TFLite file.

    Returns:
        The bytes, the same ones if nothing was lost, and the number of
        epsilons that were.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    lost = [
        tensor
        for graph in model.subgraphs
        for tensor in _lost(schema, model, graph)
    ]
    if not lost:
        return content, 0
    epsilon = schema.BufferT()
    epsilon.data = SMALLEST
    # A buffer of its own: other zeros may share that of an epsilon.
    model.buffers.append(epsilon)
    for tensor in lost:
        tensor.buffer = len(model.buffers) - 1
    return _packed(model), len(lost)


def notes(restored):
    """Return what a report says about epsilons that were lost."""
    if not restored:
        return ()
    return (
        "float16 had rounded the epsilon of "
        f"{'a division' if restored == 1 else f'{restored} divisions'} to 0: "
        f"it is {2.0**-24:.0e} now",
    )


def _lost(schema, model, graph):
    """The tensors of a graph that are 0 and were epsilons."""
    names = schema.BuiltinOperator
    makers = {i: op for op in graph.operators for i in op.outputs}

    def maker(index, name):
        """The operation of this name that makes a tensor, or None."""
        operator = makers.get(index)
        if operator is None:
            return None
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        return operator if code == name else None

    divisions = [op for i in makers if (op := maker(i, names.DIV))]
    for division in divisions:
        total = maker(division.inputs[1], names.ADD)
        for index in () if total is None else total.inputs:
            widened = maker(index, names.DEQUANTIZE)
            if widened is None:
                continue
            tensor = graph.tensors[widened.inputs[0]]
            data = model.buffers[tensor.buffer].data
            if data is not None and not np.any(data):
                yield tensor


def _packed(model):
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def StartVector(self, element_size, count, alignment):
            # Python's code for the schema forgets that of tensors.
            alignment = max(alignment, ALIGNMENT)
            return super().StartVector(element_size, count, alignment)

    builder = Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
