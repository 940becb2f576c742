"""The attention layers in NumPy: float64, one sample at a time.

Every layer function takes a map `x` of shape `(batch, *positions, channels)`,
the layer's weights in the order of `layer.weights`, and `kept`, which says of
each position whether it counts, shape `(batch, *positions)`.
"""

import itertools

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def pool(x, kept, reduce=np.mean):
    """One number per sample and channel, 0 for a sample without positions."""
    return np.stack(
        [
            reduce(sample[where], axis=0)
            if where.any()
            else np.zeros(sample.shape[-1])
            for sample, where in zip(x, kept, strict=True)
        ]
    )


def per_channel(values, x):
    """Gives `(batch, channels)` numbers the rank of a map."""
    return values.reshape(len(x), *[1] * (x.ndim - 2), -1)


def scale(x, logits):
    return x * per_channel(sigmoid(logits), x)


def convolve_channels(y, kernels, circular=False):
    """`kernels[tap, channel]` weighs neighbour `tap` of `channel`."""
    size, channels = kernels.shape
    logits = np.zeros_like(y)
    for tap, channel in itertools.product(range(size), range(channels)):
        other = channel + tap - size // 2
        if circular:
            other %= channels
        if 0 <= other < channels:
            logits[:, channel] += kernels[tap, channel] * y[:, other]
    return logits


def eca(x, weights, kept, padding="zeros", **_):
    kernels = np.repeat(weights[0].reshape(-1, 1), x.shape[-1], axis=1)
    y = pool(x, kept)
    return scale(x, convolve_channels(y, kernels, padding == "circular"))


def eca_ns(x, weights, kept, **_):
    return scale(x, convolve_channels(pool(x, kept), weights[0][:, 0]))


def se_var1(x, weights, kept):
    return scale(x, pool(x, kept))


def se_var2(x, weights, kept):
    return scale(x, weights[0].ravel() * pool(x, kept))


def se_var3(x, weights, kept):
    return scale(x, np.einsum("bi,io->bo", pool(x, kept), weights[0]))


def se_group_conv(x, weights, kept, **_):
    _, size, channels = weights[0].shape
    matrix = np.zeros((channels, channels))
    for channel in range(channels):
        first = channel // size * size
        matrix[first : first + size, channel] = weights[0][0, :, channel]
    return scale(x, pool(x, kept) @ matrix)


def squeeze_excite(x, weights, kept, **_):
    w1, w2 = weights
    return scale(x, relu(pool(x, kept) @ w1) @ w2)


def spatial_gate(x, kernel, kept):
    pooled = np.stack([x.mean(axis=-1), x.max(axis=-1)], axis=-1)
    pooled = np.where(kept[..., None], pooled, 0)
    window = kernel.shape[:-2]
    margins = [(size // 2, size // 2) for size in window]
    padded = np.pad(pooled, [(0, 0), *margins, (0, 0)])
    logits = np.zeros(kept.shape)
    for offset in itertools.product(*map(range, window)):
        shifted = tuple(
            slice(start, start + extent)
            for start, extent in zip(offset, kept.shape[1:], strict=True)
        )
        logits += padded[(slice(None), *shifted)] @ kernel[offset][:, 0]
    return x * sigmoid(logits)[..., None]


def cbam(x, weights, kept, **_):
    w1, w2, kernel = weights
    logits = sum(
        relu(pool(x, kept, reduce) @ w1) @ w2 for reduce in (np.mean, np.max)
    )
    return spatial_gate(scale(x, logits), kernel, kept)


def eca_spatial(x, weights, kept, **_):
    return spatial_gate(eca(x, weights[:1], kept), weights[1], kept)


def global_context(x, weights, kept, **_):
    w, w1, gamma, beta, w2 = weights

    def attend(rows, axis):
        scores = np.exp(rows @ w - np.max(rows @ w))
        return np.sum(rows * scores, axis=axis) / np.sum(scores)

    hidden = pool(x, kept, attend) @ w1
    mean = hidden.mean(axis=1, keepdims=True)
    deviation = np.sqrt(hidden.var(axis=1, keepdims=True) + 1e-5)
    hidden = relu((hidden - mean) / deviation * gamma + beta)
    return x + per_channel(hidden @ w2, x)
