"""What counts as the same detections."""

import numpy as np
import pytest

from eca_keras.export import ExportMismatch
from eca_keras.export.checking import detector as detection_report

PLACES = 4
# Two images: label, score, and corners of each detection.
FIRST = [
    (1, 0.9, (10, 10, 30, 30)),
    (1, 0.8, (50, 10, 70, 30)),
    (0, 0.7, (10, 10, 30, 30)),
]
SECOND = [(0, 0.6, (0, 0, 20, 40))]


def answers(*images, masks=None):
    """What a detector answers, from the detections of each image."""
    count = len(images)
    found = {
        "boxes": np.zeros((count, PLACES, 4), "float32"),
        "scores": np.zeros((count, PLACES), "float32"),
        "labels": np.full((count, PLACES), -1, "int32"),
        "count": np.array([len(image) for image in images], "int32"),
    }
    if masks is not None:
        found["masks"] = np.zeros((count, PLACES, 28, 28), "float32")
    for i, image in enumerate(images):
        for j, (label, score, box) in enumerate(image):
            found["labels"][i, j] = label
            found["scores"][i, j] = score
            found["boxes"][i, j] = box
            if masks is not None:
                found["masks"][i, j] = masks + score / 2
    return found


def compared(expected, actual, tolerance=1e-4, **fields):
    return detection_report.compare(
        expected,
        actual,
        **{
            "threshold": 0.05,
            "tolerance": tolerance,
            "least_agreement": 1.0,
            "path": "p",
            "format": "file",
            "size": 1,
            **fields,
        },
    )


def refused(actual, *, expected=None, **fields):
    """The report of an answer that does not pass."""
    expected = answers(FIRST, SECOND) if expected is None else expected
    with pytest.raises(ExportMismatch, match="other detections") as error:
        compared(expected, actual, **fields)
    assert not error.value.report.passed
    return error.value.report


def changed(index, **values):
    """The first image with another label, score or box of a detection."""
    image = [
        dict(zip(("label", "score", "box"), x, strict=True)) for x in FIRST
    ]
    image[index].update(values)
    return answers([tuple(x.values()) for x in image], SECOND)


def test_equal_answers():
    report = compared(answers(FIRST, SECOND), answers(FIRST, SECOND))
    assert report.passed
    assert report.varies
    assert report.detections == report.found == 4
    assert report.agreement == 1
    assert report.max_box_error == report.max_score_error == 0
    assert report.allowed_pixels == pytest.approx(32e-4)


def test_differences():
    actual = changed(1, score=0.80005, box=(50.003, 10, 70, 29.998))
    report = compared(answers(FIRST, SECOND), actual)
    assert report.max_box_error == pytest.approx(3e-3, rel=1e-2)
    assert report.max_score_error == pytest.approx(5e-5, rel=1e-2)
    assert compared(answers(FIRST, SECOND), actual, 1e-3).agreement == 1


@pytest.mark.parametrize(
    ("side", "shift", "same"),
    [(6, 0.1, True), (6, 0.2, False), (6, 6.5, False)]
    + [(400, 1.9, True), (400, 2.1, False)],
)
def test_corners_differ_in_proportion_to_the_box(side, shift, same):
    box = np.array([30, 40, 30 + side, 40 + side])
    expected = answers([(0, 0.9, box)], SECOND)
    actual = answers([(0, 0.9, box + shift)], SECOND)
    if same:
        assert compared(expected, actual, tolerance=5e-3).agreement == 1
    else:
        refused(actual, expected=expected, tolerance=5e-3)


@pytest.mark.parametrize(
    ("change", "agreement"),
    [
        ({"box": (50.02, 10, 70, 30)}, 6 / 8),
        ({"score": 0.8002}, 6 / 8),
        ({"label": 0}, 6 / 8),
        ({"box": (80, 80, 90, 90)}, 6 / 8),
        ({"box": (np.nan,) * 4}, 6 / 8),
        ({"score": np.nan}, 6 / 8),
    ],
)
def test_another_detection(change, agreement):
    report = refused(changed(1, **change))
    assert report.agreement == pytest.approx(agreement)


def test_missing_and_additional_detections():
    whole, less = answers(FIRST, SECOND), answers(FIRST[:2], SECOND)
    assert refused(less).agreement == pytest.approx(6 / 7)
    assert refused(whole, expected=less).agreement == pytest.approx(6 / 7)
    nothing = answers([], [])
    assert refused(nothing).agreement == 0
    assert refused(whole, expected=nothing).agreement == 0


