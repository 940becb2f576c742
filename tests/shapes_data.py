"""Pictures of shapes with boxes and masks, made by rule, and their AP."""

import contextlib
import io

import numpy as np

from eca_keras.applications.detection import paste_masks
from eca_keras.training.detection.shapes import CLASSES
from eca_keras.training.detection.shapes import SIDE
from eca_keras.training.detection.shapes import draw


def shapes(count, seed):
    """Images with one to three shapes each, and what is to be found.

    Returns:
        `(images, boxes, labels, masks)`: float32 `(count, SIDE, SIDE, 3)` of
        about unit variance, and lists with an array per image; a mask is of
        the size of the image.
    """
    rng = np.random.default_rng(seed)
    drawn = [draw(rng) for _ in range(count)]
    images, boxes, labels, masks = zip(*drawn, strict=True)
    return (
        np.stack(images).astype("float32"),
        [np.array(corners, "float32") for corners in boxes],
        [np.array(kinds) for kinds in labels],
        [np.array(areas) for areas in masks],
    )


def average_precision(found, boxes, labels, masks=None):
    """AP at IoU 0.50 to 0.95 by pycocotools, of what `predict` returns.

    Of the boxes, or, if `masks` are given, of the masks.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        {
            "image_id": i,
            "category_id": int(label),
            "bbox": _corner_and_sides(boxes[i][j]),
            "area": float(np.prod(boxes[i][j][2:] - boxes[i][j][:2])),
            "iscrowd": 0,
            **_segmentation(None if masks is None else masks[i][j]),
        }
        for i in range(len(boxes))
        for j, label in enumerate(labels[i])
    ]
    for number, annotation in enumerate(annotations):
        annotation["id"] = number + 1
    results = _results(found, masks)
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [
                {"id": i, "height": SIDE, "width": SIDE}
                for i in range(len(boxes))
            ],
            "categories": [
                {"id": i, "name": name} for i, name in enumerate(CLASSES)
            ],
            "annotations": annotations,
        }
        truth.createIndex()
        kind = "bbox" if masks is None else "segm"
        evaluation = COCOeval(truth, truth.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _results(found, masks):
    results = []
    for i, count in enumerate(found["count"]):
        areas = [None] * count
        if masks is not None:
            probabilities = paste_masks(
                found["masks"][i, :count],
                found["boxes"][i, :count],
                masks[i].shape[1:],
            )
            areas = probabilities >= 0.5
        results += [
            {
                "image_id": i,
                "category_id": int(found["labels"][i, j]),
                "bbox": _corner_and_sides(found["boxes"][i, j]),
                "score": float(found["scores"][i, j]),
                **_segmentation(areas[j]),
            }
            for j in range(count)
        ]
    return results


def _segmentation(mask):
    from pycocotools import mask as rle

    if mask is None:
        return {}
    return {"segmentation": rle.encode(np.asfortranarray(mask, "uint8"))}


def _corner_and_sides(box):
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]
