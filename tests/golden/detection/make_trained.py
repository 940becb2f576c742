"""Makes trained.npz: a small RetinaNet and a small Mask R-CNN that find shapes.

    python tests/golden/detection/make_trained.py

It takes some minutes and needs nothing but this library. The weights of each
are one row of float16 numbers, in their order. The AP that it prints is that of
these numbers, on the pictures trained on and on others: 0.860 and 0.317 for
RetinaNet, 0.764 and 0.505 for Mask R-CNN, its masks 0.766 and 0.546.
"""

import pathlib
import sys

import keras
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from detection_cases import pad_objects
from export_detectors import GOLDEN
from export_detectors import build
from shapes_data import average_precision
from shapes_data import shapes

PICTURES = 64
BATCH, WARM_UP = 8, 40
STEPS = {"retinanet": 640, "mask_rcnn": 640}


def train(kind):
    keras.utils.set_random_seed(0)
    model = build(kind)
    images, boxes, labels, masks = shapes(PICTURES, seed=0)
    targets = pad_objects(boxes, labels, 3)
    if kind == "mask_rcnn":
        targets["masks"] = np.zeros((PICTURES, 3, *images.shape[1:3]), "uint8")
        for i, areas in enumerate(masks):
            targets["masks"][i, : len(areas)] = areas
    steps = STEPS[kind]
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, steps - WARM_UP, warmup_target=2e-3, warmup_steps=WARM_UP
    )
    model.compile(keras.optimizers.Adam(schedule, clipnorm=10.0))
    epochs = steps * BATCH // PICTURES
    model.fit(images, targets, batch_size=BATCH, epochs=epochs, verbose=0)
    return model


def report(kind, model):
    for seed in (0, 1):
        images, boxes, labels, masks = shapes(PICTURES, seed)
        found = model.predict(images, batch_size=BATCH, verbose=0)
        values = [average_precision(found, boxes, labels)]
        if kind == "mask_rcnn":
            values.append(average_precision(found, boxes, labels, masks))
        print(kind, seed, *(f"{value:.3f}" for value in values))


def main():
    arrays = {}
    for kind in STEPS:
        model = train(kind)
        for weight in model.weights:
            weight.assign(weight.numpy().astype("float16"))
        report(kind, model)
        values = [weight.numpy().ravel() for weight in model.weights]
        arrays[kind] = np.concatenate(values).astype("float16")
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    main()
