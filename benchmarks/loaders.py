"""How fast training images come, beside torchvision's.

    python -m benchmarks.loaders

measures images per second of this package's pipeline for ImageNet (random
resized crop to 224 pixels, mirrored or not) and of torchvision's ImageFolder,
RandomResizedCrop, RandomHorizontalFlip, ToTensor and Normalize in a DataLoader,
on the same files and the same cores, in turns. Each contestant has a process of
its own. Ours gives uint8, which the model normalizes; torchvision's gives
normalized float32.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import statistics
import sys
import tempfile

from benchmarks.worker import CHECKOUT
from benchmarks.worker import TorchWorker
from eca_keras import cli
from eca_keras.errors import InputError
from eca_keras.utils.checks import check_count

CONTESTANTS = {
    "eca-keras": "eca-keras, uint8",
    "eca-keras-antialias": "eca-keras with antialiasing, uint8",
    "torchvision": "torchvision, float32",
}

# ImageNet's usual size; a quarter of the photos stands upright.
PHOTO, UPRIGHT, QUALITY = (500, 375), 0.25, 90


@dataclasses.dataclass(frozen=True)
class Loaders:
    """Time the input pipeline for ImageNet against torchvision's.

    Args:
        folder: Images in one folder per class; by default parts of the photos
            in scikit-learn, and in scikit-image if it is installed.
        images: Number of images to generate.
        rounds: Number of times that each is measured.
        batches: Batches of a round.
        batch_size: Images of a batch.
        workers: Threads or processes, and cores.
        torch_python: The Python that has torch and torchvision; by default
            the one of this command.
        json: Print JSON only.
    """

    folder: pathlib.Path | None = None
    images: int = 800
    rounds: int = 5
    batches: int = 20
    batch_size: int = 64
    workers: int = 2
    torch_python: str | None = None
    json: bool = False

    def check(self):
        for name in ("images", "rounds", "batches", "batch_size", "workers"):
            check_count(name, getattr(self, name))

    def run(self):
        with contextlib.ExitStack() as stack:
            folder = self.folder
            if folder is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                make_photos(folder, self.images)
            rates = self.compare(folder)
        if self.json:
            print(json.dumps(rates))
        else:
            print("\n".join(report(rates)))

    def compare(self, folder):
        """Return images per second, one for each round, by contestant."""
        with contextlib.ExitStack() as stack:
            contestants = {}
            for name in CONTESTANTS:
                worker = stack.enter_context(self._start(name, folder))
                with contextlib.suppress(*_missing(name)):
                    worker.ask("ready")
                    contestants[name] = worker
            rates = {name: [] for name in contestants}
            for _ in range(self.rounds):
                for name, worker in contestants.items():
                    reply = worker.ask("measure")
                    rates[name].append(reply["images_per_second"])
        return rates

    def _start(self, name, folder):
        options = ("batches", "batch_size", "workers")
        theirs = name == "torchvision"
        return TorchWorker(
            "loader_server",
            {
                "contestant": name,
                "folder": str(folder),
                **{option: getattr(self, option) for option in options},
            },
            self.torch_python if theirs else sys.executable,
            packages="torch and torchvision",
            paths=() if theirs else [CHECKOUT],
        )


def _missing(name):
    """Return the errors that say that a contestant is not installed."""
    return (InputError,) if name == "torchvision" else ()


def report(rates):
    """Return lines with the medians, and their ratio to torchvision's."""
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


def make_photos(folder, count, classes=4):
    """Write JPEGs of ImageNet's usual size and about half of its bytes.

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
    program = "python -m benchmarks.loaders"
    sys.exit(cli.run_command(Loaders, sys.argv[1:], program))
