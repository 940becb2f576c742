"""How fast training images come, compared with torchvision's.

    python -m benchmarks.loaders

measures images per second of this package's pipeline for ImageNet (random
resized crop to 224 pixels, mirrored or not) and of torchvision's ImageFolder,
RandomResizedCrop, RandomHorizontalFlip, ToTensor and Normalize in a DataLoader,
on the same files and the same cores, in turns. Each contestant has a process of
its own. Ours gives uint8, which the model normalises; torchvision's gives
normalised float32.

PyTorch may be installed elsewhere: `--torch-python ~/torch/bin/python`.
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

SIZE = 224
CONTESTANTS = {
    "eca-keras": "eca-keras, uint8",
    "eca-keras-antialias": "eca-keras with antialiasing, uint8",
    "torchvision": "torchvision, float32",
}

# ImageNet's statistics, as everywhere in PyTorch.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# ImageNet's usual size; a quarter of the photos stands upright.
PHOTO, UPRIGHT, QUALITY = (500, 375), 0.25, 90


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loaders",
        description=__doc__.split("\n")[0],
    )
    parser.add_argument(
        "--folder",
        help="images in one folder per class; by default parts of the photos "
        "in scikit-learn (and in scikit-image, if it is installed)",
    )
    parser.add_argument("--images", type=int, default=800, help="to generate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20, help="per round")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--workers", type=int, default=2, help="threads or processes, and cores"
    )
    parser.add_argument("--torch-python", default=sys.executable)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        return serve(options)
    with contextlib.ExitStack() as stack:
        if not options.folder:
            options.folder = stack.enter_context(tempfile.TemporaryDirectory())
            make_photos(options.folder, options.images)
        rates = compare(options)
    if options.json:
        print(json.dumps(rates))
    else:
        print("\n".join(report(rates)))


def compare(options):
    """Returns a list of images per second, one per round, by contestant."""
    contestants = {}
    with contextlib.ExitStack() as stack:
        for name in CONTESTANTS:
            python = sys.executable
            if name == "torchvision":
                python = options.torch_python
            contestant = stack.enter_context(_Contestant(name, python, options))
            if contestant.ready:
                contestants[name] = contestant
        rates = {name: [] for name in contestants}
        for _ in range(options.rounds):
            for name, contestant in contestants.items():
                rates[name].append(contestant.measure())
    return rates


def report(rates):
    """Lines with the medians, and how they compare with torchvision's."""
    lines = []
    for name, values in rates.items():
        line = (
            f"{CONTESTANTS[name]:36} {statistics.median(values):7.0f} images/s"
        )
        if "torchvision" in rates and name != "torchvision":
            ratios = [
                ours / theirs
                for ours, theirs in zip(
                    values, rates["torchvision"], strict=True
                )
            ]
            line += (
                f", {statistics.median(ratios):.2f} times torchvision "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )
        lines.append(line)
    if "torchvision" not in rates:
        lines.append(
            "Nothing to compare with: torch and torchvision are not "
            "installed, see --torch-python"
        )
    return lines


class _Contestant:
    """A process that measures one round whenever it is asked to."""

    def __init__(self, name, python, options):
        # Not `-m`: the other Python need not have this package.
        code = (
            "import runpy; "
            f"runpy.run_path({os.path.abspath(__file__)!r}, "
            "run_name='__main__')"
        )
        settings = ("folder", "batches", "batch_size", "workers")
        self._process = subprocess.Popen(
            [python, "-c", code, f"--serve={name}"]
            + [
                f"--{key.replace('_', '-')}={getattr(options, key)}"
                for key in settings
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer = self._process.stdout.readline().strip()
        self.ready = answer == "ready"
        if not self.ready and not answer.startswith("missing "):
            raise RuntimeError(f"The measurement of {name} failed to start")

    def measure(self):
        """Images per second."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()  # closes its input, at which it ends


def serve(options):
    """Prints images per second for every line of the input."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))[: options.workers]
        os.sched_setaffinity(0, cores)
    try:
        make = _torchvision if options.serve == "torchvision" else _ours
        batches = make(options)
    except ModuleNotFoundError as error:
        return print("missing", error.name, flush=True)
    _rate(batches, 1)
    print("ready", flush=True)
    for _ in sys.stdin:
        rate = options.batch_size * _rate(batches, options.batches)
        print(rate, flush=True)


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
            "crop-flip", antialias=options.serve.endswith("antialias")
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


def make_photos(folder, count, classes=4):
    """Writes JPEGs of ImageNet's usual size and about half of its bytes.

    Args:
        folder: Existing folder.
        count: Number of images.
        classes: Number of folders that they go to.
    """
    import numpy as np
    from PIL import Image

    photos = _photos()
    rng = np.random.default_rng(0)
    for number in range(count):
        photo = photos[rng.integers(len(photos))]
        size = PHOTO[::-1] if rng.random() < UPRIGHT else PHOTO
        most = min(photo.width / size[0], photo.height / size[1])
        zoom = rng.uniform(0.6, 1) * most
        width, height = (int(side * zoom) for side in size)
        left = rng.integers(photo.width - width + 1)
        top = rng.integers(photo.height - height + 1)
        part = photo.crop((left, top, left + width, top + height))
        path = pathlib.Path(folder, f"class{number % classes}")
        path.mkdir(exist_ok=True)
        part.resize(size, Image.BICUBIC).save(
            path / f"{number:05}.jpg", quality=QUALITY, comment=None
        )


def _photos():
    """Colour photos that come with installed packages."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(array) for array in load_sample_images().images]
    with contextlib.suppress(ModuleNotFoundError):
        from skimage import data

        for name in ("astronaut", "chelsea", "coffee", "rocket"):
            photos.append(Image.fromarray(getattr(data, name)()))
    return photos


if __name__ == "__main__":
    main()
