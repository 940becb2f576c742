"""Data sets in COCO's format: what is left out, what is refused."""

import math

import numpy as np
import pytest
from coco_files import SIZES
from coco_files import annotation
from coco_files import content_of
from coco_files import good_annotations
from coco_files import labels_of
from coco_files import load
from coco_files import write_json
from coco_files import write_part
from coco_files import write_parts

from eca_keras.errors import InputError
from eca_keras.training.detection.data import load_detection_source

pycocotools = pytest.importorskip("pycocotools")


@pytest.fixture
def root(tmp_path):
    write_parts(tmp_path)
    return tmp_path


OUTLINE = "`segmentation` must be a list of polygons or run"
POINTS = "`segmentation` must have polygons of three points or more"
AFAR = "`segmentation` must lie in the image, or not further outside"
RUNS = "`segmentation` must have run lengths of an object, of the height"


def run_lengths_of(counts, size=(50, 50)):
    return {"segmentation": {"size": list(size), "counts": counts}}


# What to change in a good annotation of the image 20, which is 50 x 50; how
# the rule begins; and what of the value the message shows.
BAD = {
    "no box": ({"bbox": None}, "it must have the keys id, im", "missing=['b"),
    "no object": ("text", "it must have the keys id", "entry='text'"),
    "id of text": ({"id": "9"}, "`id` must be an integer", "id='9'"),
    "id twice": ({"id": 7}, "`id` must be there once", "id=7"),
    "image": ({"image_id": 21}, "`image_id` must be the id of", "=21"),
    "category": ({"category_id": 12}, "`category_id` must be the id", "=12"),
    "list": ({"category_id": [1]}, "`category_id` must be the id", "=[1]"),
    "three": ({"bbox": [1, 2, 3]}, "`bbox` must be four finite", "[1, 2, 3]"),
    "nan": ({"bbox": [1, math.nan, 3, 4]}, "`bbox` must be four fin", "nan"),
    "inf": ({"bbox": [1, 2, math.inf, 4]}, "`bbox` must be four fin", "inf"),
    "huge": ({"bbox": [10**400, 2, 1, 4]}, "`bbox` must be four fin", "1000"),
    "no width": ({"bbox": [1, 2, 0, 4]}, "`bbox` must have a positive", "0, 4"),
    "negative": ({"bbox": [1, 2, 4, -4]}, "`bbox` must have a posi", "-4]"),
    "outside": ({"bbox": [50, 2, 4, 4]}, "`bbox` must overlap the", "width=50"),
    "above": ({"bbox": [5, -9, 4, 9]}, "`bbox` must overlap the", "height=50"),
    "no area": ({"area": 0}, "`area` must be a positive finite", "area=0"),
    "area < 0": ({"area": -2.5}, "`area` must be a positive finite", "=-2.5"),
    "no number": ({"area": math.inf}, "`area` must be a positive", "=inf"),
    "half": ({"iscrowd": 2}, "`iscrowd` must be 0 or 1", "iscrowd=2"),
    "no outline": ({"segmentation": []}, OUTLINE, "segmentation=[]"),
    "none": ({"segmentation": None}, OUTLINE, "segmentation=None"),
    "two points": ({"segmentation": [[1, 1, 5, 5]]}, POINTS, "[1, 1, 5, 5]"),
    "odd": ({"segmentation": [[1, 1, 5, 5, 9, 9, 3]]}, POINTS, "9, 3]"),
    "nested": ({"segmentation": [[[1, 1], [5]]]}, POINTS, "[[1, 1], [5]]"),
    "letters": ({"segmentation": [["a"] * 6]}, POINTS, "['a', "),
    "afar": ({"segmentation": [[1, 1, 5, 5, 1e8, 2]]}, AFAR, "00000.0, 2]"),
    "nowhere": ({"segmentation": [[1, 1, 5, 5, math.nan, 2]]}, AFAR, "nan"),
    "other size": (run_lengths_of([0, 1, 2449], [49, 50]), RUNS, "[49, 50]"),
    "too few": (run_lengths_of([9, 9]), RUNS, "counts=[9, 9]"),
    "empty": (run_lengths_of([2500]), RUNS, "counts=[2500]"),
    "runs < 0": (run_lengths_of([2600, -100]), RUNS, "-100]"),
    "too long": (run_lengths_of([2**62, 2**62] * 2 + [2500]), RUNS, "4611"),
    "cut string": (run_lengths_of("PY1P"), RUNS, "counts='PY1P'"),
    "no string": (run_lengths_of("\ud800\u00e9"), RUNS, "counts="),
    "no counts": ({"segmentation": {"size": [50, 50]}}, RUNS, "counts=None"),
}


