"""Image files against Pillow: formats, orientation, evaluation pixels."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from PIL import ImageOps

from eca_keras.errors import InputError
from eca_keras.images import decode as images
from eca_keras.images.resize import shown_size

ORIENTATION = 0x0112


def photo(height=30, width=44, channels=3):
    """A smooth picture with structure at several scales."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c)) + np.cos(y / (5 + c)) for c in range(channels)]
    noise = np.random.default_rng(0).normal(0, 0.3, (height, width, channels))
    values = 128 + 50 * (np.stack(waves, -1) + noise)
    return values.clip(0, 255).astype("uint8").squeeze()


def saved(picture, format, **options):
    """The bytes of a picture, an array or a Pillow image, as a file."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def by_pillow(content, mode="RGB"):
    with Image.open(io.BytesIO(content)) as image:
        image = ImageOps.exif_transpose(image)
        return np.asarray(image.convert("RGB").convert(mode))


@tf.function
def decode(content):
    return images.decode(content, 3)


COLOUR = Image.fromarray(photo())
GREY = COLOUR.convert("L")
TRANSPARENT = COLOUR.copy()
TRANSPARENT.putalpha(GREY)
SCAN = np.random.default_rng(1).integers(0, 2**16, (9, 7), "uint16")

FILES = {
    "jpeg": saved(COLOUR, "jpeg"),
    "jpeg, progressive": saved(COLOUR, "jpeg", progressive=True),
    "jpeg, not subsampled": saved(COLOUR, "jpeg", subsampling=0),
    "jpeg, grey": saved(GREY, "jpeg"),
    "jpeg, CMYK": saved(COLOUR.convert("CMYK"), "jpeg"),
    "jpeg, comment": saved(COLOUR, "jpeg", comment=b"An Exif comment"),
    "jpeg, profile": saved(COLOUR, "jpeg", icc_profile=bytes(9000)),
    "png": saved(COLOUR, "png"),
    "png, grey": saved(GREY, "png"),
    "png, grey and alpha": saved(TRANSPARENT.convert("LA"), "png"),
    "png, alpha": saved(TRANSPARENT, "png"),
    "png, palette": saved(COLOUR.convert("P"), "png"),
    "png, palette, see-through": saved(
        COLOUR.convert("P"), "png", transparency=3
    ),
    "png, 4 bits": saved(COLOUR.quantize(16), "png", bits=4),
    "png, 1 bit": saved(GREY.convert("1"), "png"),
    "bmp": saved(COLOUR, "bmp"),
    "bmp, palette": saved(COLOUR.convert("P"), "bmp"),
    "gif": saved(COLOUR, "gif"),
    "gif, animated": saved(
        COLOUR, "gif", save_all=True, append_images=[GREY, COLOUR]
    ),
    "webp": saved(COLOUR, "webp"),
    "webp, alpha": saved(TRANSPARENT, "webp", lossless=True),
    "tiff": saved(COLOUR, "tiff"),
    "tiff, compressed": saved(COLOUR, "tiff", compression="tiff_lzw"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read_as_pillow_reads_it(name):
    content = FILES[name]
    expected = by_pillow(content)
    np.testing.assert_array_equal(decode(content), expected)
    np.testing.assert_array_equal(images.decode(content, 3), expected)
    grey = images.decode(content, 1)
    np.testing.assert_array_equal(grey[..., 0], by_pillow(content, "L"))


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_16_bits_are_scaled(format):
    content = saved(SCAN, format)
    expected = np.round(SCAN / 65535 * 255)
    for channel in np.moveaxis(decode(content).numpy(), -1, 0):
        np.testing.assert_array_equal(channel, expected)


def test_16_bit_colour():
    # Pillow cannot write such a file.
    values = np.random.default_rng(2).integers(0, 2**16, (5, 4, 3), "uint16")
    content = tf.io.encode_png(values)
    expected = np.round(values / 65535 * 255)
    np.testing.assert_array_equal(decode(content), expected)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_orientation(format, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = saved(COLOUR, format, exif=exif)
    expected = by_pillow(content)
    assert expected.shape == (
        (44, 30, 3) if orientation in (5, 6, 7, 8) else (30, 44, 3)
    )
    np.testing.assert_array_equal(decode(content), expected)


def test_orientation_wherever_it_stands():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    late = saved(COLOUR, "jpeg", exif=exif, icc_profile=bytes(100_000))
    xmp = saved(COLOUR, "jpeg", xmp=b'<x tiff:Orientation="6"/>')
    for content in (late, xmp):
        assert by_pillow(content).shape == (44, 30, 3)
        np.testing.assert_array_equal(decode(content), by_pillow(content))


def test_damaged_exif_is_no_reason_to_refuse_an_image():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = saved(COLOUR, "jpeg", exif=exif)
    start = content.index(b"Exif") + 6
    for length in (2, 8, 14):
        broken = content[:start] + b"\xff" * length + content[start + length :]
        assert decode(broken).shape == (30, 44, 3)


def test_a_png_named_jpeg(tmp_path):
    (tmp_path / "a.JPEG").write_bytes(FILES["png"])
    np.testing.assert_array_equal(
        images.read(str(tmp_path / "a.JPEG"), 3), photo()
    )


JPEG, PNG = FILES["jpeg"], FILES["png"]
BAD = {
    "half.jpg": (JPEG[: len(JPEG) // 2], "Invalid JPEG data"),
    "head.jpg": (JPEG[:8], "Invalid JPEG data"),
    "half.png": (PNG[: len(PNG) // 2], "Invalid PNG data"),
    "half.gif": (FILES["gif"][:-200], "truncated"),
    "half.webp": (FILES["webp"][: len(FILES["webp"]) // 2], "."),
    "half.tiff": (FILES["tiff"][:500], "."),
    "text.jpg": (b"I am a text, not a picture.", "no known image format"),
    "text.png": (b"<html>404</html>", "no known image format"),
    "empty.jpg": (b"", "no known image format"),
    "float.tif": (saved(np.ones((3, 3), "float32"), "tiff"), "32 bits"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_in_a_sentence(name, tmp_path):
    content, words = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        images.read_for_user(path, 3)
    message = str(caught.value)
    assert message.startswith(f"{path} is not a readable image: ")
    assert "\n" not in message
    assert "Error" not in message
    # The same words from a graph and from a dataset.
    reason = message.split("image: ")[1]
    dataset = tf.data.Dataset.from_tensors(content)
    for call in (
        lambda: decode(content),
        lambda: next(iter(dataset.map(lambda c: images.decode(c, 3)))),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            call()
        assert images.reason(error.value) == reason


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="There is no image file"):
        images.read_for_user(tmp_path / "a.png", 3)


def test_decoding_repeats_itself_in_many_threads():
    contents = list(FILES.values()) * 8
    dataset = tf.data.Dataset.from_tensor_slices(contents)
    dataset = dataset.map(
        lambda content: images.decode(content, 3), num_parallel_calls=8
    )
    for content, image in zip(contents, dataset, strict=True):
        np.testing.assert_array_equal(image, by_pillow(content))


def test_a_part_of_a_jpeg():
    content = saved(photo(90, 120), "jpeg")
    whole = images.decode(content, 3).numpy()
    for box in ((0, 0, 90, 120), (13, 29, 50, 60), (40, 100, 50, 20)):
        top, left, height, width = box
        part = images.decode_part(content, 3, box).numpy().astype(int)
        expected = whole[top : top + height, left : left + width]
        assert part.shape == expected.shape
        # The decoder smooths colours over the edges of what it decodes.
        np.testing.assert_array_equal(part[:, 2:-2], expected[:, 2:-2])
        assert np.abs(part - expected).max() < 40


def test_which_files_are_decoded_in_part():
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    upright = saved(COLOUR, "jpeg", exif=exif)
    exif[ORIENTATION] = 3
    turned = saved(COLOUR, "jpeg", exif=exif)
    expected = {  # quick test, thorough test
        JPEG: (True, True),
        FILES["jpeg, comment"]: (False, True),
        upright: (False, True),
        turned: (False, False),
        JPEG[:-20]: (False, False),
        PNG: (False, False),
        b"some text": (False, False),
    }
    for content, answers in expected.items():
        assert (
            bool(images.is_plain_jpeg(content)),
            bool(images.is_upright_jpeg(content)),
        ) == answers


def evaluated_by_pillow(picture, size, fraction, filter):
    """torchvision's Resize and CenterCrop."""
    height, width = picture.shape[:2]
    short = round(size / fraction)
    resized = (
        (short, int(short * height / width))
        if width < height
        else (int(short * width / height), short)
    )
    image = Image.fromarray(picture).resize(resized, filter)
    left = int(round((resized[0] - size) / 2.0))
    top = int(round((resized[1] - size) / 2.0))
    return np.asarray(image.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize(
    "height_width", [(50, 40), (33, 47), (256, 301), (375, 500), (20, 90)]
)
@pytest.mark.parametrize(
    ("size", "fraction"), [(32, 0.875), (24, 1.0), (224, 0.875)]
)
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_evaluation_pixels_are_pillows(height_width, size, fraction, name):
    picture = photo(*height_width)
    shown = shown_size(tf.constant(picture), size, fraction, name)
    expected = evaluated_by_pillow(
        picture, size, fraction, getattr(Image, name.upper())
    )
    difference = np.abs(shown.numpy().astype(int) - expected)
    # Pillow rounds its weights to integers, which decides about the halves
    # that the simple ratios of small images give.
    assert difference.max() <= 1
    simple = min(height_width) < 100
    assert (difference > 0).mean() < (0.06 if simple else 1e-3)


def test_evaluation_pixels_of_grey_images():
    picture = photo(50, 61, 1)
    shown = shown_size(tf.constant(picture)[..., None], 32, 0.875)
    expected = evaluated_by_pillow(picture, 32, 0.875, Image.BILINEAR)
    difference = np.abs(shown.numpy()[..., 0].astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.06


@pytest.mark.parametrize("format", ["jpeg", "png"])
@pytest.mark.parametrize("endian", "<>")
def test_orientation_without_python(format, endian):
    """As a SavedModel has it: the same rule, whatever stands before."""
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010E] = "a description"
    exif[ORIENTATION] = 8
    content = saved(COLOUR, format, exif=exif, icc_profile=bytes(70_000))
    in_graph = tf.function(lambda c: images.decode(c, 3, python=False))
    np.testing.assert_array_equal(in_graph(content), by_pillow(content))
    # What another program appended is no business of this image.
    plain = saved(COLOUR, format, comment=b"Exif, eXIf")
    np.testing.assert_array_equal(in_graph(plain + content), by_pillow(plain))


def test_orientation_of_xmp_without_python():
    content = saved(COLOUR, "jpeg", xmp=b'<x tiff:Orientation="6"/>\xff')
    decoded = images.decode(content, 3, python=False)
    np.testing.assert_array_equal(decoded, by_pillow(content))
