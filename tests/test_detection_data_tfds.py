"""COCO as tensorflow-datasets prepares it, in small, without a network."""

import numpy as np
import pytest
import tensorflow as tf
from coco_files import IDS
from pictures import photo

from eca_keras.errors import InputError
from eca_keras.training.detection.batches import training_batches
from eca_keras.training.detection.data import load_detection_source

tfds = pytest.importorskip("tensorflow_datasets")

# Heights and widths, and objects as `(id, label, box, area, crowd)`, the box
# as shares of the sides: y1, x1, y2, x2.
EXAMPLES = {
    139: (
        (40, 60),
        [
            (1, 11, (0.25, 0.5, 0.75, 1.0), 600, False),
            (2, 79, (0.0, 0.0, 0.5, 0.25), 0, False),
            (3, 0, (0.0, 0.0, 1.0, 1.0), 2400, True),
        ],
    ),
    285: ((50, 30), []),
    632: (
        (32, 32),
        [
            (4, 5, (0.5, 0.5, 0.5, 0.75), 9, False),  # no height
            (5, 6, (0.5, 0.5, 0.75, 0.75), -4, False),
            (6, 7, (0.5, 0.25, 0.75, 0.5), 64, False),
        ],
    ),
}

NAMES = [f"class {number}" for number in IDS]

FEATURES = {
    "image": tfds.features.Image(encoding_format="jpeg"),
    "image/filename": tfds.features.Text(),
    "image/id": np.int64,
    "objects": tfds.features.Sequence(
        {
            "id": np.int64,
            "area": np.int64,
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(names=NAMES),
            "is_crowd": np.bool_,
        }
    ),
}


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def example(number):
    size, objects = EXAMPLES[number]
    columns = list(zip(*objects, strict=True)) or [()] * 5
    ids, labels, boxes, areas, crowds = columns
    return {
        "image": photo(*size, seed=number),
        "image/filename": f"{number:012d}.jpg",
        "image/id": number,
        "objects": {
            "id": np.array(ids, "int64"),
            "label": np.array(labels, "int64"),
            "bbox": np.array(boxes, "float32").reshape(-1, 4),
            "area": np.array(areas, "int64"),
            "is_crowd": np.array(crowds, bool),
        },
    }


def store(data_dir, name="coco", without=(), parts=("train", "validation")):
    """Writes the examples as all `parts`; returns their files."""
    features = {k: v for k, v in FEATURES.items() if k not in without}
    examples = [{k: example(n)[k] for k in features} for n in EXAMPLES]
    specs = tf.nest.map_structure(
        lambda x: tf.TensorSpec([None] * np.ndim(x), np.asarray(x).dtype),
        examples[0],
    )
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(examples), output_signature=specs
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        config="2017",
        version="1.1.0",
        features=tfds.features.FeaturesDict(features),
        split_datasets=dict.fromkeys(parts, dataset),
        data_dir=data_dir,
    )
    return sorted(data_dir.glob(f"{name}/2017/1.1.0/*tfrecord*"))