def bad_annotation(change):
    if not isinstance(change, dict):
        return change
    bad = annotation(99, 20, 1, (10, 10, 9, 9)) | change
    return {k: v for k, v in bad.items() if v is not None}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_annotation(root, kind):
    change, rule, received = BAD[kind]
    bad = bad_annotation(change)
    path = write_json(root, content_of([*good_annotations(), bad]))
    options = {"masks": True, "keep_empty": True}
    with pytest.raises(InputError) as info:
        load(root, on_bad_annotation="fail", **options)
    name = "number 7 of the file"
    if isinstance(bad, dict):
        name = repr(bad["id"])
    start, _, value = str(info.value).partition(". Received: ")
    assert start.startswith(f"{path}: annotation {name}: {rule}")
    assert received in value
    assert len(value) < 300
    source = load(root, **options)
    [note] = source.notes
    assert note.startswith(f"{path}: 1 annotation left out ({name}): {rule}")
    assert labels_of(source.train) == labels_of(source.validation)


def test_annotations_that_are_not_bad(root):
    """Nothing but boxes is necessary; what lies outside is cut off."""
    clipped = annotation(8, 40, 1, (-3, 20, 20, 15))
    bare = annotation(9, 40, 2, (1, 2, 3, 4))
    for key in ("area", "iscrowd", "segmentation"):
        del bare[key]
    rounded = annotation(10, 40, 3, (30, 20, 14.01, 9))
    path = write_json(root, content_of([clipped, bare, rounded]))
    source = load(root, on_bad_annotation="fail")
    assert source.notes == (
        f"{path}: 1 annotation clipped (8): `bbox` reaches out of the image",
        "3 training images without objects left out: nothing to learn from",
    )
    objects = source.train.objects
    assert labels_of(source.train) == {40: [1, 2, 3]}
    np.testing.assert_array_equal(
        objects.corners, [[0, 20, 17, 30], [1, 2, 4, 6], [30, 20, 44, 29]]
    )
    np.testing.assert_allclose(objects.areas, [234, 12, 98.3502])
    # As annotated, for an evaluation like everybody's.
    assert source.train.truth()["annotations"][0]["bbox"] == [-3, 20, 20, 15]
    # With masks the outline is necessary, too.
    notes = load(root, masks=True).notes
    assert f"{path}: 1 annotation left out (9): {OUTLINE} lengths" in notes


def test_kinds_are_counted_and_the_first_are_named(root):
    annotations = good_annotations()
    annotations += [annotation(i, 20, 1, (9, 9, 0, 5)) for i in range(11, 16)]
    annotations += [annotation(i, 77, 1, (9, 9, 5, 5)) for i in (21, 22)]
    path = write_json(root, content_of(annotations))
    source = load(root, keep_empty=True)
    assert source.notes == (
        f"{path}: 5 annotations left out (11, 12, 13, and 2 more): `bbox` "
        "must have a positive width and height",
        f"{path}: 2 annotations left out (21, 22): `image_id` must be the id "
        "of an image",
    )
    assert len(source.train.objects.labels) == 6


