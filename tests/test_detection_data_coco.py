"""Data sets in COCO's format: what is read."""

import contextlib
import copy
import io
import json
import os

import numpy as np
import pytest
from coco_files import IDS
from coco_files import SIZES
from coco_files import annotation
from coco_files import content_of
from coco_files import good_annotations
from coco_files import labels_of
from coco_files import load
from coco_files import write_json
from coco_files import write_parts
from pictures import photo
from PIL import Image
from PIL import ImageOps

from eca_keras.training.data.source import UnreadableImage
from eca_keras.training.detection.data import load_detection_source

pycocotools = pytest.importorskip("pycocotools")


@pytest.fixture
def root(tmp_path):
    write_parts(tmp_path)
    return tmp_path


def test_what_is_read(root):
    source = load(root, masks=True)
    assert source.category_ids == tuple(IDS)
    assert source.class_names[:12] == tuple(
        f"class {i}" for i in (*range(1, 12), 13)
    )
    train, validation = source.train, source.validation
    # One of four images has no objects: for evaluation alone.
    assert source.notes == (
        "1 training image without objects left out: nothing to learn from",
    )
    assert labels_of(train) == {10: [13, 1], 20: [1, 90], 30: [90]}
    assert labels_of(validation) == {**labels_of(train), 40: []}
    assert validation.sizes.tolist() == [list(size) for size in SIZES]
    objects = train.objects
    [row, _] = objects.targets(0, 9)
    assert objects.labels[row] == 11  # the twelfth: 12 is not in use
    assert objects.boxes[row].tolist() == [5, 6, 40, 30.5]
    assert objects.corners[row].tolist() == [5, 6, 45, 36.5]
    for index in range(validation.size):
        path = root / "val2017" / os.path.basename(validation.name(index))
        np.testing.assert_array_equal(
            validation.read(index), np.asarray(Image.open(path))
        )
    kept = load(root, keep_empty=True)
    assert (kept.train.size, kept.notes) == (4, ())


def test_a_folder_and_a_file(root):
    file = root / "annotations" / "instances_val2017.json"
    source = load_detection_source(
        f"coco:{root / 'val2017'},{file}", validation_fraction=0.5
    )
    ids = *source.train.image_ids, *source.validation.image_ids
    assert sorted(ids) in ([10, 20, 30], [10, 20, 30, 40])
    assert source.validation.size == 2


def test_validation_is_held_out_where_there_is_none(root):
    (root / "annotations" / "instances_val2017.json").unlink()
    annotations = [
        annotation(i + 1, 10 * (i + 1), 1, (0, 0, 9, 9)) for i in range(4)
    ]
    write_json(root, content_of(annotations))
    sources = [load(root, validation_fraction=0.25) for _ in range(2)]
    for source in sources:
        assert (source.train.size, source.validation.size) == (3, 1)
        ids = *source.train.image_ids, *source.validation.image_ids
        assert sorted(ids) == [10, 20, 30, 40]
        [row] = source.validation.objects.rows(0)
        assert source.validation.objects.boxes[row].tolist() == [0, 0, 9, 9]
    held = [source.validation.image_ids[0] for source in sources]
    assert held[0] == held[1]


def test_names_of_files_with_folders(root):
    content = content_of(good_annotations())
    (root / "train2017" / "a").mkdir()
    os.rename(root / "train2017" / "1.png", root / "train2017" / "a" / "b.png")
    content["images"][1]["file_name"] = "a/b.png"
    write_json(root, content)
    source = load(root)
    assert source.train.name(1).endswith("train2017/a/b.png")
    assert source.train.read(1).shape == (50, 50, 3)


def judged(truth, found, kind):
    """The twelve figures of pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_pycocotools_takes_the_truth(root):
    """Also the annotation number 0, which it would never take for found."""
    truth = load(root, masks=True).validation.truth()
    assert [c["id"] for c in truth["categories"]] == IDS
    assert [i["id"] for i in truth["images"]] == [10, 20, 30, 40]
    annotations = truth["annotations"]
    assert [a["iscrowd"] for a in annotations] == [0, 0, 0, 0, 1, 0]
    expected = sorted(good_annotations(), key=lambda a: a["image_id"])
    for one, other in zip(annotations, expected, strict=True):
        for key in ("image_id", "category_id", "bbox", "area"):
            assert one[key] == other[key]
    found = [
        {**annotation, "score": 0.9}
        for annotation in copy.deepcopy(annotations)
        if not annotation["iscrowd"]
    ]
    # In the crowd, where it counts neither as right nor as wrong.
    inside = {"image_id": 20, "category_id": 44, "score": 0.99}
    inside["bbox"] = [2, 3, 5, 5]
    inside["segmentation"] = [[2, 3, 7, 3, 7, 8, 2, 8]]
    for kind in ("bbox", "segm"):
        assert judged(truth, [*found, inside], kind)[0] == 1
    boxes = load(root).validation.truth()
    assert "segmentation" not in boxes["annotations"][0]
    assert judged(boxes, [*found, inside], "bbox")[0] == 1
    # An image that cannot be read is not to be found.
    skipped = load(root).validation.skip([1]).truth()
    assert [i["id"] for i in skipped["images"]] == [10, 30, 40]
    assert {a["image_id"] for a in skipped["annotations"]} == {10, 30}
    json.dumps(boxes)


def turned(picture, orientation):
    """The bytes of a JPEG that says how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    ("orientation", "shown", "as_stored"),
    [(6, (50, 40), False), (6, (40, 50), True), (3, (40, 50), False)],
)
def test_images_that_exif_turns(root, orientation, shown, as_stored):
    """Turned, unless only what is stored has the annotated size."""
    content = content_of(good_annotations())
    entry = content["images"][0]
    entry["height"], entry["width"] = shown
    file = root / "train2017" / entry["file_name"]
    file.write_bytes(turned(photo(40, 50), orientation))
    write_json(root, content)
    with Image.open(file) as image:
        upright = ImageOps.exif_transpose(image)
        expected = np.asarray(image if as_stored else upright)
    assert expected.shape[:2] == shown
    np.testing.assert_array_equal(load(root).train.read(0), expected)


def test_an_image_of_another_size(root):
    Image.fromarray(photo(50, 51)).save(root / "train2017" / "1.png")
    split = load(root).train
    with pytest.raises(UnreadableImage) as info:
        split.read(1)
    assert info.value.reason == (
        "it is 51 wide and 50 high, in the annotations 50 wide and 50 high"
    )
