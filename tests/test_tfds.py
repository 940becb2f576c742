"""Datasets of tensorflow-datasets, without a network."""

import io
import logging
import struct
import tarfile
import time

import numpy as np
import pytest
import tensorflow as tf
from pictures import photo
from PIL import Image

from eca_keras.errors import InputError
from eca_keras.training import load_source
from eca_keras.training.classification.augmentation import Augmentation
from eca_keras.training.classification.batches import training_batches
from eca_keras.training.data import tfds as our_tfds
from eca_keras.training.data.tfrecord import Records

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def write_records(path, contents):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)
    return str(path)


def test_records_in_any_order(tmp_path):
    rng = np.random.default_rng(0)
    contents = [rng.bytes(n) for n in (0, 1, 5000, 12, 300, 7, 8)]
    a = write_records(tmp_path / "a", contents[:4])
    b = write_records(tmp_path / "b", contents[4:])
    records = Records([(a, 0, 4), (b, 0, 3)])
    assert len(records) == 7
    order = np.array([6, 2, 0, 0, 4])
    assert [*records.read(order)] == [contents[i] for i in order]
    part = Records([(a, 2, 2), (b, 1, 1)])
    assert [*part.read(np.arange(3))] == contents[2:4] + contents[5:6]


def test_damaged_records(tmp_path):
    path = tmp_path / "a"
    write_records(path, [bytes(100)] * 3)
    whole = path.read_bytes()
    records = Records([(str(path), 0, 3)])
    for broken, record in (
        (whole[:-1], 2),
        (whole[:120], 1),
        (b"", 0),
        (whole[:116] + struct.pack("<Q", 2**62) + whole[124:], 1),
    ):
        path.write_bytes(broken)
        with pytest.raises(
            InputError, match=f"a is cut off or damaged: record {record} of 3"
        ):
            Records([(str(path), 0, 3)])
    path.write_bytes(whole[:200])
    with pytest.raises(InputError, match="a has become shorter"):
        records.read(np.array([1]))
    path.unlink()
    with pytest.raises(InputError, match="a cannot be opened: No such file"):
        Records([(str(path), 0, 3)])


def store(data_dir, file_format, labels):
    """Writes a dataset `tiny` of 20 + 6 pictures; returns those of test."""
    splits = {}
    for split, count in (("train", 20), ("test", 6)):
        splits[split] = {
            "image": np.stack([photo(12, 12, 1, i) for i in range(count)]),
            "label": np.arange(count) % 3 if split == "train" else labels,
        }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(12, 12, 1)),
                "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
            }
        ),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(examples)
            for split, examples in splits.items()
        },
        data_dir=data_dir,
        file_format=file_format,
    )
    return splits["test"]["image"]


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_prepared_data_set(data_dir, file_format):
    if file_format == "array_record":
        pytest.importorskip("array_record")
    expected = store(data_dir, file_format, np.arange(6) % 3)
    source = load_source("tfds:tiny", 0.2)
    assert source.class_names == ("a", "b", "c")
    assert (source.channels, source.image_size) == (1, 12)
    sizes = source.train.size, source.validation.size, source.test.size
    assert sizes == (16, 4, 6)
    shown = [image.numpy() for image, _ in source.test.dataset]
    assert sorted(i.tobytes() for i in shown) == sorted(
        i.tobytes() for i in expected
    )
    np.testing.assert_array_equal(source.test.read(4), shown[4])
    assert source.validation.name(2) == "image 2 of train[16:] of tfds:tiny"
    parts = source.train.dataset.concatenate(source.validation.dataset)
    labels = [int(label) for _, label in parts]
    assert np.bincount(labels).tolist() == [7, 7, 6]


def test_test_images_without_labels_are_left_out(data_dir):
    store(data_dir, "tfrecord", np.full(6, -1))
    assert load_source("tfds:tiny", 0.2).test is None


