"""Multiply-accumulates of one call of a layer, by its class."""

import math

import keras

from eca_keras.layers import ECA
from eca_keras.layers import GlobalContext
from eca_keras.layers.cbam import AverageMaxGate
from eca_keras.layers.channel_gate import ChannelGate
from eca_keras.layers.spatial_gate import SpatialGate
from eca_keras.layers.spatial_gate import SpatiallyGated


def rule(layer):
    """Return the function that counts a call of `layer`, or `None`.

    The function takes the layer, the shape of its input and that of its
    output, both with the batch. It returns the multiply-accumulates in the
    two countings that `eca_keras.profiling.counts.Profile` defines.
    """
    if hasattr(layer, "count_macs"):
        return lambda layer, inputs, outputs: layer.count_macs(inputs)
    classes = type(layer).__mro__
    return next((_RULES[cls] for cls in classes if cls in _RULES), None)


def size(shape):
    return math.prod(shape)


def _convolution(layer, inputs, outputs):
    # Kernel (*window, channels of a group, filters): one output element reads
    # all but the last.
    macs = size(outputs) * size(layer.kernel.shape[:-1])
    return macs, macs


def _depthwise(layer, inputs, outputs):
    macs = size(outputs) * size(layer.kernel.shape[:-2])
    return macs, macs


def _separable(layer, inputs, outputs):
    positions = size(outputs) // layer.filters
    macs = positions * (
        size(layer.depthwise_kernel.shape) + size(layer.pointwise_kernel.shape)
    )
    return macs, macs


def _transposed(layer, inputs, outputs):
    # Kernel (*window, filters, channels): one input element is spread over
    # all but the last.
    macs = size(inputs) * size(layer.kernel.shape[:-1])
    return macs, macs


def _dense(layer, inputs, outputs):
    macs = size(outputs) * layer.kernel.shape[0]
    return macs, macs


def _batch_normalization(layer, inputs, outputs):
    return 0, 4 * size(outputs)  # subtract, divide, scale, shift


def _global_average(layer, inputs, outputs):
    return 0, size(inputs) + size(outputs)  # additions, one division


def _average(layer, inputs, outputs):
    return 0, (size(layer.pool_size) + 1) * size(outputs)


def _means(layer, inputs):
    """Return the number of means that a gate is computed from."""
    return inputs[0] * inputs[layer._channel_axis]


def _channel_gate(layer, inputs, outputs):
    # All but biases (rank 1) is matrices and kernels over channels, each
    # number of which is used once per sample.
    kernels = (w.shape for w in layer.weights if len(w.shape) > 1)
    macs = inputs[0] * sum(size(shape) for shape in kernels)
    return macs, macs + size(inputs) + _means(layer, inputs)


def _eca(layer, inputs, outputs):
    means = _means(layer, inputs)
    macs = means * layer.resolved_kernel_size
    return macs, macs + size(inputs) + means


def _average_max_gate(layer, inputs, outputs):
    # The same matrices for the means and the maxima; thop counts no maximum.
    macs, thop_macs = _channel_gate(layer, inputs, outputs)
    return 2 * macs, thop_macs + macs


def _spatial_gate(layer, inputs, outputs):
    positions = size(inputs) // inputs[layer._channel_axis]
    macs = positions * size(layer.kernel.shape)
    return macs, macs


def _spatially_gated(layer, inputs, outputs):
    gates = (layer.channel_gate, layer.spatial_gate)
    costs = [rule(gate)(gate, inputs, outputs) for gate in gates]
    return tuple(map(sum, zip(*costs, strict=True)))


def _global_context(layer, inputs, outputs):
    # The score of each position and two matrices. The weighted mean is a
    # product of two feature maps, neither a convolution nor a dense layer.
    kernels = (layer.reduce_kernel, layer.expand_kernel)
    macs = size(inputs) + inputs[0] * sum(size(k.shape) for k in kernels)
    return macs, macs


def _nothing(layer, inputs, outputs):
    return 0, 0


# A subclass is counted like its nearest ancestor in the table.
_RULES = {
    keras.layers.Conv1D: _convolution,
    keras.layers.Conv2D: _convolution,
    keras.layers.Conv3D: _convolution,
    keras.layers.DepthwiseConv1D: _depthwise,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.SeparableConv1D: _separable,
    keras.layers.SeparableConv2D: _separable,
    keras.layers.Conv1DTranspose: _transposed,
    keras.layers.Conv2DTranspose: _transposed,
    keras.layers.Conv3DTranspose: _transposed,
    keras.layers.Dense: _dense,
    keras.layers.BatchNormalization: _batch_normalization,
    keras.layers.GlobalAveragePooling1D: _global_average,
    keras.layers.GlobalAveragePooling2D: _global_average,
    keras.layers.GlobalAveragePooling3D: _global_average,
    keras.layers.AveragePooling1D: _average,
    keras.layers.AveragePooling2D: _average,
    keras.layers.AveragePooling3D: _average,
    ChannelGate: _channel_gate,
    ECA: _eca,
    AverageMaxGate: _average_max_gate,
    SpatialGate: _spatial_gate,
    SpatiallyGated: _spatially_gated,
    GlobalContext: _global_context,
    # Weights, but neither convolution nor dense layer, and no rule of thop.
    keras.layers.Embedding: _nothing,
    keras.layers.GroupNormalization: _nothing,
    keras.layers.LayerNormalization: _nothing,
    keras.layers.Normalization: _nothing,
    keras.layers.PReLU: _nothing,
}
