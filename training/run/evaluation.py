"""Evaluation on all replicas of a strategy."""

import tensorflow as tf


class Evaluator:
    """Evaluates an objective over all images of a feed.

    Args:
        cluster: `Cluster`, entered.
        objective: Such as `Classification`.
    """

    def __init__(self, cluster, objective):
        self.cluster = cluster
        self.strategy = cluster.strategy
        self.objective = objective
        self._evaluate = tf.function(
            self._evaluate_on_replicas, autograph=False
        )

    def evaluate(self, batches, interrupted=lambda: False):
        """Return the mean of each of the objective's names over the images.

        Args:
            batches: Iterable of arguments of `objective.evaluate`, the last of
                which are the weights: 1 for an image, 0 for padding.
            interrupted: Tells whether this worker was asked to stop.

        Returns:
            Dictionary, or `None` if any worker was asked to stop.
        """
        self.cluster.unify(self.objective.model.non_trainable_variables)
        total = [0.0] * (1 + len(self.objective.names))
        for batch in batches:
            self.cluster.allow("evaluation did not go on")
            stop = tf.constant(float(interrupted()), tf.float64)
            stop, *sums = self._evaluate(batch, stop).numpy().tolist()
            if stop:
                return None
            total = [a + b for a, b in zip(total, sums, strict=True)]
        count, *sums = total
        return {
            name: value / count
            for name, value in zip(self.objective.names, sums, strict=True)
        }

    def _evaluate_on_replicas(self, batch, stop):
        def on_replica(*batch):
            sums = self.objective.evaluate(*batch)
            count = tf.reduce_sum(tf.cast(batch[-1], tf.float64))
            return report(stop, count, *(sums[x] for x in self.objective.names))

        values = self.strategy.run(on_replica, args=batch)
        return self.strategy.reduce("SUM", values, axis=None)


def report(*values):
    """Put scalars of a step into one tensor, to be added up at once."""
    return tf.stack([tf.cast(value, tf.float64) for value in values])