def test_swap_of_ties():
    """Those with nearly the same score may come in any order."""
    other = (1, 0.89999, (50, 10, 70, 30))
    expected = answers([FIRST[0], other], SECOND)
    swapped = answers([(1, 0.9, other[2]), (1, 0.89999, FIRST[0][2])], SECOND)
    report = compared(expected, swapped)
    assert report.max_score_error == pytest.approx(1e-5, rel=0.1)
    assert report.max_box_error == 0
    # Boxes swapped between scores that differ are other detections.
    far = answers([(1, 0.9, other[2]), (1, 0.8, FIRST[0][2])], SECOND)
    assert refused(far).agreement < 1


def test_boxes_without_area():
    """Cut by the border, two may be in one place: their scores tell."""
    line = (100, 10, 100, 30)
    first = [(0, 0.9, line), (0, 0.8, line)]
    expected = answers(first, SECOND)
    assert compared(expected, expected).agreement == 1
    # In the other order, which files of detectors do not have.
    assert compared(expected, answers(first[::-1], SECOND)).agreement == 1
    longer = answers([first[0], (0, 0.8, (100, 10, 100, 31))], SECOND)
    assert refused(longer, expected=expected).agreement < 1


def test_score_at_the_threshold():
    """Whether it is there may be a matter of rounding."""
    weak = (0, 0.05004, (70, 70, 90, 90))
    whole, less = (
        answers([*FIRST[:2], weak], SECOND),
        answers(FIRST[:2], SECOND),
    )
    for expected, actual in ((whole, less), (less, whole)):
        report = compared(expected, actual)
        assert report.agreement == 1
        assert report.detections != report.found
    refused(less, expected=whole, threshold=0.04)
    refused(whole, expected=less, threshold=0.04)
    compared(whole, less, 2e-2, threshold=0.04)


def test_last_place():
    """Where all places are taken, the last may be another's."""
    full = [*FIRST, (0, 0.5, (70, 70, 90, 90))]
    other = [*FIRST, (0, 0.50005, (40, 70, 60, 90))]
    report = compared(answers(full, SECOND), answers(other, SECOND))
    assert report.agreement == 1
    better = [*FIRST, (0, 0.51, (40, 70, 60, 90))]
    refused(answers(better, SECOND), expected=answers(full, SECOND))
    # With a place left, there is no such reason.
    refused(answers(other[1:], SECOND), expected=answers(full[1:], SECOND))


def test_masks():
    expected = answers(FIRST, SECOND, masks=0.1)
    near = answers(FIRST, SECOND, masks=0.1005)
    report = compared(expected, near)
    assert report.max_mask_error == pytest.approx(5e-4, rel=1e-2)
    assert "max mask error" in str(report)
    far = answers(FIRST, SECOND, masks=0.102)
    assert refused(far, expected=expected).agreement == 0
    compared(expected, far, 1e-3)


def test_least_agreement():
    """A float16 file may have a few other detections."""
    images = [FIRST] * 9
    expected = answers(*images, SECOND)
    actual = answers(*images, [(1, 0.6, SECOND[0][2])])
    fields = {"least_agreement": 0.95}
    report = compared(expected, actual, **fields)
    assert report.agreement == pytest.approx(54 / 56)
    assert "96.4 % (needed 95 %)" in str(report)
    refused(actual, expected=expected, least_agreement=0.97)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (([], []), "2 samples with no detections"),
        ((FIRST,), "1 samples with the same detections in all"),
        ((FIRST, FIRST, FIRST), "3 samples with the same detections in all"),
    ],
)
def test_answers_that_prove_nothing(images, reason):
    expected = answers(*images)
    with pytest.raises(ValueError, match=reason):
        compared(expected, expected)
    report = compared(expected, expected, allow_constant=True)
    assert report.passed
    assert not report.varies
    assert "proves little" in " ".join(str(report).split())


def test_what_makes_images_distinct():
    """A difference that the comparison would hardly see does not."""
    close = [(1, 0.9, (10.02, 10, 30, 30)), *FIRST[1:]]
    expected = answers(FIRST, close)
    with pytest.raises(ValueError, match="the same detections in all"):
        compared(expected, expected)
    assert compared(expected, expected, 1e-5).varies
    assert compared(answers(FIRST, []), answers(FIRST, [])).varies


def test_answers_of_another_layout():
    whole = answers(FIRST, SECOND)
    with pytest.raises(ExportMismatch, match="has outputs of shapes") as error:
        compared(whole, {**whole, "boxes": whole["boxes"][:, :3]})
    assert error.value.report is None
    with pytest.raises(ExportMismatch, match="has outputs of shapes"):
        compared(answers(FIRST, SECOND, masks=0.1), whole)
    miscounted = {**whole, "count": whole["count"] - 1}
    with pytest.raises(ExportMismatch, match="do not match its counts"):
        compared(whole, miscounted)


def test_detector_that_is_not_finite():
    expected = answers(FIRST, SECOND, masks=np.nan)
    with pytest.raises(ExportMismatch, match="own outputs are not finite"):
        compared(expected, expected)
