"""Outlines of objects: stored in few arrays, made into masks when needed."""

import array
import dataclasses

import numpy as np

# Height and width of the mask of an object that a detector is trained on.
MASK_SIDE = 112

# A polygon that reaches further beyond its box, in sides of it, is not drawn
# at the scale of the mask: its outline would be too long.
REACH = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentations:
    """Polygons or run lengths of many objects.

    Attributes:
        points: float64 `(values,)`, `x, y, x, y, ...` of all polygons.
        ends: int64 `(polygons + 1,)`, where in `points` each one ends.
        polygons: int64 `(objects, 2)`, the first polygon of an object and the
            one after its last.
        codes: uint8 `(bytes,)`, run lengths as COCO compresses them.
        spans: int64 `(objects, 2)`, where in `codes` those of an object lie.
            An object has either polygons or a code.
    """

    points: np.ndarray
    ends: np.ndarray
    polygons: np.ndarray
    codes: np.ndarray
    spans: np.ndarray

    def select(self, rows):
        """Those of some objects, in that order."""
        return dataclasses.replace(
            self, polygons=self.polygons[rows], spans=self.spans[rows]
        )

    def outline(self, row):
        """Polygons of an object, a list of arrays; empty if it has a code."""
        first, last = self.polygons[row]
        ends = self.ends[first : last + 1]
        return [
            self.points[a:b] for a, b in zip(ends[:-1], ends[1:], strict=True)
        ]

    def code(self, row):
        """Run lengths of an object, `bytes`; empty if it has polygons."""
        start, stop = self.spans[row]
        return self.codes[start:stop].tobytes()

    def coco(self, row, size):
        """An object's `segmentation` as COCO writes it.

        Args:
            row: Number of the object.
            size: Height and width of its image.
        """
        code = self.code(row)
        if code:
            return {"size": [int(side) for side in size], "counts": code}
        return [polygon.tolist() for polygon in self.outline(row)]

    def mask_image(self, row, box, size):
        """The part of an object that lies in a box, stretched to a square.

        A pixel of it tells whether its centre is in the object:
        what `mask_targets` of the detectors takes it for.

        Args:
            row: Number of the object.
            box: Corners `(x1, y1, x2, y2)` in pixels of the image.
            size: Height and width of the image.

        Returns:
            uint8 array `(MASK_SIDE, MASK_SIDE)`, 0 or 1.
        """
        box = np.asarray(box, "float64")
        corner, sides = box[:2], np.maximum(box[2:] - box[:2], 1e-6)
        outline = self.outline(row)
        if outline:
            points = [
                (polygon.reshape(-1, 2) - corner) / sides for polygon in outline
            ]
            if max(np.abs(p).max() for p in points) < REACH:
                points = [(p * MASK_SIDE).ravel() for p in points]
                return _drawn(points, MASK_SIDE, MASK_SIDE)
            whole = _drawn(outline, *size)
        else:
            whole = _decoded(self.code(row), size)
        centers = (np.arange(MASK_SIDE)[:, None] + 0.5) / MASK_SIDE
        columns, rows = (centers * sides + corner).astype(int).T
        height, width = size
        rows = np.clip(rows, 0, height - 1)
        columns = np.clip(columns, 0, width - 1)
        return whole[rows[:, None], columns]


class SegmentationList:
    """Gathers `Segmentations`, object by object."""

    def __init__(self):
        self._points = array.array("d")
        self._ends = array.array("q", [0])
        self._polygons = array.array("q")
        self._codes = bytearray()
        self._spans = array.array("q")

    def add(self, segmentation):
        """Add an object.

        Args:
            segmentation: `bytes`, a code, or a list of float64 arrays, its
                polygons.
        """
        ring, byte = len(self._ends) - 1, len(self._codes)
        if isinstance(segmentation, bytes):
            self._codes += segmentation
        else:
            for polygon in segmentation:
                self._points.frombytes(polygon.tobytes())
                self._ends.append(len(self._points))
        self._polygons.extend([ring, len(self._ends) - 1])
        self._spans.extend([byte, len(self._codes)])

    def arrays(self):
        """Return the `Segmentations`."""
        return Segmentations(
            points=np.array(self._points),
            ends=np.array(self._ends),
            polygons=np.array(self._polygons).reshape(-1, 2),
            codes=np.frombuffer(bytes(self._codes), "uint8"),
            spans=np.array(self._spans).reshape(-1, 2),
        )


def encoded(mask):
    """Run lengths of a mask `(height, width)` as COCO compresses them."""
    from pycocotools import mask as coco_masks

    return coco_masks.encode(np.asfortranarray(mask, "uint8"))["counts"]


def _decoded(code, size):
    from pycocotools import mask as coco_masks

    height, width = (int(side) for side in size)
    return coco_masks.decode({"size": [height, width], "counts": code})


def _drawn(polygons, height, width):
    from pycocotools import mask as coco_masks

    codes = coco_masks.frPyObjects(polygons, int(height), int(width))
    return coco_masks.decode(coco_masks.merge(codes))
