"""Makes detection.npz: what torchvision answers, with the inputs it got.

Run with torch 2.14.1 and torchvision 0.29.1; the tests need neither.

    python tests/golden/detection/make.py

Inputs and weights are float16 numbers, weights in Keras's layout and under
Keras's names.
"""

import pathlib

import numpy as np
import torch
from torchvision import ops
from torchvision.models.detection import RetinaNet
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

SIDE = 128
CHANNELS = (8, 12, 16)  # of C3, C4 and C5
FILTERS = 8
CLASSES = 3


def half(values):
    return np.asarray(values).astype("float16").astype("float32")


def boxes(rng, count, side, low=2, high=60):
    corner = rng.uniform(0, side - low, (count, 2))
    return half(
        np.concatenate([corner, corner + rng.uniform(low, high, (count, 2))], 1)
    )


def coder(rng):
    anchors, objects = boxes(rng, 40, 200), boxes(rng, 40, 200)
    offsets = half(rng.normal(size=(40, 4)) * 2)
    offsets[:4] = 9  # beyond the clamp
    reference = BoxCoder((10.0, 10.0, 5.0, 5.0))
    encoded = reference.encode_single(*map(torch.tensor, (objects, anchors)))
    decoded = reference.decode_single(*map(torch.tensor, (offsets, anchors)))
    return {
        "anchors": anchors,
        "objects": objects,
        "offsets": offsets,
        "encoded": encoded.numpy(),
        "decoded": decoded.numpy(),
    }


def matcher(rng):
    # Corners on a coarse grid: many overlaps are equal.
    low = rng.integers(0, 6, (80, 2)) * 8
    anchors = half(
        np.concatenate([low, low + rng.integers(1, 5, (80, 2)) * 8], 1)
    )
    low = rng.integers(0, 6, (7, 2)) * 8
    objects = half(
        np.concatenate([low, low + rng.integers(1, 4, (7, 2)) * 8], 1)
    )
    objects[6] = [40, 0, 48, 64]  # only weak matches
    iou = ops.box_iou(torch.tensor(objects), torch.tensor(anchors))
    result = {"anchors": anchors, "objects": objects}
    for low_quality in (False, True):
        matches = Matcher(0.7, 0.3, allow_low_quality_matches=low_quality)
        result[f"matches_{low_quality}"] = matches(iou).numpy()
    return result


def nms(rng):
    candidates = boxes(rng, 300, 90)
    scores = half(rng.permutation(300) / 300 + 0.001)
    groups = rng.integers(0, 3, 300)
    kept = ops.batched_nms(
        torch.tensor(candidates),
        torch.tensor(scores),
        torch.tensor(groups),
        0.5,
    )
    return {
        "boxes": candidates,
        "scores": scores,
        "groups": groups,
        "kept": kept.numpy(),
    }


