#!/usr/bin/env python3
"""Find objects in image files with a TFLite file, and nothing else of ours.

    pip install ai-edge-litert numpy pillow
    python detect.py detector.tflite image.jpg another.png

The file is one that `export_tflite` wrote of a detector: what its labels are,
and what an image goes through before it, is in the file itself, in the zip
archive at its end. Copy this script and change it as you like; on a phone the
same steps are a few lines of Kotlin or Swift.
"""

import argparse
import json
import math
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from PIL import ImageOps

# Shorter sides, in pixels of the detector's input, are those of boxes that
# lie in the padding and were cut away.
SHORTEST_SIDE = 1e-2


UNREADABLE = (OSError, Image.DecompressionBombError)


class BadInput(Exception):
    """What is wrong with a file, in a sentence."""


def read_settings(path):
    """Returns the class names and preprocessing constants in a TFLite file.

    The keys: `class_names`, or null; `height` and `width` of the detector's
    input; `mean` and `std` per channel of values in [0, 1], or
    null where the file takes [0, 255]; `padding`, the pixel of [0, 255] that
    is around the image.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            settings = json.loads(archive.read("detection.json"))
    except OSError as error:
        raise BadInput(f"{path} cannot be opened: {error.strerror}") from None
    except (zipfile.BadZipFile, KeyError):
        raise BadInput(
            f"{path} has no detection.json inside: it is none that "
            "`export_tflite` wrote of a detector"
        ) from None
    if settings["channels"] != 3:
        raise BadInput(
            f"{path} takes images of {settings['channels']} channels, which "
            "are normalized in a way of their own"
        )
    return settings


def read_image(path):
    """Returns an image file, upright, in colour."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):  # white stays white
            pixels = (np.asarray(image).astype("int32") + 128) // 257
            image = Image.fromarray(pixels.astype("uint8"))
        if "transparency" in image.info:
            image = image.convert("RGBA")
        return image.convert("RGB")


def preprocess(image, settings):
    """Fits an image into the detector's input.

    Returns:
        The pixels, uint8 (height, width, 3), with the padding beyond the
        image, and the height and width of the image in them.
    """
    limits = settings["width"], settings["height"]
    scale = min(limits[0] / image.width, limits[1] / image.height)
    width, height = (
        max(math.floor(side * scale + 0.5), 1) for side in image.size
    )
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    padded = Image.new("RGB", limits, tuple(settings["padding"]))
    padded.paste(small)
    return np.asarray(padded), (height, width)


class FoundObject:
    """An object in an image.

    Attributes:
        label: Name of its class.
        score: Between 0 and 1.
        box: Corners (x1, y1, x2, y2) in pixels of the image.
        mask: Probabilities within the box, (28, 28), or None.
    """

    def __init__(self, label, score, box, mask=None):
        self.label = label
        self.score = score
        self.box = box
        self.mask = mask


class Detector:
    """A TFLite file with its class names."""

    def __init__(self, path, threads=1):
        self.settings = read_settings(path)
        # The runner does not keep the interpreter.
        self.interpreter = Interpreter(path, num_threads=threads)
        self.run = self.interpreter.get_signature_runner()
        self.given = self.run.get_input_details()

    def __call__(self, image, threshold=0.5):
        """Returns a list of `FoundObject`, the best first.

        Args:
            image: `PIL.Image.Image`.
            threshold: Objects have a higher score.
        """
        pixels, size = preprocess(image, self.settings)
        values = pixels.astype("float32")
        if self.settings["mean"] is not None:
            mean, std = self.settings["mean"], self.settings["std"]
            values = (values / 255 - np.float32(mean)) / np.float32(std)
        found = self._outputs(values, size)
        height, width = size
        # Out of the padding, for a file that was not told the size.
        boxes = np.clip(found["boxes"], 0, [width, height, width, height])
        sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
        kept = (found["scores"] > threshold) & (sides >= SHORTEST_SIDE)
        scale = [image.width / width, image.height / height] * 2
        masks = found.get("masks", [None] * len(kept))
        return [
            FoundObject(
                self._name(found["labels"][i]),
                float(found["scores"][i]),
                boxes[i] * scale,
                masks[i],
            )
            for i in np.flatnonzero(kept)
        ]

    def _outputs(self, values, size):
        """Return the outputs of the file for one image."""
        inputs = {"images": values, "sizes": size}
        batch = {}
        for name, details in self.given.items():  # sizes: not in every file
            value = np.asarray(inputs[name], details["dtype"])
            # A file for several images gets this one several times.
            batch[name] = np.stack([value] * details["shape"][0])
        return {name: values[0] for name, values in self.run(**batch).items()}

    def _name(self, label):
        names = self.settings["class_names"]
        return f"class {label}" if names is None else names[label]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .tflite file of a detector")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        detect = Detector(options.model, options.threads)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    failed = False
    for path in options.images:
        try:
            image = read_image(path)
        except UNREADABLE as error:  # go on with the other images
            print(f"{path} is not a readable image: {error}", file=sys.stderr)
            failed = True
            continue
        objects = detect(image, options.threshold)
        if not objects:
            print(f"{path}: nothing found")
        for found in objects:
            corners = ", ".join(f"{x:.1f}" for x in found.box)
            print(f"{path}: {found.label} {found.score:.2%} at {corners}")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
