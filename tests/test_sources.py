"""Data sets on disk, and the parts they are split into."""

import gzip
import os
import shutil
import struct

import numpy as np
import pytest
import tensorflow as tf
from pictures import cut
from pictures import photo
from pictures import write_folder
from PIL import Image

from eca_keras.errors import InputError
from eca_keras.training import load_source
from eca_keras.training.data import fashion_mnist
from eca_keras.training.data.source import UnreadableImage
from eca_keras.training.data.source import array_split
from eca_keras.training.data.source import hold_out

RNG = np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pets")


def test_digits():
    source = load_source("digits", 0.1)
    assert source.class_names == tuple("0123456789")
    sizes = source.train.size, source.validation.size, source.test.size
    assert sum(sizes) == 1797
    assert sizes[2] == 359
    seen = [
        image.numpy().tobytes()
        for split in (source.train, source.validation, source.test)
        for image, _ in split.dataset
    ]
    assert len(seen) == 1797
    assert len(set(seen)) > 1790  # the parts do not overlap
    assert max(int(i.numpy().max()) for i, _ in source.test.dataset) == 255


def test_dataset_suits_a_users_own_fit():
    split = load_source("digits").train
    dataset = split.dataset
    image, label = dataset.element_spec
    assert (image.shape, image.dtype) == ((8, 8, 1), "uint8")
    assert (label.shape, label.dtype) == ((), "int32")
    assert dataset.cardinality() == split.size
    twice = [[int(y) for _, y in dataset] for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(set(twice[0])) == 10


def test_hold_out_keeps_the_classes_in_proportion():
    labels = np.repeat([0, 1, 2], [100, 50, 2])
    rest, held = hold_out(labels, 0.1)
    assert np.bincount(labels[held]).tolist() == [10, 5, 1]
    assert np.bincount(labels[rest]).tolist() == [90, 45, 1]
    assert sorted([*rest, *held]) == list(range(152))
    np.testing.assert_array_equal(hold_out(labels, 0.1)[1], held)
    with pytest.raises(InputError, match="`validation_fraction` must be larg"):
        hold_out(labels, 0.0)


def test_selected_and_skipped_images():
    split = array_split(RNG.integers(0, 256, (10, 2, 2, 1), "uint8"), range(10))
    some = split.skip([7, 3]).select([9, 7, 1])
    assert (some.size, some.bad) == (3, (1,))
    assert [int(y) for _, y in some.dataset] == [9, 1]
    assert some.name(0) == "image 9"
    np.testing.assert_array_equal(
        some.read(2), next(iter(split.select([1]).dataset))[0]
    )
    bad = split.skip([2]).skip([3, 9])
    assert bad.bad == (2, 3, 9)
    instead = bad.readable(tf.range(10, dtype=tf.int64)).numpy()
    assert instead.tolist() == [0, 1, 4, 4, 4, 5, 6, 7, 8, 0]
    marked = bad.is_bad(tf.range(10, dtype=tf.int64))
    assert np.flatnonzero(marked).tolist() == [2, 3, 9]
    with pytest.raises(InputError, match="None of the 10 images can be read"):
        bad.skip(range(10))


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def fashion(tmp_path):
    arrays = {}
    for (part, kind), name in fashion_mnist.FILES.items():
        shape = (40, 28, 28) if kind == "images" else (40,)
        array = RNG.integers(0, 256 if kind == "images" else 10, shape, "uint8")
        write_idx(tmp_path / name, array)
        arrays[part, kind] = array
    return tmp_path, arrays


def test_fashion_mnist_from_a_folder(fashion):
    path, arrays = fashion
    source = load_source(f"fashion-mnist:{path}", 0.25)
    assert source.class_names[9] == "Ankle boot"
    assert source.train.size + source.validation.size == 40
    pairs = list(source.test.dataset)
    np.testing.assert_array_equal(
        np.stack([image for image, _ in pairs])[..., 0],
        arrays["test", "images"],
    )
    assert [int(y) for _, y in pairs] == arrays["test", "labels"].tolist()


def test_broken_fashion_mnist(fashion):
    path, _ = fashion
    file = path / fashion_mnist.FILES["train", "images"]
    content = file.read_bytes()
    file.write_bytes(content[:-2000])
    with pytest.raises(InputError, match="train-images.*not a whole gzip"):
        load_source(f"fashion-mnist:{path}")
    whole = gzip.decompress(content)
    for broken in (whole[:-5], whole[:6], b""):
        file.write_bytes(gzip.compress(broken))
        with pytest.raises(InputError, match="is not an IDX file"):
            load_source(f"fashion-mnist:{path}")
    file.unlink()
    with pytest.raises(InputError, match="needs the four files.*Missing:"):
        load_source(f"fashion-mnist:{path}")


def test_fashion_mnist_that_is_nowhere(monkeypatch, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "none")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        InputError, match="'fashion-mnist:FOLDER' with the four"
    ):
        load_source("fashion-mnist")


