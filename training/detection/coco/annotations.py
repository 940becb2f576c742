"""Annotations of COCO's files, checked and turned into `Objects`."""

from eca_keras.training.detection.coco.outlines import check_outline
from eca_keras.training.detection.coco.rules import Broken
from eca_keras.training.detection.coco.rules import check_id
from eca_keras.training.detection.coco.rules import check_keys
from eca_keras.training.detection.coco.rules import entry_name
from eca_keras.training.detection.coco.rules import is_number
from eca_keras.training.detection.objects import ObjectList

KEYS = ("id", "image_id", "category_id", "bbox")

# Files hold two decimals: a corner may lie so far outside by rounding.
ROUNDING = 0.02


class AnnotationReader:
    """Turns annotations as in COCO's files into `Objects`.

    Args:
        images: Maps the id of an image to `(index, height, width)`; to `None`
            for one that is left out.
        labels: Maps the id of a category to a label.
        masks: Whether segmentations are wanted.
        complaints: `Complaints`.
    """

    def __init__(self, images, labels, masks, complaints):
        self._images = images
        self._labels = labels
        self._masks = masks
        self._complaints = complaints
        self._seen = set()
        self._objects = ObjectList(masks)

    def add(self, annotation, place):
        """Add an annotation, or complain.

        Args:
            annotation: A dictionary, as far as that is not to be checked.
            place: Its number in the file, if it has no id.
        """
        try:
            self._add(annotation)
        except Broken as error:
            name = entry_name(annotation, place)
            self._complaints.add("annotation", name, error)

    def objects(self, images):
        """Return the `Objects` of so many images."""
        return self._objects.arrays(images)

    def _add(self, annotation):
        check_keys(annotation, KEYS)
        number = check_id(annotation, self._seen)
        image_id, category = annotation["image_id"], annotation["category_id"]
        if not _known(image_id, self._images):
            rule = "`image_id` must be the id of an image"
            raise Broken(rule, image_id=image_id)
        if not _known(category, self._labels):
            rule = "`category_id` must be the id of a category"
            raise Broken(rule, category_id=category)
        image = self._images[image_id]
        if image is None:
            return  # left out with its image
        index, *size = image
        box = _box(annotation["bbox"])
        corners, clipped = _corners(box, size)
        area = _area(annotation.get("area", box[2] * box[3]))
        crowd = annotation.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise Broken("`iscrowd` must be 0 or 1", iscrowd=crowd)
        outline = None
        if self._masks:
            outline = check_outline(annotation.get("segmentation"), size)
        if clipped:
            self._complaints.note(
                "annotation",
                number,
                "clipped",
                "`bbox` reaches out of the image",
            )
        self._objects.add(
            index,
            box,
            corners,
            self._labels[category],
            area,
            bool(crowd),
            outline,
        )


def _known(number, table):
    # Equal to 1 are 1.0 and True; and a list has no place in a table.
    return type(number) is int and number in table


def _box(box):
    """`x, y, width, height`, four floats."""
    shaped = isinstance(box, list) and len(box) == 4
    if not shaped or not all(is_number(value) for value in box):
        rule = "`bbox` must be four finite numbers, x, y, width and height"
        raise Broken(rule, bbox=box)
    if min(box[2:]) <= 0:
        rule = "`bbox` must have a positive width and height"
        raise Broken(rule, bbox=box)
    return [float(value) for value in box]


def _corners(box, size):
    """The box within its image, and whether it reaches out of it."""
    height, width = size
    x1, y1, x2, y2 = box[0], box[1], box[0] + box[2], box[1] + box[3]
    corners = max(x1, 0.0), max(y1, 0.0), min(x2, width), min(y2, height)
    if corners[0] >= corners[2] or corners[1] >= corners[3]:
        rule = "`bbox` must overlap the image"
        raise Broken(rule, bbox=box, width=width, height=height)
    out = max(-x1, -y1, x2 - width, y2 - height)
    return corners, out > ROUNDING


def _area(area):
    if not is_number(area) or area <= 0:
        raise Broken("`area` must be a positive finite number", area=area)
    return area
