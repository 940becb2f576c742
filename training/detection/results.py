"""Detections in pixels of the files, and in COCO's format."""

import typing

import numpy as np

from eca_keras.applications.detection import paste_masks

# A pixel belongs to an object whose mask has at least this probability there.
INSIDE = 0.5

# Shorter sides, in pixels of the detector's input, are those of boxes that
# lie in the padding and were cut away.
SHORTEST_SIDE = 1e-2


class Found(typing.NamedTuple):
    """One detection in an image.

    Attributes:
        label: Number of the class.
        score: Probability, from 0 to 1.
        box: Corners `(x1, y1, x2, y2)` in pixels of the file, floats.
        mask: Boolean array of the size of the image in the file, or `None`
            for a detector without masks.
    """

    label: int
    score: float
    box: tuple
    mask: np.ndarray | None


def in_file(found, row, resized, size):
    """Iterate over the detections in one image of a batch.

    Args:
        found: What a detector finds, as arrays.
        row: Which image of the batch.
        resized: Height and width of the image in the detector's input.
        size: Height and width in the file.

    Yields:
        A `Found` each, the best first.
    """
    scale = np.asarray(size, "float64") / np.asarray(resized, "float64")
    scale = np.array([*scale[::-1], *scale[::-1]])
    for rank in range(int(found["count"][row])):
        box = found["boxes"][row, rank]
        if (box[2:] - box[:2]).min() < SHORTEST_SIDE:
            continue
        box = box * scale
        mask = None
        if "masks" in found:
            # One by one: a hundred masks of a photo take 100 MB as floats.
            pasted = paste_masks(found["masks"][row, rank][None], [box], size)
            mask = pasted[0] >= INSIDE
        yield Found(
            int(found["labels"][row, rank]),
            float(found["scores"][row, rank]),
            tuple(box.tolist()),
            mask,
        )


def coco_result(found, image_id, category_ids):
    """Return a detection as an entry of COCO's results format.

    Args:
        found: `Found`.
        image_id: Number of the image in the annotations.
        category_ids: Number of each label in the annotations.
    """
    x1, y1, x2, y2 = found.box
    entry = {
        "image_id": int(image_id),
        "category_id": int(category_ids[found.label]),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": found.score,
    }
    if found.mask is not None:
        from pycocotools import mask as run_lengths

        code = run_lengths.encode(np.asfortranarray(found.mask, "uint8"))
        # JSON has no bytes.
        counts = code["counts"].decode("ascii")
        entry["segmentation"] = {"size": list(code["size"]), "counts": counts}
    return entry
