"""What every dataset with objects looks like to the pipeline."""

import dataclasses

import numpy as np
import tensorflow as tf

from eca_keras.training.data.source import Split
from eca_keras.training.detection.objects import Objects


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionSplit:
    """Images with objects, with random access.

    `Feed` and the functions of `training.data.sharding` take it for a
    `Split`.

    Attributes:
        images: `Split` of the images.
        objects: `Objects` in them.
        image_ids: int64 `(n,)`, what the annotations call the images.
        sizes: int32 `(n, 2)`, heights and widths as in the files.
        category_ids: What the annotations call each label.
        class_names: Name of each label.
    """

    images: Split
    objects: Objects
    image_ids: np.ndarray
    sizes: np.ndarray
    category_ids: tuple
    class_names: tuple

    @property
    def size(self):
        """Number of images, unreadable ones included."""
        return self.images.size

    @property
    def bad(self):
        """Sorted indices of images that cannot be read."""
        return self.images.bad

    def name(self, index):
        """What messages call an image."""
        return self.images.name(index)

    def is_bad(self, indices):
        return self.images.is_bad(indices)

    def readable(self, indices):
        return self.images.readable(indices)

    def read(self, index):
        return self.images.read(index)

    def skip(self, indices):
        """Return this split with more images that cannot be read."""
        return dataclasses.replace(self, images=self.images.skip(indices))

    def select(self, indices):
        """Return the split of the images at `indices`, in that order."""
        indices = np.asarray(indices, "int64")
        return dataclasses.replace(
            self,
            images=self.images.select(indices),
            objects=self.objects.select(indices),
            image_ids=self.image_ids[indices],
            sizes=self.sizes[indices],
        )

    @property
    def has_masks(self):
        """Whether the outlines of the objects are known."""
        return self.objects.segmentations is not None

    def notes_on_crowded_images(self, max_objects):
        """Sentences about the objects that are too many to train on.

        Args:
            max_objects: Objects per image, see `training_batches`.
        """
        more = np.maximum(self.objects.counts() - max_objects, 0)
        images, lost = int(np.count_nonzero(more)), int(more.sum())
        if not images:
            return ()
        return (
            f"{images:,} training image{'s' * (images > 1)} with more than "
            f"{max_objects} objects: the largest are kept for training, "
            f"{lost:,} in all are left out",
        )

    def truth(self):
        """All that is to be found, crowds included, for pycocotools.

        Boxes, areas and outlines are those of the annotations, where those
        have none the segmentations are missing. Annotations are numbered
        from 1: pycocotools takes a match with number 0 for none. Images that
        cannot be read are left out.

        Returns:
            A dictionary as in an annotation file of COCO, to become the
            `dataset` of a `pycocotools.coco.COCO`.
        """
        shown = np.setdiff1d(np.arange(self.size), self.bad)
        annotations = [
            self._annotation(image, row)
            for image in shown
            for row in self.objects.rows(image)
        ]
        for number, annotation in enumerate(annotations):
            annotation["id"] = number + 1
        return {
            "info": {},
            "images": [
                {
                    "id": int(self.image_ids[image]),
                    "height": int(self.sizes[image, 0]),
                    "width": int(self.sizes[image, 1]),
                }
                for image in shown
            ],
            "categories": [
                {"id": number, "name": name}
                for number, name in zip(
                    self.category_ids, self.class_names, strict=True
                )
            ],
            "annotations": annotations,
        }

    def _annotation(self, image, row):
        objects = self.objects
        annotation = {
            "image_id": int(self.image_ids[image]),
            "category_id": self.category_ids[objects.labels[row]],
            "bbox": objects.boxes[row].tolist(),
            "area": float(objects.areas[row]),
            "iscrowd": int(objects.crowd[row]),
        }
        if self.has_masks:
            annotation["segmentation"] = objects.segmentations.coco(
                row, self.sizes[image]
            )
        return annotation


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionSource:
    """A dataset with objects.

    Attributes:
        train: `DetectionSplit` to train on.
        validation: `DetectionSplit` to validate with.
        class_names: Name of each label.
        category_ids: What the annotations call each label.
        notes: Sentences about the data that the user should see.
        test: `DetectionSplit` for the final metrics, None if there is none.
        whole: Training and validation images together, None if the dataset
            itself has the two splits.
    """

    train: DetectionSplit
    validation: DetectionSplit
    notes: tuple = ()
    test: DetectionSplit | None = None
    whole: DetectionSplit | None = None

    @property
    def class_names(self):
        return self.train.class_names

    @property
    def category_ids(self):
        return self.train.category_ids


def image_split(size, load, name):
    """Make the `Split` of images that are loaded one by one.

    Args:
        size: Number of images.
        load: Maps an int64 scalar, the number of an image, to its uint8
            tensor of shape `(height, width, 3)`, inside a `tf.data` graph.
        name: Maps a number to what messages call that image.
    """
    return Split(
        size=size,
        fetch=lambda indices: (indices, tf.zeros_like(indices, tf.int32)),
        load=load,
        name=name,
    )
