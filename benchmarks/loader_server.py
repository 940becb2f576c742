"""An input pipeline in a process of its own, to be timed.

For any Python: torchvision's need not have this package. It imports this file
by its bare name, see `worker.TorchWorker`. `loaders` is the other end.
"""

import json
import os
import time
import types

import serving

SIZE = 224

# ImageNet's statistics, as everywhere in PyTorch.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Server:
    """Answers requests about one pipeline.

    Args:
        **options: Fields of `loaders.Loaders`, and the `contestant`.
    """

    def __init__(self, **options):
        self.options = options = types.SimpleNamespace(**options)
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))[: options.workers]
            os.sched_setaffinity(0, cores)
        theirs = options.contestant == "torchvision"
        self.batches = (_torchvision if theirs else _ours)(options)
        _rate(self.batches, 1)

    def ready(self):
        return {}

    def measure(self):
        rate = _rate(self.batches, self.options.batches)
        return {"images_per_second": self.options.batch_size * rate}


def _rate(batches, count):
    """Batches per second once the first has come.

    Both sides start every round anew, and so without a store of batches from
    the time in which the other one was measured. Where the data end, they
    begin again.
    """
    iterator = iter(batches)
    next(iterator)
    started = time.perf_counter()
    for _ in range(count):
        try:
            next(iterator)
        except StopIteration:
            iterator = iter(batches)
            next(iterator)
    return count / (time.perf_counter() - started)


def _ours(options):
    import tensorflow as tf

    from eca_keras.training.classification.augmentation import Augmentation
    from eca_keras.training.classification.batches import training_batches
    from eca_keras.training.data import folder

    source = folder.load(options.folder, 0.1, check_images=False)
    batches = training_batches(
        source.train,
        batch_size=options.batch_size,
        image_size=SIZE,
        augmentation=Augmentation(
            "crop-flip", antialias=options.contestant.endswith("antialias")
        ),
        seed=0,
        classes=len(source.class_names),
    )
    threads = tf.data.Options()
    threads.threading.private_threadpool_size = options.workers
    return batches.with_options(threads)


def _torchvision(options):
    import torch
    from torchvision import datasets
    from torchvision import transforms

    torch.manual_seed(0)
    images = datasets.ImageFolder(
        options.folder,
        transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        ),
    )
    return torch.utils.data.DataLoader(
        images,
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=options.workers,
        drop_last=True,
    )


def main(specification):
    """Answer requests.

    Args:
        specification: The arguments of `Server` as JSON.
    """
    serving.serve(Server(**json.loads(specification)))
