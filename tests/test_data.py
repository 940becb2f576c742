"""Data sources, augmentation and batches."""

import gzip
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from eca_keras.errors import InputError
from eca_keras.training import load_source
from eca_keras.training.data import augmentation
from eca_keras.training.data import fashion_mnist
from eca_keras.training.data import images
from eca_keras.training.data.pipeline import evaluation_batches
from eca_keras.training.data.pipeline import training_batches
from eca_keras.training.data.source import array_split
from eca_keras.training.data.source import hold_out

RNG = np.random.default_rng(0)


def photo(height, width, channels=3):
    """A smooth picture with structure at several scales."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c)) + np.cos(y / (5 + c)) for c in range(channels)]
    noise = RNG.normal(0, 0.3, (height, width, channels))
    values = 128 + 50 * (np.stack(waves, -1) + noise)
    return values.clip(0, 255).astype("uint8")


@pytest.fixture
def folder(tmp_path):
    """Two classes with six pictures each, of several sizes and formats."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(6):
            suffix = ("jpg", "png", "bmp")[i % 3]
            picture = Image.fromarray(photo(40 + i, 50))
            picture.save(tmp_path / name / f"{i}.{suffix}")
    return tmp_path


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
    assert len(set(seen)) > 1790  # the parts do not overlap
    image, label = next(iter(source.train.dataset))
    assert image.shape == (8, 8, 1)
    assert image.dtype == "uint8"
    assert label.dtype == "int32"
    assert max(int(i.numpy().max()) for i, _ in source.test.dataset) == 255


def test_hold_out_keeps_the_classes_in_proportion():
    labels = np.repeat([0, 1, 2], [100, 50, 2])
    rest, held = hold_out(labels, 0.1)
    assert np.bincount(labels[held]).tolist() == [10, 5, 1]
    assert np.bincount(labels[rest]).tolist() == [90, 45, 1]
    assert sorted([*rest, *held]) == list(range(152))
    np.testing.assert_array_equal(hold_out(labels, 0.1)[1], held)
    with pytest.raises(InputError, match="`validation_fraction` must be larg"):
        hold_out(labels, 0.0)


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
    file.write_bytes(gzip.compress(gzip.decompress(content)[:-5]))
    with pytest.raises(InputError, match="is not an IDX file"):
        load_source(f"fashion-mnist:{path}")
    file.unlink()
    with pytest.raises(InputError, match="needs the four files.*Missing:"):
        load_source(f"fashion-mnist:{path}")


def test_folder(folder):
    source = load_source(f"folder:{folder}", 0.34)
    assert source.class_names == ("cat", "dog")
    assert (source.train.size, source.validation.size) == (8, 4)
    assert source.test is None
    path, _ = next(iter(source.train.dataset))
    image = source.train.load(path)
    expected = np.asarray(Image.open(path.numpy().decode()))
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("format", ["jpeg", "png", "gif", "bmp"])
def test_grey_is_pillows(tmp_path, format):
    picture = Image.fromarray(photo(20, 30))
    picture.save(tmp_path / "colour", format)
    picture.convert("L").save(tmp_path / "grey", format, quality=100)
    for name in ("colour", "grey"):
        path = str(tmp_path / name)
        decoded = images.read(path, 1).numpy()[..., 0].astype(int)
        with Image.open(path) as file:
            expected = np.asarray(file.convert("RGB").convert("L"))
        limit = 1 if name == "colour" else 0  # Pillow's luma is in integers
        assert np.abs(decoded - expected.astype(int)).max() <= limit


def test_cmyk_jpeg(tmp_path):
    path = tmp_path / "cmyk.jpg"
    Image.fromarray(photo(20, 30)).convert("CMYK").save(path)
    for channels in (1, 3):
        assert images.read(str(path), channels).shape == (20, 30, channels)


