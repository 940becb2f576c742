"""Average precision and detections, against pycocotools and NumPy."""

import json

import numpy as np
import pytest
from coco_files import IDS
from coco_files import SIZES
from coco_files import write_part

from eca_keras.training.detection.average_precision import MASK
from eca_keras.training.detection.average_precision import METRICS
from eca_keras.training.detection.average_precision import average_precision
from eca_keras.training.detection.average_precision import metric_names
from eca_keras.training.detection.data import load_detection_source
from eca_keras.training.detection.results import Found
from eca_keras.training.detection.results import coco_result
from eca_keras.training.detection.results import in_file

pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def annotations(tmp_path_factory):
    """Path of a file of annotations, with a crowd, and its images' split."""
    root = tmp_path_factory.mktemp("coco")
    path = write_part(root)
    write_part(root, part="val2017")
    data = load_detection_source(f"coco:{root}", masks=True, keep_empty=True)
    return path, data.train


def perturbed(split, seed=0):
    """Detections near the truth, some of them with other classes."""
    from pycocotools import mask as coco_masks
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = split.truth()
    coco.createIndex()
    rng = np.random.default_rng(seed)
    results = []
    for truth in coco.dataset["annotations"]:
        mask = coco.annToMask(truth)
        for _ in range(3):
            x, y, width, height = truth["bbox"]
            shift = rng.integers(-3, 4, 2)
            code = coco_masks.encode(
                np.asfortranarray(np.roll(mask, shift, (1, 0)))
            )
            results.append(
                {
                    "image_id": truth["image_id"],
                    "category_id": int(
                        rng.choice([truth["category_id"], IDS[3]], p=[0.8, 0.2])
                    ),
                    "bbox": [x + shift[0], y + shift[1], width, height],
                    "score": float(rng.uniform()),
                    "segmentation": {
                        "size": [int(side) for side in code["size"]],
                        "counts": code["counts"].decode(),
                    },
                }
            )
            results[-1]["bbox"] = [float(v) for v in results[-1]["bbox"]]
    return results


def by_files(path, results, folder, kind, image_ids=None):
    """What pycocotools says about the files, as its own example has it."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    key = {"bbox": "bbox", "segm": "segmentation"}[kind]
    keys = ("image_id", "category_id", "score", key)
    file = folder / f"{kind}.json"
    file.write_text(json.dumps([{k: r[k] for k in keys} for r in results]))
    truth = COCO(str(path))
    evaluation = COCOeval(truth, truth.loadRes(str(file)), kind)
    if image_ids is not None:
        evaluation.params.imgIds = image_ids
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def test_figures_are_those_of_pycocotools(annotations, tmp_path, capsys):
    path, split = annotations
    # A match with an annotation of number 0 counts for none.
    content = json.loads(path.read_text())
    for number, annotation in enumerate(content["annotations"]):
        annotation["id"] = number + 1
    path = tmp_path / "numbered.json"
    path.write_text(json.dumps(content))
    results = perturbed(split)
    capsys.readouterr()
    ids = split.image_ids.tolist()
    figures = average_precision(split.truth(), results, ids, masks=True)
    assert capsys.readouterr().out == ""
    assert list(figures) == list(metric_names(masks=True))
    for kind, prefix in (("bbox", ""), ("segm", MASK)):
        expected = by_files(path, results, tmp_path, kind)
        found = [figures[f"{prefix}{name}"] for name in METRICS]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        assert 0.1 < found[0] < 0.95
    boxes = average_precision(split.truth(), results, ids)
    assert boxes == {name: figures[name] for name in METRICS}
    # Its results were left as they were.
    assert "area" not in results[0]
    some = average_precision(split.truth(), results, [20], masks=True)
    expected = by_files(path, results, tmp_path, "bbox", [20])
    assert some["AP"] == pytest.approx(expected[0])
    assert some["AP"] != figures["AP"]


def test_nothing_was_found(annotations):
    _, split = annotations
    figures = average_precision(split.truth(), [], [10, 20], masks=True)
    assert figures["AP"] == figures["AR100"] == figures["mask_AP"] == 0
    assert figures["APl"] == -1  # there are no large objects
    assert average_precision(split.truth(), [], [40])["AP"] == -1


def test_the_truth_itself_is_perfect(annotations):
    _, split = annotations
    truth = split.truth()
    results = [
        {**one, "score": 1.0}
        for one in truth["annotations"]
        if not one["iscrowd"]
    ]
    figures = average_precision(truth, results, split.image_ids.tolist())
    assert figures["AP"] == pytest.approx(1)


def detections(count, masks):
    """What a detector finds in two images: the first is empty."""
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 20, (2, 5, 2))
    found = {
        "boxes": np.concatenate([corners, corners + [20, 11]], -1),
        "scores": np.sort(rng.uniform(0, 1, (2, 5)))[:, ::-1],
        "labels": rng.integers(0, 3, (2, 5)),
        "count": np.array([0, count]),
    }
    if masks:
        found["masks"] = np.ones((2, 5, 28, 28), "float32")
    return found


def test_boxes_go_back_to_the_file():
    found = detections(3, masks=False)
    assert list(in_file(found, 0, (48, 40), (480, 200))) == []
    listed = list(in_file(found, 1, (48, 40), (480, 200)))
    assert len(listed) == 3
    for one, box, score, label in zip(
        listed,
        found["boxes"][1],
        found["scores"][1],
        found["labels"][1],
        strict=False,
    ):
        np.testing.assert_allclose(one.box, box * [5, 10, 5, 10])
        assert (one.score, one.label) == (score, label)
        assert one.mask is None


def test_boxes_in_the_padding_are_left_out():
    found = detections(3, masks=False)
    found["boxes"][1, 1] = [3, 48, 30, 48]  # clipped to the image
    listed = list(in_file(found, 1, (48, 40), (480, 200)))
    scores = found["scores"][1]
    assert [one.score for one in listed] == [scores[0], scores[2]]


def test_masks_fill_their_boxes_in_the_file():
    found = detections(2, masks=True)
    found["boxes"][1, 0] = [2, 3, 22, 33]
    [one, _] = in_file(found, 1, (40, 50), (80, 100))
    assert one.mask.shape == (80, 100)
    expected = np.zeros((80, 100), bool)
    expected[6:66, 4:44] = True
    np.testing.assert_array_equal(one.mask, expected)


def test_an_entry_of_a_results_file():
    from pycocotools import mask as coco_masks

    mask = np.zeros(SIZES[0], bool)
    mask[3:9, 20:30] = True
    found = Found(2, 0.75, (20.5, 3.0, 30.0, 9.5), mask)
    entry = coco_result(found, np.int64(40), (1, 2, 90))
    again = json.loads(json.dumps(entry))  # nothing that JSON does not have
    assert again.pop("segmentation")["size"] == [40, 60]
    assert again == {
        "image_id": 40,
        "category_id": 90,
        "bbox": [20.5, 3.0, 9.5, 6.5],
        "score": 0.75,
    }
    decoded = coco_masks.decode(entry["segmentation"])
    np.testing.assert_array_equal(decoded.astype(bool), mask)
    without = coco_result(found._replace(mask=None), 40, (1, 2, 90))
    assert "segmentation" not in without
