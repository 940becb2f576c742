"""Average precision by COCO's rules, computed by pycocotools."""

import contextlib
import io

from eca_keras.errors import require

# The metrics that pycocotools gives, in its order: average precision at
# an IoU from 0.50 to 0.95, at 0.50, at 0.75, and of small, medium and large
# objects; average recall with 1, 10 and 100 detections per image, and of the
# three sizes.
METRICS = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)
# What the metrics of masks begin with.
MASK = "mask_"

# By the kind of evaluation: the key of an entry that is judged.
_JUDGED = {"bbox": "bbox", "segm": "segmentation"}


def metric_names(masks):
    """Return the names of all metrics of a detector with or without masks."""
    names = METRICS
    if masks:
        names += tuple(f"{MASK}{name}" for name in METRICS)
    return names


def average_precision(truth, results, image_ids, masks=False):
    """Evaluate detections.

    Args:
        truth: Dictionary as in an annotation file of COCO.
        results: List of entries as in a results file of COCO.
        image_ids: The images that count.
        masks: Whether to judge the masks as well as the boxes.

    Returns:
        Dictionary of `metric_names(masks)`, each from 0 to 1, or -1 where
        there is nothing to find, for example no small object.

    Raises:
        ImportError: if pycocotools is not installed.
    """
    require("detection", "Average precision", "pycocotools")
    from pycocotools.coco import COCO

    kinds = {"bbox": "", **({"segm": MASK} if masks else {})}
    metrics = {}
    with contextlib.redirect_stdout(io.StringIO()):  # it tells what it does
        coco = COCO()
        coco.dataset = {"info": {}, **truth}
        coco.createIndex()
        for kind, prefix in kinds.items():
            values = _judge(coco, results, image_ids, kind)
            for name, value in zip(METRICS, values, strict=True):
                metrics[f"{prefix}{name}"] = float(value)
    return metrics


def _judge(coco, results, image_ids, kind):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # Copies, since pycocotools adds to the entries. Without a box, the size
    # of an object is that of its mask.
    keys = ("image_id", "category_id", "score", _JUDGED[kind])
    entries = [{key: entry[key] for key in keys} for entry in results]
    if entries:
        found = coco.loadRes(entries)
    else:  # which `loadRes` does not take
        found = COCO()
        found.dataset = {**coco.dataset, "annotations": []}
        found.createIndex()
    evaluation = COCOeval(coco, found, kind)
    evaluation.params.imgIds = sorted(image_ids)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats
