"""Mask R-CNN of torchvision on the authors' networks, in a process of its own.

For any Python that has PyTorch and torchvision, which need not have this
package: it imports this file by its bare name, see `worker.TorchWorker`.
`detectors` is the other end.
"""

import json

import numpy as np
import serving
import torch
import torch_networks
import torchvision
from torch import nn
from torchvision import ops
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

# Of the answers of drawn heads: objects of all sizes and classes, scores from
# the threshold to almost 1. Offsets are scaled by the networks' own weights.
SPREADS = {
    "objectness": 2.0,
    "proposal_offsets": 0.2,
    "classes": 2.0,
    "box_offsets": 1.0,
    "masks": 2.0,
}

# What background has more than a class: few regions hold an object.
BACKGROUND = 7.0

# Sides of the blocks of one colour that an image is the sum of, in pixels.
BLOCKS = (4, 16, 64, 256)


class Backbone(nn.Module):
    """A network up to its last stage, and a pyramid on all stages."""

    def __init__(self, depths, bottleneck, kernel_sizes, channels):
        super().__init__()
        self.out_channels = channels
        self.body = torch_networks.ResNet(depths, bottleneck, kernel_sizes, 1)
        del self.body.fc, self.body.avgpool
        widths = [
            64 * 2**stage * (4 if bottleneck else 1) for stage in range(4)
        ]
        self.fpn = ops.FeaturePyramidNetwork(
            widths, channels, LastLevelMaxPool()
        )

    def forward(self, x):
        x, stages = self.body.stem(x), {}
        for number, name in enumerate(self.body.stages):
            stages[str(number)] = x = getattr(self.body, name)(x)
        return self.fpn(stages)


class Anchors(AnchorGenerator):
    """Anchors whose distance is a power of 2 at any size of image.

    torchvision divides the height by that of the level, which makes 61 of 64
    where 800 rows have become 13.
    """

    def grid_anchors(self, grid_sizes, strides):
        strides = [2 * (4 * 2**level,) for level in range(len(grid_sizes))]
        return super().grid_anchors(grid_sizes, strides)


def make_model(classes, channels=256, **backbone):
    """Return torchvision's Mask R-CNN with its own defaults.

    Args:
        classes: Number of classes, background not counted.
        channels: Of the pyramid.
        **backbone: Of `Backbone`.
    """
    return detection.MaskRCNN(
        Backbone(channels=channels, **backbone),
        classes + 1,
        rpn_anchor_generator=Anchors(
            tuple((size,) for size in (32, 64, 128, 256, 512)),
            ((0.5, 1.0, 2.0),) * 5,
        ),
    ).eval()


class Server:
    """Answers requests about one detector.

    Args:
        threads: Threads that a call may use.
    """

    def __init__(self, threads):
        torch.set_num_threads(threads)
        self.model = self.images = None

    def versions(self):
        return {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        }

    def build(self, **arguments):
        """Make the model; takes the arguments of `make_model`."""
        self.model = make_model(**arguments)
        count = sum(w.numel() for w in self.model.parameters())
        return {"parameters": count}

    def draw(self, height, width, seed, weights, images):
        """Write weights that find objects, and the image they do it in."""
        torch.manual_seed(seed)
        image = draw_image(height, width)
        with torch.inference_mode():
            draw_weights(self.model, image)
        torch.save(self.model.state_dict(), weights)
        np.save(images, image.permute(0, 2, 3, 1).numpy())
        return {}

    def load(self, weights, images):
        self.model.load_state_dict(torch.load(weights, weights_only=True))
        images = torch.from_numpy(np.load(images)).permute(0, 3, 1, 2)
        self.images = images.contiguous()
        return {}

    def answer(self, path):
        """Write what our `predict` would; say how long it took."""
        found = []
        reply = serving.timed(lambda: found.extend(self.detect()))
        arrays = {name: values.numpy() for name, values in found[0].items()}
        arrays["labels"] -= 1  # background is none of the classes
        arrays["masks"] = arrays["masks"][:, 0]
        count = len(arrays["scores"])
        empty = self.model.roi_heads.detections_per_img - count
        for name, values in arrays.items():
            pad = [(0, empty)] + [(0, 0)] * (values.ndim - 1)
            arrays[name] = np.pad(values, pad)[None]
        np.savez(path, count=[count], **arrays)
        return reply

    def time(self):
        return serving.timed(self.detect)

    def memory(self):
        return {"bytes": serving.peak_memory()}

    def detect(self):
        with torch.inference_mode():
            features = self.model.backbone(self.images)
            return find(self.model, self.images, features)


def find(model, images, features):
    """What the model does between its backbone and the pasting of masks."""
    sizes = [tuple(images.shape[2:])] * len(images)
    proposals, _ = model.rpn(ImageList(images, sizes), features)
    found, _ = model.roi_heads(features, proposals, sizes)
    return found


def draw_image(height, width):
    """Noise at several scales, `(1, 3, height, width)`."""
    image = torch.zeros((1, 3, height, width))
    for side in BLOCKS:
        rows, columns = -(-height // side), -(-width // side)
        blocks = torch.randn((1, 3, rows, columns))
        blocks = blocks.repeat_interleave(side, 2).repeat_interleave(side, 3)
        image += blocks[:, :, :height, :width]
    return image / len(BLOCKS) ** 0.5


def draw_weights(model, images):
    """Weights with which a model has much to say about the images.

    A fresh network hardly looks at its input, and would agree with any other
    one. Here every normalization starts from what comes in, and every last
    layer answers with a given standard deviation.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.8, 1.2)
        nn.init.normal_(norm.bias, 0, 0.1)
        norm.momentum = 1.0  # the averages become those of the next call
        norm.train()
    model.backbone(images)
    for norm in norms:
        norm.eval()
    features = model.backbone(images)
    rpn, heads = model.rpn.head, model.roi_heads
    last = {
        "objectness": rpn.cls_logits,
        "proposal_offsets": rpn.bbox_pred,
        "classes": heads.box_predictor.cls_score,
        "box_offsets": heads.box_predictor.bbox_pred,
        "masks": heads.mask_predictor.mask_fcn_logits,
    }
    for name, layer in last.items():  # each sees what those before find
        spread(layer, SPREADS[name], lambda: find(model, images, features))
        if name == "classes":
            layer.bias[0] += BACKGROUND


def spread(layer, deviation, call):
    """Give the outputs of a layer mean 0 and a standard deviation each."""
    seen = []
    hook = layer.register_forward_hook(
        lambda _, __, answer: seen.append(answer.transpose(0, 1).flatten(1))
    )
    call()
    hook.remove()
    values = torch.cat(seen, 1)
    factors = deviation / values.std(1)
    layer.weight.mul_(factors.reshape(-1, *(1,) * (layer.weight.ndim - 1)))
    layer.bias.copy_((layer.bias - values.mean(1)) * factors)


def main(specification):
    """Answer requests.

    Args:
        specification: The arguments of `Server` as JSON.
    """
    serving.serve(Server(**json.loads(specification)))
