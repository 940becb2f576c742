"""Pictures of shapes with their boxes, made by rule, in COCO's format."""

import contextlib
import io

import numpy as np

CLASSES = ("disc", "square", "triangle")


def shapes(count, seed, side=128):
    """Images with one to three shapes each, and their boxes and labels.

    Returns:
        `(images, boxes, labels)`: float32 `(count, side, side, 3)` of about
        unit variance, and lists with an array per image.
    """
    rng = np.random.default_rng(seed)
    images, boxes, labels = [], [], []
    for _ in range(count):
        image = rng.normal(0, 0.2, (side, side, 3)) + rng.uniform(-0.5, 0.5, 3)
        corners, classes = [], []
        for _ in range(rng.integers(1, 4)):
            box = _free_box(rng, corners, side)
            if box is None:
                continue
            kind = int(rng.integers(3))
            color = rng.uniform(1, 2, 3) * rng.choice([-1, 1], 3)
            image[_inside(kind, box, side)] = color
            corners.append(box)
            classes.append(kind)
        images.append(image)
        boxes.append(np.array(corners, "float32"))
        labels.append(np.array(classes))
    return np.stack(images).astype("float32"), boxes, labels


def _free_box(rng, others, side):
    for _ in range(20):
        size = rng.integers(20, 61)
        x, y = rng.integers(0, side - size, 2)
        box = (x, y, x + size, y + size)
        if all(
            box[0] >= o[2] or o[0] >= box[2] or box[1] >= o[3] or o[1] >= box[3]
            for o in others
        ):
            return box
    return None


def _inside(kind, box, side):
    x1, y1, x2, y2 = box
    y, x = np.mgrid[:side, :side] + 0.5
    across = (x - x1) / (x2 - x1)
    down = (y - y1) / (y2 - y1)
    within = (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)
    if CLASSES[kind] == "disc":
        return (across - 0.5) ** 2 + (down - 0.5) ** 2 <= 0.25
    if CLASSES[kind] == "triangle":
        return within & (np.abs(across - 0.5) <= down / 2)
    return within


def average_precision(found, boxes, labels):
    """AP at IoU 0.50 to 0.95 by pycocotools, of what `predict` returns."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = [
        {
            "id": 0,
            "image_id": i,
            "category_id": int(label),
            "bbox": _corner_and_sides(box),
            "area": float(np.prod(box[2:] - box[:2])),
            "iscrowd": 0,
        }
        for i, pairs in enumerate(zip(boxes, labels, strict=True))
        for box, label in zip(*pairs, strict=True)
    ]
    for number, annotation in enumerate(annotations):
        annotation["id"] = number + 1
    results = [
        {
            "image_id": i,
            "category_id": int(found["labels"][i, j]),
            "bbox": _corner_and_sides(found["boxes"][i, j]),
            "score": float(found["scores"][i, j]),
        }
        for i in range(len(boxes))
        for j in range(found["count"][i])
    ]
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(boxes))],
            "categories": [
                {"id": i, "name": name} for i, name in enumerate(CLASSES)
            ],
            "annotations": annotations,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def _corner_and_sides(box):
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]
