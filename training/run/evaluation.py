"""How good a model is, measured on all replicas of a strategy."""

import tensorflow as tf


class Evaluator:
    """Measures a task over all images of a feed.

    Args:
        cluster: `Cluster`, entered.
        task: Such as `Classification`.
    """

    def __init__(self, cluster, task):
        self.cluster = cluster
        self.strategy = cluster.strategy
        self.task = task
        self._measure = tf.function(self._measure_on_replicas, autograph=False)

    def evaluate(self, batches, interrupted=lambda: False):
        """Returns the mean of each of the task's names over the images.

        Args:
            batches: Iterable of arguments of `task.measure`, the last of
                which are the weights: 1 for an image, 0 for filling.
            interrupted: Tells whether this host was asked to stop.

        Returns:
            Dictionary, or `None` if any host was asked to stop.
        """
        self.cluster.unify(self.task.model.non_trainable_variables)
        total = [0.0] * (1 + len(self.task.names))
        for batch in batches:
            self.cluster.allow("evaluation did not go on")
            stop = tf.constant(float(interrupted()), tf.float64)
            stop, *sums = self._measure(batch, stop).numpy().tolist()
            if stop:
                return None
            total = [a + b for a, b in zip(total, sums, strict=True)]
        count, *sums = total
        return {
            name: value / count
            for name, value in zip(self.task.names, sums, strict=True)
        }

    def _measure_on_replicas(self, batch, stop):
        def on_replica(*batch):
            sums = self.task.measure(*batch)
            count = tf.reduce_sum(tf.cast(batch[-1], tf.float64))
            return report(stop, count, *(sums[x] for x in self.task.names))

        values = self.strategy.run(on_replica, args=batch)
        return self.strategy.reduce("SUM", values, axis=None)


def report(*values):
    """Puts scalars of a step into one tensor, to be added up at once."""
    return tf.stack([tf.cast(value, tf.float64) for value in values])
