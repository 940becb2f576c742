"""The annotated objects of a dataset, in flat arrays.

COCO has 860,000 of them: as one dictionary each they take gigabytes.
"""

import array
import dataclasses

import numpy as np

from eca_keras.training.detection.coco.segmentations import MASK_SIDE
from eca_keras.training.detection.coco.segmentations import SegmentationList
from eca_keras.training.detection.coco.segmentations import Segmentations


@dataclasses.dataclass(frozen=True, eq=False)
class Objects:
    """Boxes, labels and more, image by image.

    Attributes:
        spans: int64 `(images, 2)`, the first object of an image and the one
            after its last.
        boxes: float64 `(objects, 4)`: `x, y, width, height` in pixels, as
            the annotations have them.
        corners: float32 `(objects, 4)`: `x1, y1, x2, y2` within the image.
        labels: int32 `(objects,)`.
        areas: float64 `(objects,)`, in pixels, as annotated.
        crowd: Boolean `(objects,)`: a region with many objects, which counts
            in an evaluation alone.
        segmentations: `Segmentations`, or `None`.
    """

    spans: np.ndarray
    boxes: np.ndarray
    corners: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    segmentations: Segmentations | None

    def select(self, images):
        """Those of some images, in that order."""
        return dataclasses.replace(self, spans=self.spans[images])

    def rows(self, image):
        """Rows of all objects of an image."""
        return np.arange(*self.spans[image])

    def counts(self):
        """How many objects each image is trained on, `(images,)`."""
        before = np.concatenate([[0], np.cumsum(~self.crowd)])
        return before[self.spans[:, 1]] - before[self.spans[:, 0]]

    def targets(self, image, max_objects):
        """Rows of the objects of an image to train on.

        Crowds are left out. Where there are more objects than `max_objects`,
        those with the largest boxes are taken, in the order of the annotations.
        """
        rows = self.rows(image)
        rows = rows[~self.crowd[rows]]
        if len(rows) <= max_objects:
            return rows
        sides = self.corners[rows, 2:] - self.corners[rows, :2]
        largest = np.argsort(-sides.prod(axis=1), kind="stable")[:max_objects]
        return rows[np.sort(largest)]

    def padded(self, image, max_objects):
        """Corners and labels of the objects of an image to train on.

        Returns:
            float32 `(max_objects, 4)` in pixels of the file, and int32
            `(max_objects,)`, -1 where there is no object.
        """
        rows = self.targets(image, max_objects)
        boxes = np.zeros((max_objects, 4), "float32")
        labels = np.full(max_objects, -1, "int32")
        boxes[: len(rows)] = self.corners[rows]
        labels[: len(rows)] = self.labels[rows]
        return boxes, labels

    def mask_images(self, image, max_objects, size):
        """What of their boxes the objects to train on cover.

        Args:
            image: Number of the image.
            max_objects: As in `padded`.
            size: Height and width of the image in the file.

        Returns:
            uint8 array `(max_objects, MASK_SIDE, MASK_SIDE)`, 0 or 1.
        """
        masks = np.zeros((max_objects, MASK_SIDE, MASK_SIDE), "uint8")
        for place, row in enumerate(self.targets(image, max_objects)):
            masks[place] = self.segmentations.mask_image(
                row, self.corners[row], size
            )
        return masks


class ObjectList:
    """Gathers `Objects`, one by one, in any order of their images.

    Args:
        masks: Whether they have segmentations.
    """

    def __init__(self, masks):
        self._images = array.array("q")
        self._boxes = array.array("d")
        self._corners = array.array("f")
        self._labels = array.array("i")
        self._areas = array.array("d")
        self._crowd = array.array("b")
        self._segmentations = SegmentationList() if masks else None

    def add(self, image, box, corners, label, area, crowd, segmentation=None):
        """Add an object; see the attributes of `Objects`."""
        self._images.append(image)
        self._boxes.extend(box)
        self._corners.extend(corners)
        self._labels.append(label)
        self._areas.append(area)
        self._crowd.append(crowd)
        if self._segmentations is not None:
            self._segmentations.add(segmentation)

    def arrays(self, images):
        """Return the `Objects` of so many images."""
        owners = np.array(self._images)
        order = np.argsort(owners, kind="stable")
        ends = np.searchsorted(owners[order], np.arange(images + 1))
        segmentations = None
        if self._segmentations is not None:
            segmentations = self._segmentations.arrays().select(order)
        return Objects(
            spans=np.stack([ends[:-1], ends[1:]], axis=1),
            boxes=np.array(self._boxes).reshape(-1, 4)[order],
            corners=np.array(self._corners).reshape(-1, 4)[order],
            labels=np.array(self._labels, "int32")[order],
            areas=np.array(self._areas)[order],
            crowd=np.array(self._crowd, bool)[order],
            segmentations=segmentations,
        )
