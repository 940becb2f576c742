"""Makes mask_rcnn.npz: a narrow Mask R-CNN in torchvision, and its answers.

Run with torch 2.14.1 and torchvision 0.29.1; the tests need neither.

    python tests/golden/detection/make_mask_rcnn.py

The trunk is an ECA-ResNet of four blocks, the rest is torchvision's. Weights
are float16 numbers in Keras's layout and under Keras's names.
"""

import pathlib

import numpy as np
import torch
from torch import nn
from torchvision import ops
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

HEIGHT, WIDTH = 128, 192  # multiples of 64, or torchvision's strides are odd
SIZES = [(HEIGHT, WIDTH), (100, 150)]
BLOCK = 8  # pixels along a side of one color
WIDTHS = (8, 8, 16, 16)
FILTERS = 12
UNITS = 16
CLASSES = 3
PROPOSALS = 200
THRESHOLD = 0.3  # of scores: about half of the places stay empty
ALL = 100_000  # samples: more than there are


def half(values):
    return np.asarray(values).astype("float16").astype("float32")


class ECA(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        means = x.mean((2, 3))[:, None]
        gate = nn.functional.conv1d(means, self.weight[None, None], padding=1)
        return x * torch.sigmoid(gate[:, 0])[:, :, None, None]


def convolution(channels, filters, size, strides):
    return nn.Conv2d(
        channels, filters, size, strides, padding=size // 2, bias=False
    )


class Block(nn.Module):
    def __init__(self, channels, width, strides):
        super().__init__()
        self.conv1 = convolution(channels, width, 3, strides)
        self.conv2 = convolution(width, width, 3, 1)
        self.bn1, self.bn2 = (ops.FrozenBatchNorm2d(width) for _ in range(2))
        self.eca = ECA()
        self.projects = strides > 1
        if self.projects:
            self.conv0 = convolution(channels, width, 1, strides)
            self.bn0 = ops.FrozenBatchNorm2d(width)

    def forward(self, x):
        shortcut = self.bn0(self.conv0(x)) if self.projects else x
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.eca(self.bn2(self.conv2(x))) + shortcut)


class Backbone(nn.Module):
    out_channels = FILTERS

    def __init__(self):
        super().__init__()
        self.conv = convolution(3, WIDTHS[0], 7, 2)
        self.bn = ops.FrozenBatchNorm2d(WIDTHS[0])
        before = (WIDTHS[0], *WIDTHS)
        self.blocks = nn.ModuleList(
            Block(before[i], width, 2 if i else 1)
            for i, width in enumerate(WIDTHS)
        )
        self.fpn = ops.FeaturePyramidNetwork(
            WIDTHS, FILTERS, LastLevelMaxPool()
        )

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        stages = {}
        for i, block in enumerate(self.blocks):
            stages[str(i)] = x = block(x)
        return self.fpn(stages)


def make_model():
    return MaskRCNN(
        Backbone(),
        rpn_anchor_generator=AnchorGenerator(
            tuple((size,) for size in (16, 32, 64, 128, 256)),
            ((0.5, 1.0, 2.0),) * 5,
        ),
        rpn_head=RPNHead(FILTERS, 3),
        rpn_pre_nms_top_n_train=PROPOSALS,
        rpn_pre_nms_top_n_test=PROPOSALS,
        rpn_post_nms_top_n_train=PROPOSALS,
        rpn_post_nms_top_n_test=PROPOSALS,
        rpn_batch_size_per_image=ALL,
        box_batch_size_per_image=ALL,
        box_score_thresh=THRESHOLD,
        box_head=TwoMLPHead(FILTERS * 49, UNITS),
        box_predictor=FastRCNNPredictor(UNITS, CLASSES + 1),
        mask_head=MaskRCNNHeads(FILTERS, (FILTERS,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(FILTERS, FILTERS, CLASSES + 1),
    )


def modules(model):
    """Modules by the names of Keras's layers."""
    trunk, rpn, roi = model.backbone, model.rpn.head, model.roi_heads
    found = {"conv1_conv": trunk.conv, "conv1_bn": trunk.bn}
    for i, block in enumerate(trunk.blocks):
        prefix = f"conv{i + 2}_block1"
        for part in ("0", "1", "2")[not block.projects :]:
            found[f"{prefix}_{part}_conv"] = getattr(block, f"conv{part}")
            found[f"{prefix}_{part}_bn"] = getattr(block, f"bn{part}")
        found[f"{prefix}_eca"] = block.eca
        found[f"fpn_lateral{i + 2}"] = trunk.fpn.inner_blocks[i][0]
        found[f"fpn_p{i + 2}"] = trunk.fpn.layer_blocks[i][0]
        found[f"mask_{i + 1}"] = roi.mask_head[i][0]
    return {
        **found,
        "rpn_hidden": rpn.conv[0][0],
        "rpn_objectness": rpn.cls_logits,
        "rpn_offsets": rpn.bbox_pred,
        "box_dense1": roi.box_head.fc6,
        "box_dense2": roi.box_head.fc7,
        "box_logits": roi.box_predictor.cls_score,
        "box_offsets": roi.box_predictor.bbox_pred,
        "mask_enlarge": roi.mask_predictor.conv5_mask,
        "mask_logits": roi.mask_predictor.mask_fcn_logits,
    }


# Of the last layers of the heads: answers neither all alike nor all 0 or 1.
SCALES = {
    "rpn_objectness": 0.2,
    "rpn_offsets": 0.1,
    "box_logits": 0.3,
    "box_offsets": 0.1,
}


def draw(rng, name, module):
    """Draws the weights of a module and returns them as Keras has them."""
    if isinstance(module, ops.FrozenBatchNorm2d):
        values = rng.normal(0, 0.2, (4, len(module.weight)))
        values[0] += 1
        values[3] = np.exp(values[3])
        values = half(values)
        parts = ("weight", "bias", "running_mean", "running_var")
        for part, value in zip(parts, values, strict=True):
            getattr(module, part).copy_(torch.tensor(value))
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        return dict(zip(parts, values, strict=True))
    shape = tuple(module.weight.shape)
    reads = np.prod(shape) / shape[isinstance(module, nn.ConvTranspose2d)]
    scale = (2 / reads) ** 0.5 * SCALES.get(name, 1.0)
    kernel = half(rng.normal(0, scale, shape))
    module.weight.data = torch.tensor(kernel)
    if kernel.ndim == 4:
        kernel = kernel.transpose(2, 3, 1, 0)
    elif name == "box_dense1":
        kernel = kernel.reshape(UNITS, FILTERS, 7, 7).transpose(2, 3, 1, 0)
        kernel = kernel.reshape(-1, UNITS)
    elif kernel.ndim == 2:
        kernel = kernel.T
    elif kernel.ndim == 1:
        kernel = kernel[:, None, None]
    if getattr(module, "bias", None) is None:
        return {"kernel": kernel}
    bias = half(rng.normal(0, 0.1, len(module.bias)))
    module.bias.data = torch.tensor(bias)
    return {"kernel": kernel, "bias": bias}


def objects(rng):
    """Boxes, labels and masks of the images: ellipses."""
    corners = [
        [[20, 30, 90, 100], [100, 10, 180, 60], [60.5, 70.25, 110, 120]],
        [[10, 10, 70, 90], [80, 40, 140, 95]],
    ]
    labels = [[1, 3, 2], [2, 2]]
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    targets = []
    for boxes, classes in zip(corners, labels, strict=True):
        masks = [
            ((2 * x - x1 - x2) / (x2 - x1)) ** 2
            + ((2 * y - y1 - y2) / (y2 - y1)) ** 2
            <= 1
            for x1, y1, x2, y2 in boxes
        ]
        targets.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float64),
                "labels": torch.tensor(classes),
                "masks": torch.tensor(np.array(masks, "uint8")),
            }
        )
    return targets


