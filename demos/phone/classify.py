#!/usr/bin/env python3
"""Classify image files with a TFLite file, and nothing else of ours.

    pip install ai-edge-litert numpy pillow
    python classify.py model.tflite image.jpg another.png

The file is one that `eca-keras export model.tflite` wrote: what its labels
are, and what an image goes through before it, is in the file itself, in the
zip archive at its end. Copy this script and change it as you like; on a phone
the same steps are a few lines of Kotlin or Swift.
"""

import argparse
import json
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from PIL import ImageOps

UNREADABLE = (OSError, Image.DecompressionBombError)


class BadInput(Exception):
    """What is wrong with a file, in a sentence."""


def read_settings(path):
    """Returns the labels and preprocessing constants in a TFLite file.

    The keys: `labels`; `image_size`, the height and width of the network's
    input in pixels; `channels`, 1 for grey; `crop_fraction`, the part of the
    short side that the network sees; `interpolation`; `mean` and `std` per
    channel of values in [0, 1], or null where the network takes [0, 255].
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("preprocessing.json"))
    except OSError as error:
        raise BadInput(f"{path} cannot be opened: {error.strerror}") from None
    except (zipfile.BadZipFile, KeyError):
        raise BadInput(
            f"{path} has no preprocessing.json inside: export it with "
            "`eca-keras export`, or pass `preprocessing` to `export_tflite`"
        ) from None


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
    """Returns the pixels that the network sees, (size, size, channels)."""
    grey = settings["channels"] == 1
    image = image.convert("L" if grey else "RGB")
    size = settings["image_size"]
    short = round(size / settings["crop_fraction"])
    smaller = min(image.size)
    width, height = (short * side // smaller for side in image.size)
    method = Image.Resampling[settings["interpolation"].upper()]
    pixels = np.asarray(image.resize((width, height), method))
    top, left = round((height - size) / 2), round((width - size) / 2)
    pixels = pixels[top : top + size, left : left + size]
    return pixels.reshape(size, size, settings["channels"])


class Classifier:
    """A TFLite file with its labels."""

    def __init__(self, path, threads=1):
        self.settings = read_settings(path)
        self.interpreter = Interpreter(path, num_threads=threads)
        self.interpreter.allocate_tensors()
        self.given = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]

    def __call__(self, image):
        """Returns `(label, probability)` pairs, the likeliest first.

        Args:
            image: `PIL.Image.Image`.
        """
        values = preprocess(image, self.settings).astype("float32")
        if self.settings["mean"] is not None:
            mean, std = self.settings["mean"], self.settings["std"]
            values = (values / 255 - np.float32(mean)) / np.float32(std)
        self._give(values)
        self.interpreter.invoke()
        probabilities = self._probabilities()
        order = np.argsort(-probabilities)
        return [
            (self.settings["labels"][i], float(probabilities[i])) for i in order
        ]

    def _give(self, values):
        dtype = self.given["dtype"]
        if np.issubdtype(dtype, np.integer):
            scale, zero = self.given["quantization"]
            if scale:  # int8 and uint8 files count in steps of `scale`
                limits = np.iinfo(dtype)
                values = np.round(values / scale) + zero
                values = np.clip(values, limits.min, limits.max)
        # A file for several images at once gets this one several times.
        count = self.given["shape"][0]
        values = np.repeat(values[None], count, axis=0).astype(dtype)
        self.interpreter.set_tensor(self.given["index"], values)

    def _probabilities(self):
        values = self.interpreter.get_tensor(self.output["index"])[0]
        scale, zero = self.output["quantization"]
        if scale:
            values = scale * (values.astype("float32") - zero)
        return values


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a .tflite file")
    parser.add_argument("images", nargs="+", help="image files")
    parser.add_argument("--top", type=int, default=5, help="classes to print")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        classify = Classifier(options.model, options.threads)
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
        ranking = classify(image)[: options.top]
        classes = (f"{name} {value:.2%}" for name, value in ranking)
        print(f"{path}: {', '.join(classes)}")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
