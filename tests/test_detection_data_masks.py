"""Pictures of outlines, and run lengths, against rules and pycocotools."""

import numpy as np
import pytest
from coco_files import center_of
from coco_files import ellipse
from coco_files import uncompressed

from eca_keras.training.detection.coco import run_lengths
from eca_keras.training.detection.coco.segmentations import MASK_SIDE
from eca_keras.training.detection.coco.segmentations import SegmentationList
from eca_keras.training.detection.coco.segmentations import encoded

pytest.importorskip("pycocotools")


def stored(segmentation):
    gathered = SegmentationList()
    gathered.add([np.ones(6)])  # another object before it
    gathered.add(segmentation)
    return gathered.arrays()


# Some smaller than a picture of 112 pixels, some larger, at odd places.
BOXES = [(3.3, 7.8, 14.5, 9.2), (20, 31, 230.4, 170), (0.25, 100, 60, 119.75)]


@pytest.mark.parametrize("box", BOXES)
def test_pictures_of_polygons_are_where_the_polygons_are(box):
    size = (240, 300)
    polygon = np.array(ellipse(box, points=720))
    x, y, width, height = box
    corners = x, y, x + width, y + height
    picture = stored([polygon]).mask_image(1, corners, size)
    assert (picture.shape, picture.dtype) == ((MASK_SIDE,) * 2, "uint8")
    centers = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    expected = (centers[:, None] - 0.5) ** 2 + (centers - 0.5) ** 2 <= 0.25
    assert np.mean(picture == expected) > 0.985
    # No shift: half a pixel of the picture would be 0.5.
    np.testing.assert_allclose(center_of(picture), MASK_SIDE / 2, atol=0.15)
    # A part of the object alone.
    half = stored([polygon]).mask_image(
        1, (x, y, x + width / 2, y + height), size
    )
    assert np.mean(half[:, ::2] == picture[:, : MASK_SIDE // 2]) > 0.97


@pytest.mark.parametrize("box", BOXES)
def test_pictures_of_run_lengths(box):
    size = (240, 300)
    x, y, width, height = box
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    down, across = (rows - y) / height, (columns - x) / width
    mask = (down - 0.5) ** 2 + (across - 0.5) ** 2 <= 0.25
    corners = np.array([x, y, x + width, y + height], "float32")
    picture = stored(encoded(mask)).mask_image(1, corners, size)
    for row, column in np.random.default_rng(0).integers(0, 112, (200, 2)):
        place = y + (row + 0.5) / 112 * height, x + (column + 0.5) / 112 * width
        assert picture[row, column] == mask[int(place[0]), int(place[1])]
    np.testing.assert_allclose(center_of(picture), MASK_SIDE / 2, atol=1.5)


def test_outlines_far_outside_of_their_box():
    """A box too small for its polygon: drawn whole, then cut out."""
    polygon = np.array([0.0, 0, 300, 0, 300, 240, 0, 240])
    for box in ((150, 100, 150.001, 100.001), (10, 10, 12, 12)):
        assert stored([polygon]).mask_image(1, box, (240, 300)).all()
    outside = np.array([100.0, 100, 200, 100, 200, 200])
    picture = stored([outside]).mask_image(1, (3, 3, 4, 4), (240, 300))
    assert not picture.any()


def test_compressed_run_lengths():
    """Against pycocotools, with lengths of one to four characters."""
    from pycocotools import mask as coco_masks

    rng = np.random.default_rng(0)
    for size in ((1, 1), (7, 5), (50, 60), (900, 1100)):
        for share in (0.001, 0.3, 1.0):
            mask = (rng.random(size) < share).astype("uint8")
            mask[0, 0] = 1
            if share == 0.001:
                mask[size[0] // 2 :, size[1] // 2 :] = 1
            rle = coco_masks.encode(np.asfortranarray(mask))
            runs = run_lengths.lengths(rle["counts"])
            assert runs.tolist() == uncompressed(mask)["counts"]
            assert run_lengths.cover(runs, size)
            assert run_lengths.compress(runs, size) == rle["counts"]
    for wrong in (b"", b"/", b"~", b"P", b"0P", b"PPPPPPPP1"):
        assert run_lengths.lengths(wrong) is None
