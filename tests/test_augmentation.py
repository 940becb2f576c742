"""Random changes of training images as functions of a seed."""

import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from eca_keras.errors import InputError
from eca_keras.images import decode as images
from eca_keras.training.classification import augmentation
from eca_keras.training.classification.augmentation import GEOMETRIES
from eca_keras.training.classification.augmentation import OPERATIONS
from eca_keras.training.classification.augmentation import Augmentation
from eca_keras.training.data import draws


def photo(height=40, width=50, channels=3):
    """A smooth picture with structure at several scales."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c)) + np.cos(y / (5 + c)) for c in range(channels)]
    noise = np.random.default_rng(0).normal(0, 0.3, (height, width, channels))
    values = 128 + 50 * (np.stack(waves, -1) + noise)
    return values.clip(0, 255).astype("uint8")


def seeds(count, other=0):
    return np.stack([np.arange(count), np.full(count, other)], 1)


def test_uniform_numbers():
    drawn = draws.uniform(seeds(2000), 3, 50).numpy()
    assert drawn.shape == (2000, 50)
    assert drawn.dtype == "float32"
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert len(np.unique(drawn)) > 99_000  # of 2^24
    histogram = np.histogram(drawn, 64, (0, 1))[0] / drawn.size * 64
    assert np.abs(histogram - 1).max() < 0.1
    # Neither neighbouring seeds nor the numbers of one seed are related.
    for a, b in ((drawn[1:], drawn[:-1]), (drawn[:, 1:], drawn[:, :-1])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.01
    other = [
        draws.uniform(seeds(2000), 4, 50),
        draws.uniform(seeds(2000, 1), 3, 50),
        draws.uniform(seeds(2000)[:, ::-1], 3, 50),
    ]
    for numbers in other:
        r = np.corrcoef(drawn.ravel(), np.ravel(numbers))[0, 1]
        assert abs(r) < 0.02
    # A seed gets the same numbers alone.
    np.testing.assert_array_equal(draws.uniform((7, 0), 3, 50), drawn[7])
    np.testing.assert_array_equal(draws.uniform((7, 0), 3, 9), drawn[7, :9])


def test_uniform_numbers_are_splitmix64():
    def mix(x):
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    first, second, stream = -5, 2**40 + 3, 7
    key = mix((mix(mix(first % 2**64) + second % 2**64) + stream) % 2**64)
    expected = [
        (mix((key + i * 0x9E3779B97F4A7C15) % 2**64) >> 40) / 2**24
        for i in range(5)
    ]
    found = draws.uniform((first, second), stream, 5)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("geometry", "randaugment", "channels"),
    [
        *((geometry, 0, 3) for geometry in GEOMETRIES),
        ("shift-flip", 0, 1),
        ("none", 0.2, 3),
        pytest.param("crop-flip", 0.2, 1, marks=pytest.mark.slow),
    ],
)
def test_a_function_of_the_seed(geometry, randaugment, channels):
    change = Augmentation(geometry, randaugment)
    picture = tf.constant(photo(channels=channels))

    @tf.function
    def apply(seed):
        return change.image(picture, 32, seed)

    results = [apply(seed).numpy() for seed in tf.constant(seeds(40))]
    again = [apply(seed).numpy() for seed in tf.constant(seeds(40))]
    np.testing.assert_array_equal(results, again)
    assert results[0].shape == (32, 32, channels)
    different = len({result.tobytes() for result in results})
    if geometry == "none" and not randaugment:
        assert different == 1
    elif geometry == "flip" and not randaugment:
        assert different == 2
    else:
        assert different > 15
    # Without a graph, and in the threads of a dataset.
    np.testing.assert_array_equal(change.image(picture, 32, (3, 0)), results[3])
    dataset = tf.data.Dataset.from_tensor_slices(seeds(40)).map(
        lambda seed: change.image(picture, 32, seed), num_parallel_calls=8
    )
    np.testing.assert_array_equal(list(dataset), results)


@pytest.mark.parametrize("geometry", ["none", "flip", "shift", "shift-flip"])
@pytest.mark.parametrize("size", [16, 20])
def test_whole_batches(geometry, size):
    change = Augmentation(geometry)
    assert change.vectorised
    pictures = tf.constant(
        np.random.default_rng(0).integers(0, 256, (30, 16, 16, 2), "uint8")
    )
    found = change.images(pictures, size, seeds(30))
    for i in range(30):
        np.testing.assert_array_equal(
            found[i], change.image(pictures[i], size, (i, 0))
        )


def test_what_cannot_be_done_to_whole_batches():
    for change in (Augmentation("crop-flip"), Augmentation("none", 0.1)):
        assert not change.vectorised
        with pytest.raises(ValueError, match="cannot change whole batches"):
            change.images(photo()[None], 32, seeds(1))


def test_shift_moves_the_picture():
    picture = photo(16, 16)
    padded = np.pad(picture, ((2, 2), (2, 2), (0, 0)))
    found = Augmentation("shift").images(
        picture[None].repeat(400, 0), 16, seeds(400)
    )
    offsets = np.zeros((5, 5), int)
    for result in found.numpy():
        offsets += [
            [
                (padded[top : top + 16, left : left + 16] == result).all()
                for left in range(5)
            ]
            for top in range(5)
        ]
    assert offsets.sum() == 400
    assert offsets.min() >= 5  # 16 expected


def test_flip_mirrors_half_of_the_pictures():
    picture = photo(16, 16)
    found = Augmentation("flip").images(
        picture[None].repeat(400, 0), 16, seeds(400)
    )
    mirrored = (found == picture[:, ::-1]).numpy().all((1, 2, 3))
    same = (found == picture).numpy().all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 160 < mirrored.sum() < 240
    # And it does so independently of the shift.
    both = Augmentation("shift-flip").images(
        picture[None].repeat(400, 0), 16, seeds(400)
    )
    shifted = Augmentation("shift").images(
        picture[None].repeat(400, 0), 16, seeds(400)
    )
    expected = np.where(
        mirrored[:, None, None, None], shifted[:, :, ::-1], shifted
    )
    np.testing.assert_array_equal(both, expected)


def test_crop_shows_a_part():
    # The picture says where each of its pixels comes from.
    y, x = np.mgrid[:200, :250].astype("uint8")
    picture = np.stack([y, x], -1)
    change = Augmentation("crop-flip")
    sides = []
    for seed in range(60):
        top, left, height, width = (
            int(v) for v in augmentation.random_crop((200, 250), (seed, 0))
        )
        result = change.image(tf.constant(picture), 32, (seed, 0)).numpy()
        flipped = int(result[0, 0, 1]) > int(result[0, -1, 1])
        sides.append(flipped)
        rows = top + (np.arange(32) + 0.5) * height / 32 - 0.5
        columns = left + (np.arange(32) + 0.5) * width / 32 - 0.5
        columns = columns[::-1] if flipped else columns
        np.testing.assert_allclose(result[:, 5, 0], rows, atol=1.01)
        np.testing.assert_allclose(result[5, :, 1], columns, atol=1.01)
    assert 15 < sum(sides) < 45


def test_antialiasing():
    stripes = np.zeros((128, 128, 1), "uint8")
    stripes[:, ::2] = 255
    spread = {
        antialias: np.mean(
            [
                Augmentation("crop-flip", antialias=antialias)
                .image(tf.constant(stripes), 16, (seed, 0))
                .numpy()
                .std()
                for seed in range(10)
            ]
        )
        for antialias in (False, True)
    }
    assert spread[True] < spread[False] / 2


def jpeg(picture, **options):
    buffer = io.BytesIO()
    Image.fromarray(picture.squeeze()).save(buffer, "jpeg", **options)
    return buffer.getvalue()


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(photo(80, 120), exif=exif)


def png():
    buffer = io.BytesIO()
    Image.fromarray(photo(80, 120)).save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "fused"),
    [
        (jpeg(photo(80, 120)), True),
        (jpeg(photo(80, 120, 1)), True),
        (jpeg(photo(80, 120), comment=b"x"), True),
        (rotated(), False),
        (png(), False),
    ],
    ids=["jpeg", "grey", "comment", "rotated", "png"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_files(content, fused, channels):
    change = Augmentation("crop-flip", antialias=True)

    @tf.function
    def from_file(seed):
        return change.file(content, channels, 32, seed)

    whole = images.decode(content, channels)
    differences = []
    for seed in tf.constant(seeds(20)):
        found = from_file(seed).numpy().astype(int)
        assert found.shape == (32, 32, channels)
        difference = np.abs(found - change.image(whole, 32, seed).numpy())
        # Colours at the sides of the part, see `decode_part`.
        assert difference[:, 3:-3].max() <= 1
        differences.append(difference.max())
    assert max(differences) < 40 if fused else max(differences) == 0


@pytest.mark.parametrize("geometry", ["none", "shift-flip"])
def test_files_without_a_crop(geometry):
    change = Augmentation(geometry)
    for content in (png(), rotated()):
        np.testing.assert_array_equal(
            change.file(content, 3, 32, (1, 2)),
            change.image(images.decode(content, 3), 32, (1, 2)),
        )


def test_a_file_that_was_cut_off_never_passes():
    # Whatever part is asked for, so that it does not depend on the seed.
    content = jpeg(photo(160, 120))[:-200]

    @tf.function
    def from_file(seed):
        return Augmentation("crop-flip").file(content, 3, 32, seed)

    for seed in tf.constant(seeds(30)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            from_file(seed)


def operate(name, picture, seed, factor):
    """One operation of RandAugment, on its own."""
    layer = draws.keras_layer("RandAugment", factor=factor)
    part = getattr(layer, name)
    batch = tf.cast(picture, tf.float32)[None]
    change = part.get_random_transformation(
        batch, seed=draws.KerasSeeds((seed, 0), 0)
    )
    return part.transform_images(batch, change)[0].numpy()


def test_operations_are_those_of_keras():
    import keras

    layer = keras.layers.RandAugment()
    assert set(OPERATIONS) == {
        name
        for name, value in vars(layer).items()
        if isinstance(value, keras.layers.Layer)
    }
    picture = photo()
    results = {name: operate(name, picture, 1, 0.3) for name in OPERATIONS}
    for name, result in results.items():
        assert result.shape == picture.shape
        assert np.abs(result - picture).mean() > 0.1, name
    for a, b in itertools.combinations(OPERATIONS, 2):
        assert np.abs(results[a] - results[b]).mean() > 0.05, (a, b)


def test_each_image_gets_two_operations(monkeypatch):
    class Adding:
        """Operation number i adds 3^i to black pixels."""

        def __getattr__(self, name):
            value = 3.0 ** OPERATIONS.index(name)

            class Part:
                def get_random_transformation(self, images, seed):
                    return None

                def transform_images(self, images, change):
                    return images + value

            return Part()

    monkeypatch.setattr(
        augmentation, "keras_layer", lambda name, factor: Adding()
    )
    monkeypatch.setattr(augmentation, "OPERATIONS", OPERATIONS[:4])

    @tf.function
    def apply(seed):
        black = tf.zeros((2, 2, 3), tf.uint8)
        return augmentation._rand_augment(black, 0.5, seed)[0, 0, 0]

    found = [int(apply(seed)) for seed in tf.constant(seeds(1600))]
    counts = {
        3**i + 3**j: found.count(3**i + 3**j)
        for i in range(4)
        for j in range(4)
    }
    assert sum(counts.values()) == 1600  # two each time
    for i in range(4):
        for j in range(i + 1):
            expected = 100 if i == j else 200
            assert abs(counts[3**i + 3**j] / expected - 1) < 0.35


def test_the_strength_of_randaugment():
    picture = photo()

    def change(name, factor):
        changed = [operate(name, picture, seed, factor) for seed in range(5)]
        return np.mean([np.abs(result - picture) for result in changed])

    for name in ("random_rotation", "random_translation", "random_brightness"):
        assert 0.5 < change(name, 0.02) < change(name, 0.5) / 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"geometry": "spin"},
            "`geometry` must be one of none, flip, .*'spin'",
        ),
        ({"randaugment": 1.5}, "`randaugment` must be from 0 to 1. .*=1.5"),
        ({"mixup": -0.1}, "`mixup` must be from 0 to 1. .*=-0.1"),
        ({"cutmix": 2}, "`cutmix` must be from 0 to 1. .*=2"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        Augmentation(**arguments)


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

    top, left, height, width = draw(seeds(4000)).numpy().T.astype("float64")
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 300).all()
    assert (left + width <= 400).all()
    # Every place is as likely.
    with np.errstate(invalid="ignore"):
        for place, room in ((top, 300 - height), (left, 400 - width)):
            share = (place / room)[room > 20]
            assert share.mean() == pytest.approx(0.5, abs=0.02)
            assert share.std() == pytest.approx(12**-0.5, abs=0.02)
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
