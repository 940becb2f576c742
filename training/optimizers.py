"""Optimizers that Keras does not have, or not right on several replicas."""

import keras
from keras import ops

from eca_keras.utils.checks import check
from eca_keras.utils.keras_graph import leaves


@keras.saving.register_keras_serializable("eca_keras")
class TorchSGD(keras.optimizers.Optimizer):
    """Stochastic gradient descent with the arithmetic of `torch.optim.SGD`.

    In every step, for a weight `w` with the gradient `g`:

        g = g + weight_decay * w
        b = momentum * b + (1 - dampening) * g    (b = g in the first step)
        w = w - learning_rate * (g + momentum * b if nesterov else b)

    `keras.optimizers.SGD` differs twice: its decay stays outside of the
    momentum, where it is about `1 - momentum` times as strong, and its
    momentum holds the learning rate, so that an old rate lives on after the
    rate is lowered. Recipes made for PyTorch do not carry over to it.

    Gradients are clipped before the decay is added, as in PyTorch. On
    several replicas the decay is added once, to the sum of their gradients.
    As in PyTorch, all trainable weights decay, also those of
    BatchNormalization; `exclude_from_weight_decay` makes exceptions.

    Args:
        learning_rate: Float or schedule.
        momentum: Number in [0, 1].
        nesterov: Whether to look ahead; needs a momentum and no dampening.
        weight_decay: Coefficient of the L2 penalty `weight_decay / 2 * w^2`;
            0 or `None` for none.
        dampening: Number in [0, 1], the part of a gradient that does not
            enter the momentum.
        **kwargs: Other arguments of `keras.optimizers.Optimizer`: clipping,
            `use_ema`, `gradient_accumulation_steps`, `name`.

    Reference: [torch.optim.SGD](
    https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html).
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        dampening: float = 0.0,
        **kwargs,
    ):
        for name, value in (("momentum", momentum), ("dampening", dampening)):
            check(name, value, 0 <= value <= 1, "must be in [0, 1]")
        decays = weight_decay is None or weight_decay >= 0
        check("weight_decay", weight_decay, decays, "must be at least 0")
        if nesterov and (not momentum or dampening):
            raise ValueError(
                "`nesterov` must be False without momentum and with "
                f"dampening. Received: nesterov={nesterov!r}, "
                f"momentum={momentum!r}, dampening={dampening!r}"
            )
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.momentum = momentum
        self.nesterov = nesterov
        self.dampening = dampening

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.buffers = []
        if self.momentum:
            self.buffers = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        def exact(value):
            # `ops.cast` takes a Python number through float32.
            return ops.convert_to_tensor(value, dtype=variable.dtype)

        gradient = ops.cast(gradient, variable.dtype)
        if self.weight_decay and self._use_weight_decay(variable):
            decay = ops.multiply(exact(self.weight_decay), variable)
            gradient = ops.add(gradient, decay)
        if self.momentum:
            buffer = self.buffers[self._get_variable_index(variable)]
            momentum = exact(self.momentum)
            entering = gradient
            if self.dampening:
                first = ops.equal(self.iterations, 0)
                entering = ops.multiply(
                    ops.where(first, exact(1), exact(1 - self.dampening)),
                    gradient,
                )
            updated = ops.add(ops.multiply(momentum, buffer), entering)
            self.assign(buffer, updated)
            if self.nesterov:
                gradient = ops.add(gradient, ops.multiply(momentum, updated))
            else:
                gradient = updated
        rate = ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, ops.multiply(rate, gradient))

    def _apply_weight_decay(self, variables):
        """Do nothing: Keras would decay outside of the momentum here."""

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "nesterov": self.nesterov,
            "dampening": self.dampening,
        }


@keras.saving.register_keras_serializable("eca_keras")
class DistributedLossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """`keras.optimizers.LossScaleOptimizer` for several replicas.

    Keras looks for infinite and NaN gradients before it sums them over the
    replicas. When only one replica overflows, every weight becomes NaN
    under MirroredStrategy, and MultiWorkerMirroredStrategy waits for ever.
    Here the replicas agree first, and all of them skip the step and halve
    the scale.

    Pass it to `compile` yourself: Keras wraps the optimizer of a
    `mixed_float16` model in its own class only where it is not yet wrapped.

    Args: as those of `keras.optimizers.LossScaleOptimizer`.
    """

    def apply(self, grads, trainable_variables=None):
        if keras.backend.backend() == "tensorflow":
            grads = self._agree(list(grads))
        super().apply(grads, trainable_variables)

    def _agree(self, grads):
        """Make a gradient NaN on all replicas if it is bad on one."""
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        given = [i for i, gradient in enumerate(grads) if gradient is not None]
        if not given or not replica or replica.num_replicas_in_sync == 1:
            return grads
        # The sum has to be finite, too: each part must leave room for it.
        room = float(replica.num_replicas_in_sync)
        finite = self.check_finite(
            [grads[i] * tf.cast(room, grads[i].dtype) for i in given]
        )
        bad = replica.all_reduce(
            tf.distribute.ReduceOp.SUM, 1.0 - tf.cast(finite, tf.float32)
        )
        # One is enough for `super().apply` to find.
        first = given[0]
        poison = tf.where(bad > 0, float("nan"), 0.0)
        grads[first] = grads[first] + tf.cast(poison, grads[first].dtype)
        return grads


def make_optimizer(config, schedule, model):
    """Return the optimizer that a `RunConfig` describes.

    Args:
        config: `RunConfig`.
        schedule: Learning rate over the steps.
        model: The model that it trains.
    """
    average = {
        "use_ema": config.ema > 0,
        "ema_momentum": config.ema,
        "ema_overwrite_frequency": None,
    }
    if config.optimizer == "sgd":
        optimizer = TorchSGD(
            schedule,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            **average,
        )
    elif config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(
            schedule, beta_1=config.momentum, **average
        )
    else:
        optimizer = keras.optimizers.AdamW(
            schedule,
            beta_1=config.momentum,
            weight_decay=config.weight_decay,
            **average,
        )
    if config.weight_decay and config.decayed == "kernels":
        optimizer.exclude_from_weight_decay(_not_kernels(model))
    if config.precision == "mixed_float16":
        optimizer = DistributedLossScaleOptimizer(optimizer)
    return optimizer


def optimizer_variables(config) -> int:
    """Return how many numbers the optimizer keeps for a trainable one."""
    moments = 1 if config.optimizer == "sgd" else 2
    if config.optimizer == "sgd" and not config.momentum:
        moments = 0
    return moments + (config.ema > 0)


def _not_kernels(model):
    """Return all trainable variables but the kernels of the network.

    The scales and offsets of BatchNormalization, the biases and the few
    weights of attention are not what makes a network overfit.
    """
    kinds = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.Dense,
    )
    kernels = {id(x.kernel) for x in leaves(model) if isinstance(x, kinds)}
    return [v for v in model.trainable_variables if id(v) not in kernels]


def synchronize(model):
    """Let BatchNormalization see the images of all replicas."""
    for layer in leaves(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
