"""Steps of training on all replicas of a strategy.

Keras's own `fit` does not run on several hosts (keras-team/keras#20585), and
it cannot stop, save and go on in the middle of an epoch. The networks are
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
    """Trains a task, step by step.

    Args:
        cluster: `Cluster`, entered.
        task: Such as `Classification`: what is learned and measured.
        optimizer: Keras optimizer, not built yet.
        batch_size: Images per step, over all replicas.
        xla: Compile the training step; for one replica only.
        clip_norm: Largest norm of all gradients together, those of all
            replicas summed up; longer ones are shortened. `None` for any.

    Attributes:
        step: Number of steps that were trained.
        sums: Sums of the task's names over the images of this epoch.
        images: Number of these images.
    """

    def __init__(
        self, cluster, task, optimizer, batch_size, xla=False, clip_norm=None
    ):
        self.cluster = cluster
        self.strategy = cluster.strategy
        self.task = task
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.clip_norm = clip_norm
        self.step = 0
        self.start_epoch()
        self._overflows = 0
        self._pending = None
        with self.strategy.scope():
            optimizer.build(self.learned)
        self._train = tf.function(
            self._train_on_replicas, autograph=False, jit_compile=xla
        )

    @property
    def learned(self):
        return self.task.model.trainable_variables

    @property
    def variables(self):
        """All that training changes: weights, statistics, slots."""
        return [*self.task.model.variables, *self.optimizer.variables]

    def start_epoch(self):
        """Sets the sums back."""
        self.sums = dict.fromkeys(self.task.names, 0.0)
        self.images = 0

    def means(self):
        """Returns the mean of each name over the images of this epoch."""
        self.settle()
        count = max(self.images, 1)
        return {name: value / count for name, value in self.sums.items()}

    def train(self, batch, interrupted=lambda: False):
        """Trains one step.

        Args:
            batch: What the feed gives: arguments of `task.learn`.
            interrupted: Tells whether this host was asked to stop.

        Returns:
            Whether any host was asked to stop, the same on all of them.
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
        """Adds what the last step returned to the sums.

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
            for name, value in zip(self.task.names, sums, strict=True):
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
                sums = self.task.learn(*batch)
                # Of all replicas, whose gradients are added up.
                loss = sums["loss"] / self.batch_size
                loss += self._regularization()
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, self.learned)
            if self.clip_norm:
                gradients = self._clipped(gradients)
            self.optimizer.apply(gradients, self.learned)
            return report(stop, *(sums[name] for name in self.task.names))

        values = self.strategy.run(on_replica, args=batch)
        return self.strategy.reduce("SUM", values, axis=None)

    def _regularization(self):
        losses = self.task.model.losses
        replicas = self.strategy.num_replicas_in_sync
        return sum(losses) / replicas if losses else 0.0

    def _clipped(self, gradients):
        """Shortens the sum of the replicas' gradients to `clip_norm`.

        An optimizer's own `global_clipnorm` would look at each replica's
        share for itself. It also adds the shares up, so each gets an equal
        part of the sum.
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