def pasted(rng):
    masks = half(rng.uniform(size=(3, 28, 28)))
    boxes = [[3.3, 4.7, 20.1, 31.9], [-6.5, 10.2, 12.4, 37.5], [8, 8, 30, 30]]
    rows, columns = 34, 30
    found = []
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        y = 2 * (torch.arange(rows) + 0.5 - y1) / (y2 - y1) - 1
        x = 2 * (torch.arange(columns) + 0.5 - x1) / (x2 - x1) - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
        image = torch.tensor(mask)[None, None]
        image = nn.functional.grid_sample(
            image, grid, align_corners=False, padding_mode="border"
        )[0, 0]
        inside = (y.abs() < 1)[:, None] & (x.abs() < 1)[None]
        found.append((image * inside).numpy())
    return {
        "paste/masks": masks.astype("float16"),
        "paste/boxes": np.array(boxes),
        "paste/pasted": np.stack(found),
    }


def main():
    rng = np.random.default_rng(17)
    model = make_model()
    arrays = {}
    for name, module in modules(model).items():
        for part, values in draw(rng, name, module).items():
            arrays[f"weights/{name}/{part}"] = values.astype("float16")
    colors = half(rng.normal(size=(2, HEIGHT // BLOCK, WIDTH // BLOCK, 3)))
    arrays["colors"] = colors.astype("float16")
    images = colors.repeat(BLOCK, 1).repeat(BLOCK, 2).transpose(0, 3, 1, 2)
    images = ImageList(torch.tensor(images.copy()).double(), SIZES)
    arrays["sizes"] = np.array(SIZES)
    targets = objects(rng)
    for i, target in enumerate(targets):
        arrays[f"boxes{i}"] = target["boxes"].numpy().astype("float32")
        arrays[f"labels{i}"] = target["labels"].numpy() - 1
        arrays[f"masks{i}"] = np.packbits(target["masks"].numpy(), axis=-1)

    # In float64: what differs later is our rounding alone.
    model.double().train()
    features = model.backbone(images.tensors)
    proposals, losses = model.rpn(images, features, targets)
    _, more = model.roi_heads(features, proposals, SIZES, targets)
    for name, value in {**losses, **more}.items():
        arrays[f"losses/{name}"] = value.detach().numpy()
        print(name, value.item())
    model.eval()
    with torch.no_grad():
        proposals, _ = model.rpn(images, features)
        found, _ = model.roi_heads(features, proposals, SIZES)
    for i, (boxes, detections) in enumerate(zip(proposals, found, strict=True)):
        arrays[f"proposals{i}"] = boxes.numpy().astype("float32")
        for name in ("boxes", "scores"):
            values = detections[name].numpy().astype("float32")
            arrays[f"found/{name}{i}"] = values
        arrays[f"found/labels{i}"] = detections["labels"].numpy() - 1
        masks = detections["masks"].numpy()[::10, 0]
        arrays[f"found/masks{i}"] = np.round(masks * 65535).astype("uint16")
        print(len(boxes), "proposals,", len(detections["scores"]), "detections")
        print(detections["scores"].numpy().round(3)[::10])
        print(np.bincount(detections["labels"].numpy()), masks.std())
    arrays.update(pasted(rng))
    path = pathlib.Path(__file__).with_name("mask_rcnn.npz")
    np.savez_compressed(path, **arrays)
    print(f"{path.stat().st_size} bytes")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
