"""Mask R-CNN of this library in a process of its own, to be timed.

`python -m benchmarks.keras_detector SPECIFICATION` answers requests,
see `serving`. `detectors` is the other end.
"""

import json
import sys

import numpy as np
import tensorflow as tf

from benchmarks import serving
from eca_keras.applications.detection import MaskRCNN
from eca_keras.layers import ECA
from eca_keras.weights.detectors import load_into_detector


class Server:
    """Answers requests about one detector.

    Args:
        threads: Threads that a call may use.
        **arguments: Of `MaskRCNN`.
    """

    def __init__(self, threads, **arguments):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        try:
            self.model = MaskRCNN(**arguments)
        except ValueError as error:
            sys.exit(f"{serving.REFUSED}: {error}")
        self.images = None

    def about(self):
        """Its size, and what makes the same network in PyTorch."""
        kernels = [
            layer.resolved_kernel_size
            for layer in self.model.backbone.layers
            if isinstance(layer, ECA)
        ]
        moments = ("moving_mean", "moving_variance")
        count = sum(
            weight.shape.num_elements()
            for weight in self.model.weights  # those of the heads, too
            if weight.name not in moments
        )
        return {
            "kernel_sizes": kernels,
            "parameters": count,
            "score_threshold": self.model.score_threshold,
        }

    def load(self, weights, images):
        load_into_detector(self.model, weights)
        self.images = np.load(images)
        return {}

    def answer(self, path):
        """Write what is found; says how long it took."""
        found = {}
        reply = serving.timed(lambda: found.update(self.detect()))
        np.savez(path, **found)
        return reply

    def time(self):
        return serving.timed(self.detect)

    def memory(self):
        return {"bytes": serving.peak_memory()}

    def detect(self):
        return self.model.predict_on_batch(self.images)


if __name__ == "__main__":
    serving.serve(Server(**json.loads(sys.argv[1])))
