"""Small datasets in COCO's format, for tests."""

import json

import numpy as np
from pictures import photo
from PIL import Image

from eca_keras.training.detection.data import load_detection_source

# The ids of COCO: 80 of 1 to 90.
UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
IDS = [i for i in range(1, 91) if i not in UNUSED]

# Heights and widths of the images 10, 20, 30 and 40.
SIZES = ((40, 60), (50, 50), (64, 32), (30, 44))


def ellipse(box, points=90):
    """Polygon of the ellipse in a box `x, y, width, height`."""
    x, y, width, height = box
    angle = np.arange(points) * (2 * np.pi / points)
    across = x + width / 2 * (1 + np.cos(angle))
    down = y + height / 2 * (1 + np.sin(angle))
    return np.stack([across, down], 1).round(2).ravel().tolist()


def filled(box, size):
    """Mask of the whole box, corners at integers."""
    x, y, width, height = box
    mask = np.zeros(size, "uint8")
    mask[y : y + height, x : x + width] = 1
    return mask


def uncompressed(mask):
    """Run lengths of a mask as COCO writes those of crowds."""
    flat = mask.ravel("F").astype(int)
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    counts = np.diff(changes, prepend=0, append=mask.size).tolist()
    return {"size": list(mask.shape), "counts": counts}


def center_of(mask):
    """Centroid of a mask, x and y, in its own pixels."""
    y, x = np.nonzero(mask)
    return np.array([x.mean(), y.mean()]) + 0.5


def annotation(number, image_id, category_id, box, **others):
    """An object: the ellipse in its box, if not said otherwise."""
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box),
        "area": box[2] * box[3] * 0.78,
        "iscrowd": 0,
        "segmentation": [ellipse(box)],
        **others,
    }


def good_annotations():
    """Six objects in three of four images; one is a crowd."""
    from pycocotools import mask as coco_masks

    square = filled((10, 5, 30, 20), SIZES[1])
    code = coco_masks.encode(np.asfortranarray(square))["counts"].decode()
    crowd = uncompressed(filled((0, 0, 20, 30), SIZES[1]))
    two = [ellipse((1, 10, 8, 9)), ellipse((20, 10, 10, 30))]
    return [
        annotation(0, 20, 1, (2.5, 30, 20, 18.25)),
        annotation(
            7,
            20,
            90,
            (10, 5, 30, 20),
            segmentation={"size": [50, 50], "counts": code},
        ),
        annotation(3, 20, 44, (0, 0, 20, 30), iscrowd=1, segmentation=crowd),
        annotation(4, 10, 13, (5, 6, 40, 30.5)),
        annotation(5, 30, 90, (1, 10, 29, 30), segmentation=two),
        annotation(6, 10, 1, (50, 2, 9, 33)),
    ]


def content_of(annotations):
    """Content of a file of annotations."""
    return {
        "info": {"year": 2017},
        "images": [
            {
                "id": 10 * (i + 1),
                "file_name": f"{i}.{'png' if i else 'jpg'}",
                "height": height,
                "width": width,
            }
            for i, (height, width) in enumerate(SIZES)
        ],
        # Not in the order of their ids.
        "categories": [
            {"id": i, "name": f"class {i}", "supercategory": "x"}
            for i in reversed(IDS)
        ],
        "annotations": annotations,
    }


def write_part(root, annotations=None, part="train2017"):
    """Writes images and annotations; returns the path of the latter."""
    if annotations is None:
        annotations = good_annotations()
    content = content_of(annotations)
    (root / part).mkdir(parents=True)
    for i, (entry, size) in enumerate(
        zip(content["images"], SIZES, strict=True)
    ):
        picture = Image.fromarray(photo(*size, seed=i))
        picture.save(root / part / entry["file_name"])
    return write_json(root, content, part)


def write_parts(root):
    """Writes four images to learn from and the same for validation."""
    for part in ("train2017", "val2017"):
        write_part(root, part=part)


def write_json(root, content, part="train2017"):
    path = root / "annotations" / f"instances_{part}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def load(root, **options):
    return load_detection_source(f"coco:{root}", **options)


def labels_of(split):
    """Ids of categories by ids of images, crowds apart."""
    return {
        int(number): [
            split.category_ids[split.objects.labels[row]]
            for row in split.objects.targets(index, 100)
        ]
        for index, number in enumerate(split.image_ids)
    }
