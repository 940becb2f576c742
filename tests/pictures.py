"""Pictures for tests of the input pipeline."""

import numpy as np
from PIL import Image


def photo(height, width, channels=3, seed=0):
    """A smooth picture with structure at several scales, uint8."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c)) + np.cos(y / (5 + c)) for c in range(channels)]
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.3, (height, width, channels))
    values = 128 + 50 * (np.stack(waves, -1) + noise)
    return values.clip(0, 255).astype("uint8")


def write_folder(root, count=6, classes=("cat", "dog")):
    """Writes `count` pictures per class, of several sizes and formats."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            suffix = ("jpg", "png", "bmp")[i % 3]
            picture = Image.fromarray(photo(40 + i, 50, seed=10 * label + i))
            picture.save(root / name / f"{i}.{suffix}")
    return root


def cut(path):
    """Cuts a file in the middle."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
