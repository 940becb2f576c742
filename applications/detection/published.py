"""What the ECA-Net paper's authors released for COCO."""

from eca_keras.errors import InputError

# Kernel sizes of the released detectors, per stage; not those of the
# classifiers they started from. They are in the names of the files.
KERNEL_SIZES = {
    ("RetinaNet", "ECAResNet50"): (3, 3, 7, 7),
    ("RetinaNet", "ECAResNet101"): (3, 3, 5, 7),
    ("FasterRCNN", "ECAResNet50"): (5, 5, 5, 5),
    ("FasterRCNN", "ECAResNet101"): (3, 3, 5, 7),
    ("MaskRCNN", "ECAResNet50"): (3, 3, 7, 7),
    ("MaskRCNN", "ECAResNet101"): (3, 3, 5, 7),
}


def kernel_sizes(detector: str, backbone: str) -> tuple[int, ...]:
    """Return the kernel sizes of a released detector.

    Args:
        detector: `"RetinaNet"`, `"FasterRCNN"` or `"MaskRCNN"`.
        backbone: Name of a builder in `eca_keras.applications`.

    Raises:
        ValueError: if the authors released no such detector.
    """
    if (detector, backbone) not in KERNEL_SIZES:
        released = [b for d, b in KERNEL_SIZES if d == detector]
        raise InputError(
            "`kernel_size='paper'` needs a backbone that was released for "
            f"{detector}, one of {released}. Received: backbone={backbone!r}"
        )
    return KERNEL_SIZES[detector, backbone]
