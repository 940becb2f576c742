"""Detections of two answers to the same images, side by side."""

import dataclasses

import numpy as np

# Detections of one class that overlap at least so much can be the same one.
OVERLAP = 0.5

# Masks are read at the box, whose differences they amplify.
MASK_FACTOR = 10

# Corners may differ by a share of the box, of small ones by that of so many
# pixels: those of the smallest anchors, which boxes are offsets to.
LEAST_SIDE = 32

FIELDS = ("boxes", "scores", "labels", "masks")


@dataclasses.dataclass(frozen=True)
class Limits:
    """By how much detections may differ and be the same.

    Attributes:
        boxes: Of each corner, as a share of the box's longer side, which
            counts as `LEAST_SIDE` pixels at least.
        scores: Of the scores.
        masks: Of the probabilities in a mask.
    """

    boxes: float
    scores: float
    masks: float

    @classmethod
    def of(cls, tolerance):
        """Limits that follow from a tolerance, a positive number."""
        return cls(tolerance, tolerance, MASK_FACTOR * tolerance)

    def pixels(self, boxes):
        """By how many pixels a corner may differ.

        Args:
            boxes: Array of shape `(n, 4)`, corners.

        Returns:
            Array of shape `(n,)`.
        """
        sides = (boxes[:, 2:] - boxes[:, :2]).max(-1, initial=0)
        return self.boxes * np.maximum(sides, LEAST_SIDE)


class Pairs:
    """Detections of two answers to the same images, side by side.

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
            of the last detection where all places are taken, that it says
            why.
        box_difference, score_difference, mask_difference: Largest ones of
            the pairs, also of those outside the limits; 0 without any.
    """

    def __init__(self, expected, actual, limits, threshold):
        self.limits = limits
        self.total = int(expected["count"].sum())
        self.found = int(actual["count"].sum())
        self.paired = self.same = self.alone = 0
        self.box_difference = self.score_difference = 0.0
        self.mask_difference = 0.0
        places = expected["scores"].shape[1]
        for i in range(len(expected["count"])):
            a, b = _of_image(expected, i), _of_image(actual, i)
            rows, columns = self._compare(a, b)
            for one, other, used in ((a, b, rows), (b, a, columns)):
                edge = _edge(other, places, threshold) + self.limits.scores
                lone = np.delete(one["scores"], used)
                self.alone += int((~(lone <= edge)).sum())

    @property
    def agreement(self):
        """Share of the detections that both sides have; 1 without any."""
        paired = 2 * self.same
        return paired / (paired + self.alone) if paired + self.alone else 1.0

    def _compare(self, a, b):
        """Compares two answers to an image.

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
            self.box_difference = np.maximum(self.box_difference, boxes.max())
            self.score_difference = np.maximum(
                self.score_difference, scores.max()
            )
            self.mask_difference = np.maximum(self.mask_difference, masks.max())
        same = (
            (boxes <= self.limits.pixels(a["boxes"][rows]))
            & (scores <= self.limits.scores)
            & (masks <= self.limits.masks)
        )
        self.same += int(same.sum())
        return rows[same], columns[same]


def _of_image(outputs, i):
    """The detections of one image, without the places that are padding."""
    count = outputs["count"][i]
    image = {
        name: outputs[name][i, :count].astype("float64")
        for name in FIELDS
        if name in outputs
    }
    return {"masks": np.zeros((count, 0)), **image}


def _edge(image, places, threshold):
    """The score that one more detection of an image would have to beat."""
    full = len(image["scores"]) == places
    return max(threshold, image["scores"].min()) if full else threshold


def _pair(a, b, limits):
    """Pairs the detections of two answers, the most alike first."""
    boxes = np.abs(a["boxes"][:, None] - b["boxes"]).max(-1)
    boxes /= limits.pixels(a["boxes"])[:, None]
    scores = np.abs(a["scores"][:, None] - b["scores"])
    # A box without area, which the border has cut, overlaps with nothing.
    near = _overlaps(a["boxes"], b["boxes"]) >= OVERLAP
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


def _overlaps(a, b):
    """Intersection over union of boxes `(n, 4)` and `(m, 4)`."""
    from eca_keras.applications.detection.boxes import pairwise_iou

    return pairwise_iou(a, b).numpy()


def _apart(a, b):
    """Largest difference of each row."""
    if not a.size:
        return np.zeros(len(a))
    return np.abs(a - b).reshape(len(a), -1).max(-1)