def test_a_data_set_that_is_not_there_says_so_at_once(
    data_dir, monkeypatch, caplog
):
    started = time.monotonic()
    with caplog.at_level(logging.WARNING):
        with pytest.raises(InputError, match="'tfds:cifar10' is not in") as e:
            load_source("tfds:cifar10")
        message = str(e.value)
        assert str(data_dir) in message
        assert "TFDS_DATA_DIR" in message
        assert "data='tfds:cifar10?download'" in message
        with pytest.raises(InputError, match="no dataset 'no_such_thing'"):
            load_source("tfds:no_such_thing")
        # A port on which nobody listens.
        monkeypatch.setattr(our_tfds, "MIRROR", "http://127.0.0.1:9")
        with pytest.raises(InputError, match="127.0.0.1:9 does not answer"):
            load_source("tfds:cifar10?download")
    assert time.monotonic() - started < 20
    assert not caplog.records


def test_features_that_do_not_suit(data_dir):
    tfds.dataset_builders.store_as_tfds_dataset(
        name="numbers",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(4, 4, 1)),
                "label": tfds.features.Scalar(np.int64),
            }
        ),
        split_datasets={
            "train": tf.data.Dataset.from_tensor_slices(
                {
                    "image": np.zeros((3, 4, 4, 1), "uint8"),
                    "label": np.arange(3),
                }
            )
        },
        data_dir=data_dir,
    )
    with pytest.raises(InputError, match="must have images of type uint8 and"):
        load_source("tfds:numbers")


def add(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def jpeg(seed):
    file = io.BytesIO()
    Image.fromarray(photo(40, 50, seed=seed)).save(file, "jpeg")
    return file.getvalue()


def write_imagenet(folder):
    """Writes 3 classes with 5 images each, and 8 images for validation."""
    folder.mkdir(parents=True)
    names = ("n01440764", "n01443537", "n01484850")
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as train:
        for label, name in enumerate(names):
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as archive:
                for i in range(5):
                    add(archive, f"{name}_{i}.JPEG", jpeg(10 * label + i))
            add(train, f"{name}.tar", content.getvalue())
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as validation:
        for i in range(1, 9):
            add(validation, f"ILSVRC2012_val_{i:08d}.JPEG", jpeg(100 + i))


def test_imagenet_from_its_tar_files(data_dir):
    manual = data_dir / "downloads" / "manual"
    with pytest.raises(InputError, match="put ILSVRC2012_img_train.tar and"):
        load_source("tfds:imagenet2012")
    write_imagenet(manual)
    validation = manual / "ILSVRC2012_img_val.tar"
    validation.rename(manual / "elsewhere.tar")
    with pytest.raises(InputError, match="Missing: ILSVRC2012_img_val.tar"):
        load_source("tfds:imagenet2012")
    (manual / "elsewhere.tar").rename(validation)
    source = load_source("tfds:imagenet2012")
    assert (source.train.size, source.validation.size) == (15, 8)
    assert source.test is None
    assert len(source.class_names) == 1000
    assert source.augmentation == "crop-flip"
    assert source.crop_fraction == 0.875
    labels = [int(y) for _, y in source.train.dataset]
    assert np.bincount(labels).tolist() == [5, 5, 5]
    pictures = {x.numpy().tobytes(): int(y) for x, y in source.train.dataset}
    decoded = tf.io.decode_jpeg(jpeg(23), dct_method="INTEGER_ACCURATE")
    assert pictures[decoded.numpy().tobytes()] == 2
    batches = training_batches(
        source.train,
        batch_size=5,
        image_size=32,
        augmentation=Augmentation("crop-flip"),
        seed=0,
        classes=1000,
        last_step=3,
    )
    seen = [label for _, y in batches for label in y.numpy()]
    assert sorted(seen) == sorted(labels)
    # Prepared by now: the tar files are not needed any more.
    validation.unlink()
    assert load_source("tfds:imagenet2012").train.size == 15