def test_folder(folder):
    source = load_source(f"folder:{folder}", 0.34)
    assert source.class_names == ("cat", "dog")
    assert (source.train.size, source.validation.size) == (8, 4)
    assert source.test is None
    assert source.notes == ()
    names = [source.train.name(i) for i in range(8)]
    for name, (image, label) in zip(names, source.train.dataset, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(name)))
        assert int(label) == ("/dog/" in name)
    held = {source.validation.name(i) for i in range(4)}
    assert len(held | {*names}) == 12


def test_folder_with_parts(folder, tmp_path):
    root = tmp_path / "parts"
    root.mkdir()
    for part in ("train", "val", "test"):
        (root / part).symlink_to(folder)
    source = load_source(f"folder:{root}")
    assert source.train.size == source.validation.size == source.test.size == 12


def test_files_that_are_left_out_are_named(folder):
    for name in ("a.txt", "b.psd", "c", "d.xcf", ".hidden"):
        (folder / "cat" / name).write_text("no image")
    (note,) = load_source(f"folder:{folder}").notes
    assert note.startswith(f"4 files in {folder} left out")
    assert note.endswith(": cat/a.txt, cat/b.psd, cat/c, and 1 more")


def test_a_name_that_is_no_unicode(folder):
    path = os.path.join(os.fsencode(folder), b"cat", b"\xff\xfe.png")
    shutil.copy(folder / "cat" / "1.png", path)
    source = load_source(f"folder:{folder}")
    assert source.train.size + source.validation.size == 13
    shown = [*source.train.dataset, *source.validation.dataset]
    assert len(shown) == 13


def test_bad_folders(folder):
    with pytest.raises(InputError, match="must name an existing folder"):
        load_source("folder:/no/such")
    with pytest.raises(InputError, match="one folder of images per class"):
        load_source(f"folder:{folder / 'cat'}")
    (folder / "cat" / "9.jpg").write_text("I am a text")
    with pytest.raises(InputError, match=r"cat/9\.jpg is not a readable image"):
        load_source(f"folder:{folder}")
    for skip in ({"check_images": False}, {"on_bad_image": "skip"}):
        assert load_source(f"folder:{folder}", **skip).train.size
    (folder / "cat" / "9.jpg").unlink()
    cut(folder / "dog" / "0.jpg")
    with pytest.raises(InputError, match=r"dog/0\.jpg is not a readable image"):
        load_source(f"folder:{folder}")
    (folder / "emu").mkdir()
    with pytest.raises(InputError, match="emu has no images"):
        load_source(f"folder:{folder}", check_images=False)


def test_reading_one_image_says_why_not(folder):
    split = load_source(f"folder:{folder}", on_bad_image="skip").train
    index = next(i for i in range(split.size) if "0.jpg" in split.name(i))
    assert split.read(index).shape == (40, 50, 3)
    Image.fromarray(photo(40, 50)).save(split.name(index), "jpeg")
    os.truncate(split.name(index), 500)
    with pytest.raises(UnreadableImage) as info:
        split.read(index)
    assert info.value.name == split.name(index)
    assert info.value.reason
    assert "{{" not in str(info.value)
    assert "Op:" not in str(info.value)
    os.unlink(split.name(index))
    with pytest.raises(UnreadableImage, match="No such file"):
        split.read(index)


@pytest.mark.parametrize("data", ["mnist", "", "digits:8", "folder"])
def test_unknown_data(data):
    with pytest.raises(InputError, match="`data` must"):
        load_source(data)


def test_unknown_policy():
    with pytest.raises(InputError, match="`on_bad_image` must be one of fail"):
        load_source("digits", on_bad_image="ignore")