def test_folder_with_parts(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    for part in ("train", "val", "test"):
        (root / part).symlink_to(folder)
    source = load_source(f"folder:{root}")
    assert source.train.size == source.validation.size == source.test.size == 12


def test_bad_folders(folder, tmp_path):
    with pytest.raises(InputError, match="must name an existing folder"):
        load_source("folder:/no/such")
    with pytest.raises(InputError, match="one folder of images per class"):
        load_source(f"folder:{folder / 'cat'}")
    (folder / "cat" / "9.jpg").write_text("I am a text")
    with pytest.raises(InputError, match=r"cat/9\.jpg is not a readable image"):
        load_source(f"folder:{folder}")
    assert load_source(f"folder:{folder}", check_images=False).train.size
    (folder / "cat" / "9.jpg").unlink()
    whole = (folder / "dog" / "0.jpg").read_bytes()
    (folder / "dog" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"dog/0\.jpg is not a readable image"):
        load_source(f"folder:{folder}")
    (folder / "dog" / "0.jpg").write_bytes(whole)
    (folder / "emu").mkdir()
    with pytest.raises(InputError, match="emu has no images"):
        load_source(f"folder:{folder}")


@pytest.mark.parametrize("data", ["mnist", "", "digits:8", "folder"])
def test_unknown_data(data):
    with pytest.raises(InputError, match="`data` must"):
        load_source(data)


def test_tfds(tmp_path, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    pictures = {
        split: [
            {"image": photo(12, 12, 1), "label": i % 3} for i in range(count)
        ]
        for split, count in (("train", 20), ("test", 6))
    }
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(12, 12, 1)),
            "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
        }
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=features,
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(
                {
                    "image": np.stack([e["image"] for e in examples]),
                    "label": np.array([e["label"] for e in examples]),
                }
            )
            for split, examples in pictures.items()
        },
        data_dir=tmp_path,
    )
    monkeypatch.setattr(
        tfds,
        "builder",
        lambda name: tfds.builder_from_directory(tmp_path / name / "1.0.0"),
    )
    source = load_source("tfds:tiny", 0.2)
    assert source.class_names == ("a", "b", "c")
    assert (source.channels, source.image_size) == (1, 12)
    sizes = source.train.size, source.validation.size, source.test.size
    assert sizes == (16, 4, 6)
    shown = [
        source.test.load(content).numpy() for content, _ in source.test.dataset
    ]
    expected = [example["image"] for example in pictures["test"]]
    assert sorted(i.tobytes() for i in shown) == sorted(
        i.tobytes() for i in expected
    )


def test_unknown_tfds():
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(InputError, match="has no data set 'no_such_thing'"):
        load_source("tfds:no_such_thing")


@pytest.mark.parametrize("height_width", [(50, 40), (33, 47), (256, 300)])
@pytest.mark.parametrize(("size", "fraction"), [(32, 0.875), (24, 1.0)])
def test_evaluation_pixels_are_pillows(height_width, size, fraction):
    picture = photo(*height_width)
    shown = images.shown_size(tf.constant(picture), size, fraction).numpy()
    height, width = height_width
    short = round(size / fraction)
    resized = (
        (short, int(short * height / width))
        if width < height
        else (int(short * width / height), short)
    )
    reference = Image.fromarray(picture).resize(resized, Image.BILINEAR)
    left = int(round((resized[0] - size) / 2.0))
    top = int(round((resized[1] - size) / 2.0))
    reference = reference.crop((left, top, left + size, top + size))
    difference = np.abs(shown.astype(int) - np.asarray(reference).astype(int))
    assert difference.max() <= 1  # Pillow rounds between its two passes


@pytest.mark.parametrize("name", ["none", "shift", "shift-flip", "crop-flip"])
def test_augmentation_is_a_function_of_the_seed(name):
    picture = tf.constant(photo(40, 50))

    def apply(seed):
        return augmentation.augment(name, picture, 32, (seed, 1)).numpy()

    results = {apply(seed).tobytes() for seed in range(20)}
    assert apply(3).shape == (32, 32, 3)
    np.testing.assert_array_equal(apply(3), apply(3))
    assert len(results) == 1 if name == "none" else len(results) > 10


def test_shift_moves_the_picture():
    picture = photo(16, 16)
    offsets = set()
    for seed in range(60):
        result = augmentation.augment(
            "shift", tf.constant(picture), 16, (seed, 0)
        ).numpy()
        padded = np.pad(picture, ((2, 2), (2, 2), (0, 0)))
        offsets |= {
            (top, left)
            for top in range(5)
            for left in range(5)
            if (padded[top : top + 16, left : left + 16] == result).all()
        }
    assert len(offsets) > 15  # of 25


