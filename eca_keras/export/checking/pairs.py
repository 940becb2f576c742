"""Detections of two models in the same images, side by side."""

import dataclasses

import numpy as np

# The least IoU of two detections of one class that can be the same one.
IOU = 0.5

# Masks are read at the box, whose differences they amplify.
MASK_FACTOR = 10

# Corners may differ by a fraction of the box, of small ones by that of so many
# pixels: those of the smallest anchors, which boxes are offsets to.
LEAST_SIDE = 32

FIELDS = ("boxes", "scores", "labels", "masks")


@dataclasses.dataclass(frozen=True)
class Limits:
    """By how much detections may differ and be the same.

    Attributes:
        boxes: Of each corner, as a fraction of the box's longer side, which
            counts as `LEAST_SIDE` pixels at least.
        scores: Of the scores.
        masks: Of the probabilities in a mask.
    """

    boxes: float
    scores: float
    masks: float

    @classmethod
    def of(cls, tolerance):
        """Return the limits that follow from a tolerance, a positive number."""
        return cls(tolerance, tolerance, MASK_FACTOR * tolerance)

    def pixels(self, boxes):
        """Return by how many pixels corners of boxes `(n, 4)` may differ."""
        sides = (boxes[:, 2:] - boxes[:, :2]).max(-1, initial=0)
        return self.boxes * np.maximum(sides, LEAST_SIDE)


class Pairs:
    """Detections of two models in the same images, side by side.

    Detections of one class are paired, those that are most alike first. In
    which order they come does not matter: those with nearly the same score
    may swap.

    Args:
        expected, actual: Dictionaries of arrays as a detector's `predict`
            returns them.
        limits: `Limits` within which a pair is the same detection.
        threshold: Detections have a higher score.

    Attributes:
        total: Number of detections in `expected`.
        found: Number of detections in `actual`.
        paired: Number of pairs.
        same: Number of pairs within the limits.
        alone: Number of detections of either side that are in no such pair,
            but for those whose score is so close to the threshold, or to that
            of the last detection where there are as many as fit, that it
            says why.
        max_box_error, max_score_error, max_mask_error: Of the pairs, also of
            those outside the limits; 0 without any.
    """

    def __init__(self, expected, actual, limits, threshold):
        self.limits = limits
        self.total = int(expected["count"].sum())
        self.found = int(actual["count"].sum())
        self.paired = self.same = self.alone = 0
        self.max_box_error = self.max_score_error = self.max_mask_error = 0.0
        most = expected["scores"].shape[1]
        for i in range(len(expected["count"])):
            a, b = _of_image(expected, i), _of_image(actual, i)
            rows, columns = self._compare(a, b)
            for one, other, used in ((a, b, rows), (b, a, columns)):
                edge = _edge(other, most, threshold) + self.limits.scores
                lone = np.delete(one["scores"], used)
                self.alone += int((~(lone <= edge)).sum())

    @property
    def agreement(self):
        """Fraction of the detections that both sides have; 1 without any."""
        paired = 2 * self.same
        return paired / (paired + self.alone) if paired + self.alone else 1.0

    def _compare(self, a, b):
        """Compare the detections of an image.

        Returns:
            Indices of the detections of either that the other has as well.
        """
        rows, columns = _pair(a, b, self.limits)
        self.paired += len(rows)
        boxes, scores, masks = (
            _apart(a[name][rows], b[name][columns])
            for name in ("boxes", "scores", "masks")
        )
        if len(rows):
            # Not Python's max, which would pass over what is no number.
            self.max_box_error = np.maximum(self.max_box_error, boxes.max())
            self.max_score_error = np.maximum(
                self.max_score_error, scores.max()
            )
            self.max_mask_error = np.maximum(self.max_mask_error, masks.max())
        same = (
            (boxes <= self.limits.pixels(a["boxes"][rows]))
            & (scores <= self.limits.scores)
            & (masks <= self.limits.masks)
        )
        self.same += int(same.sum())
        return rows[same], columns[same]


def _of_image(outputs, i):
    """The detections of one image, without the padding."""
    count = outputs["count"][i]
    image = {
        name: outputs[name][i, :count].astype("float64")
        for name in FIELDS
        if name in outputs
    }
    return {"masks": np.zeros((count, 0)), **image}


def _edge(image, most, threshold):
    """The score that one more detection of an image would have to beat."""
    full = len(image["scores"]) == most
    return max(threshold, image["scores"].min()) if full else threshold


def _pair(a, b, limits):
    """Pair the detections of an image, the most alike first."""
    boxes = np.abs(a["boxes"][:, None] - b["boxes"]).max(-1)
    boxes /= limits.pixels(a["boxes"])[:, None]
    scores = np.abs(a["scores"][:, None] - b["scores"])
    # A box without area, which the border has cut, overlaps with nothing.
    near = _iou(a["boxes"], b["boxes"]) >= IOU
    near |= boxes <= 1
    near &= a["labels"][:, None] == b["labels"]
    candidates = np.argwhere(near)
    apart = boxes + scores / limits.scores
    order = np.argsort(apart[near], kind="stable")
    rows, columns = [], []
    for row, column in candidates[order]:
        if row not in rows and column not in columns:
            rows.append(row)
            columns.append(column)
    return np.array(rows, int), np.array(columns, int)


def _iou(a, b):
    """Intersection over union of boxes `(n, 4)` and `(m, 4)`."""
    from eca_keras.applications.detection.boxes import pairwise_iou

    return pairwise_iou(a, b).numpy()


def _apart(a, b):
    """Largest difference of each row."""
    if not a.size:
        return np.zeros(len(a))
    return np.abs(a - b).reshape(len(a), -1).max(-1)