def roi_align(rng):
    maps = [
        half(rng.normal(size=(2, 2, 128 // s, 160 // s)))
        for s in (4, 8, 16, 32)
    ]
    rois = np.stack([boxes(rng, 20, 120, 1, 100) for _ in range(2)])
    rois[0, :9] = [
        [-60, -60, 200, 200],
        [0, 0, 160, 128],
        [-20, -30, 50, 60],
        [100, 90, 220, 210],
        [30, 30, 30, 30],  # no area
        [50, 40, 50.5, 60],  # less than a position wide
        [-300, -300, 400, 420],
        [0, 0, 448, 448],  # exactly on a level's edge
        [159, 127, 160, 128],
    ]
    result = {"rois": rois}
    for size in (7, 14):
        tensors = [torch.tensor(m, requires_grad=True) for m in maps]
        named = {str(i): t for i, t in enumerate(tensors)}
        pool = ops.MultiScaleRoIAlign(list(named), size, 2)
        output = pool(named, [torch.tensor(r) for r in rois], [(128, 160)] * 2)
        weights = torch.cos(torch.arange(output.numel(), dtype=torch.float32))
        (output * weights.reshape(output.shape)).sum().backward()
        result[f"output{size}"] = output.detach().numpy()[:: size // 7]
        for i, tensor in enumerate(tensors):
            result[f"map{i}"] = maps[i]
            result[f"gradient{size}_{i}"] = tensor.grad.numpy()
    return result


class Pyramid(torch.nn.Module):
    out_channels = FILTERS

    def __init__(self):
        super().__init__()
        self.fpn = ops.FeaturePyramidNetwork(
            CHANNELS, FILTERS, LastLevelP6P7(CHANNELS[-1], FILTERS)
        )

    def forward(self, stages):
        return self.fpn(stages)


def convolutions(model):
    """Convolutions of the pyramid and the heads by their names in Keras."""
    fpn, head = model.backbone.fpn, model.head
    found = {}
    for i in range(3):
        found[f"fpn_lateral{i + 3}"] = fpn.inner_blocks[i][0]
        found[f"fpn_p{i + 3}"] = fpn.layer_blocks[i][0]
    found["fpn_p6"], found["fpn_p7"] = fpn.extra_blocks.p6, fpn.extra_blocks.p7
    for i in range(4):
        found[f"class_{i + 1}"] = head.classification_head.conv[i][0]
        found[f"box_{i + 1}"] = head.regression_head.conv[i][0]
    found["class_logits"] = head.classification_head.cls_logits
    found["box_logits"] = head.regression_head.bbox_reg
    return found


def stages(rng, height, width):
    result = {}
    for i, channels in enumerate(CHANNELS):
        size = [-(-side // 2 ** (i + 3)) for side in (height, width)]
        result[f"C{i + 3}"] = half(rng.normal(size=(2, channels, *size)))
    return result


def retinanet(rng):
    model = RetinaNet(Pyramid(), CLASSES, detections_per_img=100)
    result = {}
    for name, module in convolutions(model).items():
        shape = module.weight.shape
        kernel = half(rng.normal(size=shape) * (2 / np.prod(shape[1:])) ** 0.5)
        bias = half(rng.normal(size=shape[0]) * 0.1)
        if name.endswith("logits"):
            kernel = half(kernel * 0.1)  # or all scores are 0 or 1
        if name == "class_logits":
            bias = half(bias - 3)
        module.weight.data = torch.tensor(kernel)
        module.bias.data = torch.tensor(bias)
        result[f"{name}/kernel"] = kernel.transpose(2, 3, 1, 0)
        result[f"{name}/bias"] = bias
    for kind, size in (("odd", (100, 136)), ("even", (SIDE, SIDE))):
        inputs = stages(rng, *size)
        tensors = {name: torch.tensor(x) for name, x in inputs.items()}
        with torch.no_grad():
            pyramid = model.backbone(tensors)
        for name, x in inputs.items():
            result[f"{kind}/{name}"] = x
        for level, x in zip("34567", pyramid.values(), strict=True):
            result[f"{kind}/P{level}"] = x.numpy()
    levels = list(pyramid.values())
    images = ImageList(torch.zeros(2, 3, SIDE, SIDE), [(SIDE, SIDE)] * 2)
    with torch.no_grad():
        outputs = model.head(levels)
        anchors = model.anchor_generator(images, levels)
        objects = [boxes(rng, 3, 80), boxes(rng, 1, 80)]
        labels = [np.array([0, 2, 1]), np.array([1])]
        targets = [
            {"boxes": torch.tensor(b), "labels": torch.tensor(n)}
            for b, n in zip(objects, labels, strict=True)
        ]
        losses = model.compute_loss(targets, outputs, anchors)
        counts = [x.shape[2] * x.shape[3] * 9 for x in levels]
        sizes = [(SIDE, SIDE), (90, 110)]
        detections = model.postprocess_detections(
            {name: list(x.split(counts, 1)) for name, x in outputs.items()},
            [list(a.split(counts)) for a in anchors],
            sizes,
        )
    result["anchors"] = anchors[0].numpy().astype("int16")
    result["logits"] = outputs["cls_logits"].numpy()[:, ::11]
    result["regressions"] = outputs["bbox_regression"].numpy()[:, ::11]
    result["objects0"], result["objects1"] = objects
    result["labels0"], result["labels1"] = labels
    result["class_loss"] = losses["classification"].numpy()
    result["box_loss"] = losses["bbox_regression"].numpy()
    result["sizes"] = np.array(sizes)
    for i, found in enumerate(detections):
        for name in ("boxes", "scores", "labels"):
            result[f"{name}_{i}"] = found[name].numpy()
    return result


INPUTS = ("map", "/C", "/kernel", "/bias")


def main():
    arrays = {}
    for seed, make in enumerate((coder, matcher, nms, roi_align, retinanet)):
        rng = np.random.default_rng(seed)
        for name, values in make(rng).items():
            if any(part in name for part in INPUTS):
                values = values.astype("float16")
            arrays[f"{make.__name__}/{name}"] = values
    path = pathlib.Path(__file__).with_name("detection.npz")
    np.savez_compressed(path, **arrays)
    for i in (0, 1):
        print(len(arrays[f"retinanet/scores_{i}"]), "detections")
    print(f"{path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