def test_random_crop_has_the_distribution_of_torchvision():
    @tf.function
    def draw(seeds):
        return tf.map_fn(
            lambda seed: tf.stack(
                augmentation.random_crop((300, 400, 3), seed)
            ),
            seeds,
            fn_output_signature=tf.int32,
        )

    seeds = np.stack([np.arange(4000), np.zeros(4000)], 1).astype("int64")
    top, left, height, width = draw(seeds).numpy().T.astype("float64")
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 300).all()
    assert (left + width <= 400).all()
    area = height * width / (300 * 400)
    reference = reference_crops(20_000)
    assert area.mean() == pytest.approx(reference["area"].mean(), abs=0.01)
    for q in (5, 50, 95):
        ours = np.percentile(area, q)
        theirs = np.percentile(reference["area"], q)
        assert ours == pytest.approx(theirs, abs=0.025)
    assert np.log(width / height).mean() == pytest.approx(
        np.log(reference["ratio"]).mean(), abs=0.01
    )


def reference_crops(count):
    """The law of torchvision's RandomResizedCrop for a 300 x 400 image."""
    rng = np.random.default_rng(1)
    boxes = []
    while len(boxes) < count:
        for _ in range(10):
            area = 300 * 400 * rng.uniform(0.08, 1)
            ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            width = round(np.sqrt(area * ratio))
            height = round(np.sqrt(area / ratio))
            if 0 < width <= 400 and 0 < height <= 300:
                boxes.append((height, width))
                break
        else:
            boxes.append((300, 400))
    height, width = np.array(boxes, "float64").T
    return {"area": height * width / (300 * 400), "ratio": width / height}


def test_random_crop_of_an_extreme_shape():
    # No box of the area fits: the largest in the middle within 4 : 3.
    box = augmentation.random_crop((300, 10, 3), (0, 0))
    assert [int(v) for v in box] == [143, 0, 13, 10]


def batches(seed=0, size=23, batch_size=5, **changes):
    split = array_split(
        np.arange(size * 64, dtype="int64")
        .astype("uint8")
        .reshape(-1, 8, 8, 1),
        np.arange(size),
    )
    arguments = {"augmentation": "shift", "image_size": 8, **changes}
    return training_batches(
        split, batch_size=batch_size, seed=seed, **arguments
    )


def test_training_batches():
    dataset = batches()
    first, second = ([y.numpy() for _, y in dataset] for _ in range(2))
    assert [len(y) for y in first] == [5] * 4
    assert len(set(np.concatenate(first))) == 20  # each image at most once
    assert (np.concatenate(first) != np.concatenate(second)).any()
    again = [y.numpy() for _, y in batches()]
    np.testing.assert_array_equal(first, again)
    other = [y.numpy() for _, y in batches(seed=1)]
    assert (np.concatenate(first) != np.concatenate(other)).any()
    images_, labels = dataset.element_spec
    assert images_.shape == (5, 8, 8, 1)
    assert images_.dtype == "uint8"
    with pytest.raises(InputError, match="`batch_size` must not exceed the n"):
        batches(batch_size=24)


def test_training_images_differ_between_epochs():
    dataset = batches(size=5)

    def epoch():
        x, y = next(iter(dataset))
        return x.numpy()[np.argsort(y)].tobytes()

    assert len({epoch() for _ in range(4)}) == 4


def test_evaluation_batches_show_every_image_once():
    labels = np.arange(23) % 7
    split = array_split(RNG.integers(0, 256, (23, 8, 8, 1), "uint8"), labels)
    dataset = evaluation_batches(
        split, batch_size=5, image_size=8, crop_fraction=1.0
    )
    x, y, w = (np.concatenate(part) for part in zip(*dataset, strict=True))
    assert len(x) == 25
    np.testing.assert_array_equal(y[:23], labels)
    assert (w[:23] > 0).all()
    assert (w[23:] == 0).all()
    assert w.mean() == pytest.approx(1)
    stored = np.stack([image for image, _ in split.dataset])
    np.testing.assert_array_equal(x[:23], stored)
