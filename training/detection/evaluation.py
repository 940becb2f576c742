"""Evaluation of detectors on all replicas of a strategy."""

import tensorflow as tf

from eca_keras.training.detection.average_precision import average_precision
from eca_keras.training.detection.results import coco_result
from eca_keras.training.detection.results import in_file
from eca_keras.training.run.evaluation import report


class DetectionEvaluator:
    """Finds the objects in all images of a feed and evaluates them.

    Args:
        cluster: `Cluster`, entered.
        objective: `Detection`.
    """

    def __init__(self, cluster, objective):
        self.cluster = cluster
        self.strategy = cluster.strategy
        self.objective = objective
        self._find = tf.function(self._find_on_replicas, autograph=False)

    def find(self, split, batches, interrupted=lambda: False):
        """Find the objects.

        Args:
            split: `DetectionSplit`.
            batches: Those of its `evaluation_feed`.
            interrupted: Tells whether this worker was asked to stop.

        Returns:
            The entries of a COCO results file, and the ids of the images that
            were looked at, the same whatever the number of replicas: on the
            first worker; empty lists on the others. `None` if any worker was
            asked to stop.
        """
        self.cluster.unify(self.objective.model.non_trainable_variables)
        entries, image_ids = [], []
        for batch in batches:
            self.cluster.allow("evaluation did not go on")
            stop = tf.constant(float(interrupted()), tf.float64)
            stop, found = self._find(batch, stop)
            if stop[0]:
                return None
            if not self.cluster.chief:
                continue
            found = {name: value.numpy() for name, value in found.items()}
            for row, index in enumerate(found["index"].tolist()):
                if index < 0:  # padding, or unreadable
                    continue
                image_ids.append(int(split.image_ids[index]))
                entries += [
                    coco_result(one, image_ids[-1], split.category_ids)
                    for one in in_file(
                        found, row, found["sizes"][row], split.sizes[index]
                    )
                ]
        return entries, image_ids

    def evaluate(self, split, batches, interrupted=lambda: False):
        """Return the metrics of `average_precision`, on all workers.

        Args: as for `find`. It returns `None` in the same case.
        """
        found = self.find(split, batches, interrupted)
        return None if found is None else self.judge(split, *found)

    def judge(self, split, entries, image_ids):
        """Return the metrics of what `find` gave, on all workers."""
        metrics = None
        if self.cluster.chief:
            masks = "mask_loss" in self.objective.names
            metrics = average_precision(
                split.truth(), entries, image_ids, masks
            )
        return self.cluster.share(metrics)

    def _find_on_replicas(self, batch, stop):
        def on_replica(images, details):
            found = self.objective.find(images, details["sizes"])
            return {**found, **details}, report(stop)

        found, stop = self.strategy.run(on_replica, args=batch)
        found = {
            name: self.strategy.gather(value, axis=0)
            for name, value in found.items()
        }
        return self.strategy.reduce("SUM", stop, axis=None), found