BAD_IMAGES = {
    "no height": ({"height": None}, "it must have the keys id, file_name, h"),
    "no pixels": ({"width": 0}, "`width` must be a positive integer"),
    "half a pixel": ({"height": 50.5}, "`height` must be a positive integer"),
    "a number": ({"file_name": 7}, "`file_name` must be the name of a file"),
    "no id": ({"id": [20]}, "`id` must be an integer"),
    "id twice": ({"id": 10}, "`id` must be there once"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_entries_of_images(root, kind):
    change, rule = BAD_IMAGES[kind]
    content = content_of(good_annotations())
    entry = content["images"][1] | change
    entry = {k: v for k, v in entry.items() if v is not None}
    content["images"][1] = entry
    path = write_json(root, content)
    with pytest.raises(InputError) as info:
        load(root, on_bad_annotation="fail")
    start = f"{path}: image {entry['id']}: {rule}"
    assert str(info.value).startswith(start)
    source = load(root)
    assert labels_of(source.train) == {10: [13, 1], 30: [90]}
    note = source.notes[0]
    assert note.startswith(f"{path}: 1 image left out ({entry['id']}): {rule}")
    # Its annotations go with it, without a word if that image is known.
    lost = [n for n in source.notes if "`image_id` must be" in n]
    assert len(lost) == ("id" in change)


def test_an_image_without_a_file(root):
    (root / "train2017" / "1.png").unlink()
    path = root / "annotations" / "instances_train2017.json"
    with pytest.raises(InputError) as info:
        load(root)
    assert str(info.value) == (
        f"{path}: image 20: its file must exist. "
        f"Received: file='{root / 'train2017' / '1.png'}'"
    )
    source = load(root, on_bad_image="skip")
    assert source.notes[0] == (
        f"{path}: 1 image left out (20): its file must exist"
    )
    assert labels_of(source.train) == {10: [13, 1], 30: [90]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "is not a whole JSON file: Expecting value: line 1"),
        (b"\xff\xfe{}\x80", "is not a whole JSON file"),
        ("[" * 100_000, "is not a whole JSON file"),
        ("[1, 2]", "is not a file of COCO annotations: .* a list 'images'"),
        ('{"images": []}', "COCO annotations: it must have a list 'annotat"),
        (
            '{"images": [], "annotations": [], "categories": []}',
            "has no categories",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 3}]}',
            r"category 3: it must have the keys id, name\. Received: missing",
        ),
        (
            '{"images": [], "annotations": [], '
            '"categories": [{"id": 3, "name": "cat"}]}',
            "has no image that can be used",
        ),
    ],
)
def test_damaged_files(root, text, message):
    path = root / "annotations" / "instances_train2017.json"
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as info:
        load(root)
    assert str(path) in str(info.value)


def test_data_that_is_not_there(root, tmp_path):
    with pytest.raises(InputError, match="must name an existing folder after"):
        load("/no/such")
    with pytest.raises(InputError, match="must have a file annotations/inst"):
        load(root / "train2017")
    file = root / "annotations" / "instances_val2017.json"
    with pytest.raises(InputError, match="There is no folder of images /no"):
        load_detection_source(f"coco:/no/such,{file}")
    with pytest.raises(InputError, match="none.json cannot be opened: No such"):
        load_detection_source(f"coco:{root / 'val2017'},none.json")
    write_part(root, split="train2014")
    with pytest.raises(InputError, match="Found: instances_train2014.json, in"):
        load(root)
    for data in ("coco", "voc:x", "", "shapes:0", "shapes:x"):
        with pytest.raises(InputError, match="`data` must"):
            load_detection_source(data)
    for policy in ("on_bad_image", "on_bad_annotation"):
        with pytest.raises(InputError, match=f"`{policy}` must be one of fail"):
            load(root, **{policy: "ignore"})


def test_data_that_does_not_fit_together(root):
    content = content_of(good_annotations())
    content["categories"][3]["name"] = "cat"
    write_json(root, content, "val2017")
    with pytest.raises(InputError, match="must have the categories of.*cat"):
        load(root)
    write_json(root, content_of([]))
    write_json(root, content_of([]), "val2017")
    with pytest.raises(InputError, match="have no objects to learn from"):
        load(root)


def test_why_nothing_is_left(root):
    """What was left out, and why, is in the refusal."""
    annotations = [{**one, "image_id": "10"} for one in good_annotations()]
    write_json(root, content_of(annotations))
    with pytest.raises(InputError, match="learn from; .*6 annotations left ou"):
        load(root)
    content = content_of(good_annotations())
    for entry in content["images"]:
        entry["height"] = float(entry["height"])
    write_json(root, content)
    with pytest.raises(InputError, match="can be used; .*`height` must be a p"):
        load(root)


def test_an_image_that_was_left_out_comes_again(root):
    content = content_of(good_annotations())
    broken = {"id": content["images"][2]["id"]}
    content["images"].insert(0, broken)
    write_json(root, content)
    split = load(root, keep_empty=True).train
    assert split.image_ids.tolist() == [10, 20, 30, 40]
    assert split.sizes.tolist() == [list(size) for size in SIZES]
    for index, size in enumerate(SIZES):
        assert tuple(split.read(index).shape[:2]) == size


@pytest.mark.parametrize("name", ["a\0/x.png", "\ud800/x.png"])
def test_names_that_no_file_can_have(root, name):
    content = content_of(good_annotations())
    content["images"][3]["file_name"] = name
    write_json(root, content)
    with pytest.raises(InputError, match="image 40: its file must exist"):
        load(root)
    assert load(root, on_bad_image="skip", keep_empty=True).train.size == 3
