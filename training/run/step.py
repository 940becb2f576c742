"""Steps of training on all replicas of a strategy.

Keras's own `fit` does not run on several workers (keras-team/keras#20585), and
it cannot stop, save and resume in the middle of an epoch. The networks are
plain Keras models all the same, and `fit` trains them as well.
"""

import math

import keras
import tensorflow as tf

from eca_keras.errors import Diverged
from eca_keras.training.run.evaluation import report

# With dynamic loss scaling some steps overflow and change nothing. That many
# in a row are no overflow of the scale.
OVERFLOWS = 20


class Trainer:
    """Trains an objective, step by step.

    Args:
        cluster: `Cluster`, entered.
        objective: Such as `Classification`: the model and its losses.
        optimizer: Keras optimizer, not built yet.
        batch_size: Images per step, over all replicas.
        xla: Compile the training step; for one replica only.
        clip_norm: Largest global norm of the gradients, those of all replicas
            summed up. 0 for no clipping.

    Attributes:
        step: Number of steps that were trained.
        sums: Sums of the objective's names over the images of this epoch.
        images: Number of these images.
    """

    def __init__(
        self,
        cluster,
        objective,
        optimizer,
        batch_size,
        xla=False,
        clip_norm=0.0,
    ):
        self.cluster = cluster
        self.strategy = cluster.strategy
        self.objective = objective
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.clip_norm = clip_norm
        self.step = 0
        self.start_epoch()
        self._overflows = 0
        self._pending = None
        with self.strategy.scope():
            optimizer.build(self.trainable)
        self._train = tf.function(
            self._train_on_replicas, autograph=False, jit_compile=xla
        )

    @property
    def trainable(self):
        return self.objective.model.trainable_variables

    @property
    def variables(self):
        """All that training changes."""
        return [*self.objective.model.variables, *self.optimizer.variables]

    def start_epoch(self):
        """Set the sums back."""
        self.sums = dict.fromkeys(self.objective.names, 0.0)
        self.images = 0

    def means(self):
        """Return the mean of each name over the images of this epoch."""
        self.settle()
        count = max(self.images, 1)
        return {name: value / count for name, value in self.sums.items()}

    def train(self, batch, interrupted=lambda: False):
        """Train one step.

        Args:
            batch: What the feed gives: arguments of `objective.train_step`.
            interrupted: Tells whether this worker was asked to stop.

        Returns:
            Whether any worker was asked to stop, the same on all of them.
        """
        self.cluster.allow(f"step {self.step + 1} did not end")
        stop = tf.constant(float(interrupted()), tf.float64)
        values = self._train(batch, stop)
        self.step += 1
        self.settle()
        self._pending = self.step, values
        if self.cluster.several:
            self.settle()
            return self._stop
        # The numbers of the last step are looked at while a GPU computes the
        # next one.
        return interrupted()

    def settle(self):
        """Add what the last step returned to the sums.

        Raises:
            Diverged: if its loss is not finite.
        """
        if self._pending is None:
            return
        step, values = self._pending
        self._pending = None
        stop, *sums = values.numpy().tolist()
        self._stop = stop > 0
        if math.isfinite(sums[0]):
            self._overflows = 0
            for name, value in zip(self.objective.names, sums, strict=True):
                self.sums[name] += value
            self.images += self.batch_size
            return
        self._overflows += 1
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if not scaled or self._overflows > OVERFLOWS:
            raise Diverged(f"the loss became {sums[0]} in step {step}")

    def _train_on_replicas(self, batch, stop):
        def on_replica(*batch):
            with tf.GradientTape() as tape:
                sums = self.objective.train_step(*batch)
                # Of all replicas, whose gradients are added up.
                loss = sums["loss"] / self.batch_size
                loss += self._regularization()
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, self.trainable)
            if self.clip_norm:
                gradients = self._clipped(gradients)
            self.optimizer.apply(gradients, self.trainable)
            return report(stop, *(sums[name] for name in self.objective.names))

        values = self.strategy.run(on_replica, args=batch)
        return self.strategy.reduce("SUM", values, axis=None)

    def _regularization(self):
        losses = self.objective.model.losses
        replicas = self.strategy.num_replicas_in_sync
        return sum(losses) / replicas if losses else 0.0

    def _clipped(self, gradients):
        """Clip the sum of the replicas' gradients to `clip_norm`.

        An optimizer's own `global_clipnorm` would look at each replica's
        part by itself. It also adds the parts up, so each gets an equal part
        of the sum.
        """
        replica = tf.distribute.get_replica_context()
        count = replica.num_replicas_in_sync
        if count > 1:
            given = [g for g in gradients if g is not None]
            summed = iter(replica.all_reduce(tf.distribute.ReduceOp.SUM, given))
            gradients = [None if g is None else next(summed) for g in gradients]
        # The gradients are those of the scaled loss.
        longest = self.optimizer.scale_loss(self.clip_norm)
        gradients, _ = tf.clip_by_global_norm(gradients, longest)
        return [None if g is None else g / count for g in gradients]