def test_what_is_read(data_dir):
    store(data_dir)
    source = load_detection_source("tfds:coco/2017")
    assert source.category_ids == tuple(IDS)
    assert source.class_names == tuple(NAMES)
    bad = [
        "1 annotation left out (4): `bbox` must have a positive width and",
        "1 annotation left out (5): `area` must be a positive finite number",
    ]
    expected = [
        f"{part} of tfds:coco/2017: {note}"
        for part in ("train", "validation")
        for note in bad
    ]
    expected.append("1 training image without objects left out: nothing to")
    assert len(source.notes) == len(expected)
    for note, start in zip(source.notes, expected, strict=True):
        assert note.startswith(start)
    split = source.validation
    assert sorted(split.image_ids) == [139, 285, 632]
    for index, number in enumerate(split.image_ids):
        size, _ = EXAMPLES[number]
        assert split.sizes[index].tolist() == list(size)
        assert split.read(index).shape == (*size, 3)
        assert split.name(index) == (
            f"image {number} of validation of tfds:coco/2017"
        )
        # Compressed: close to what was written.
        picture = photo(*size, seed=number).astype(int)
        assert np.abs(split.read(index) - picture).mean() < 20
    truth = {
        (a["image_id"], a["category_id"]): a
        for a in split.truth()["annotations"]
    }
    assert set(truth) == {(139, 13), (139, 90), (139, 1), (632, 8)}
    assert truth[139, 13]["bbox"] == [30, 10, 30, 20]
    assert truth[139, 13]["area"] == 600
    assert truth[139, 90]["bbox"] == [0, 0, 15, 20]
    assert truth[139, 90]["area"] == 0.5  # 0 where it was cut to an integer
    assert [truth[key]["iscrowd"] for key in sorted(truth)] == [1, 0, 0, 0]
    assert truth[632, 8]["bbox"] == [8, 16, 8, 8]


def test_batches(data_dir):
    store(data_dir, parts=("train",))
    source = load_detection_source(
        "tfds:coco/2017", validation_fraction=0.3, keep_empty=True
    )
    assert (source.train.size, source.validation.size) == (2, 1)
    dataset = training_batches(
        source.train,
        batch_size=2,
        input_shape=(80, 120, 3),
        seed=0,
        flip=False,
        max_objects=3,
        masks=False,
        last_step=1,
    )
    [(pictures, targets)] = dataset
    assert pictures.shape == (2, 80, 120, 3)
    found = {
        tuple(box.tolist())
        for box, label in zip(
            targets["boxes"].numpy().reshape(-1, 4),
            targets["labels"].numpy().ravel(),
            strict=True,
        )
        if label >= 0
    }
    # Twice and 2.5 times as large as in the files.
    everything = {(60, 20, 120, 60), (0, 0, 30, 40), (20, 40, 40, 60)}
    assert found <= everything
    assert found


def spoil(file):
    """Makes a text of the first image in a file; returns its id."""
    examples = [
        tf.train.Example.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(file))
    ]
    first = examples[0].features.feature
    first["image"].bytes_list.value[0] = b"I am a text"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in examples:
            writer.write(record.SerializeToString())
    return first["image/id"].int64_list.value[0]


def test_an_image_that_cannot_be_read(data_dir):
    train, _ = store(data_dir)
    number = spoil(train)
    with pytest.raises(InputError) as info:
        load_detection_source("tfds:coco/2017")
    start = f"train of tfds:coco/2017: image {number}: it must be readable"
    assert str(info.value).startswith(start)
    source = load_detection_source(
        "tfds:coco/2017", on_bad_image="skip", keep_empty=True
    )
    assert sorted(source.train.image_ids) == sorted({*EXAMPLES} - {number})
    assert any(
        note.startswith(
            f"train of tfds:coco/2017: 1 image left out ({number}): it must "
            "be readable"
        )
        for note in source.notes
    )
    assert source.validation.size == 3


def test_what_is_refused(data_dir):
    with pytest.raises(InputError, match="'tfds:coco/2017' is not in"):
        load_detection_source("tfds:coco/2017")
    pytest.importorskip("pycocotools")
    with pytest.raises(InputError, match="`masks` must be False for 'tfds:co"):
        load_detection_source("tfds:coco/2017", masks=True)
    store(data_dir, name="pairs", without=("objects",))
    with pytest.raises(InputError, match="Found: image, image/filename, ima"):
        load_detection_source("tfds:pairs/2017")
    store(data_dir, name="holiday", parts=("validation",))
    with pytest.raises(InputError, match="must have a split 'train'. Found"):
        load_detection_source("tfds:holiday/2017")


def test_a_bad_annotation_ends_it(data_dir):
    store(data_dir)
    with pytest.raises(InputError, match="train of tfds:coco/2017: annotatio"):
        load_detection_source("tfds:coco/2017", on_bad_annotation="fail")
