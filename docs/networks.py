"""Write the page of networks: python docs/networks.py docs/networks.md

Every figure is counted from the network that the builder makes.
"""

import pathlib
import sys

import keras

from eca_keras.applications.registry import BUILDERS
from eca_keras.applications.registry import default_size
from eca_keras.applications.registry import find_builder
from eca_keras.applications.registry import released_kernels
from eca_keras.profiling.counts import profile
from eca_keras.weights.hub import HOSTED
from eca_keras.weights.hub import TIMM_NAMES

# Reported in the paper, or on the authors' page: parameters by 2^20, and
# multiply-accumulates by 2^30 (by 2^20 for MobileNetV2).
REPORTED = {
    "ECAResNet18": "11.15M, 1.70G",
    "ECAResNet34": "20.79M, 3.43G",
    "ECAResNet50": "24.37M, 3.86G",
    "ECAResNet101": "42.49M, 7.35G",
    "ECAResNet152": "57.41M, 10.83G",
    "ECAMobileNetV2": "3.34M, 319.9M",
}
# Top-1 by timm at the size of training and at the larger one of `HOSTED`,
# from results/results-imagenet.csv of huggingface/pytorch-image-models at
# revision 4e5207c7 (2025-10-30).
TIMM_TOP1 = {
    ("ECAResNet26T", "ra2_in1k"): (78.894, 79.900),
    ("ECAResNet50T", "ra2_in1k"): (81.450, 82.370),
    ("ECAResNet50T", "a1_in1k"): (81.282, 82.110),
    ("ECAResNet50T", "a2_in1k"): (80.884, 81.682),
    ("ECAResNet50T", "a3_in1k"): (77.786, 79.548),
    ("ECAResNet50D", "miil_in1k"): (80.634, 81.648),
    ("ECAResNet101D", "miil_in1k"): (82.180, 83.006),
    ("ECAResNet269D", "ra2_in1k"): (84.724, 84.968),
    ("ECAResNetLight", "miil_in1k"): (80.454, 81.430),
    ("ECAResNet50DPruned", "miil_in1k"): (79.714, 80.808),
    ("ECAResNet101DPruned", "miil_in1k"): (80.810, 82.016),
}
TITLES = ("network", "image", "kernel sizes", "parameters", "of them ECA")
TITLES += ("10^6 MAC", "FLOPs as thop counts them", "in the paper")

PAGE = """\
# Networks

Builders of `eca_keras.applications`, with the arguments of
`keras.applications` and, on top, `kernel_size`, `attention` and `dropout`:

```python
import numpy as np
from eca_keras.applications import ECAResNet18, preprocess_input, stage_outputs

images = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3))
model = ECAResNet18(classes=10, kernel_size="paper")
print(model.predict(preprocess_input(images)).shape)  # (2, 10)

plain = ECAResNet18(classes=10, attention=None)  # to compare with
backbone = ECAResNet18(include_top=False, input_shape=(256, 320, 3))
print({{name: x.shape for name, x in stage_outputs(backbone).items()}})
```

Trainable parameters and operations for 1000 classes at the network's own image
size, with the released kernels where there are some (`kernel_size="paper"`),
else those of Eq. 12. `eca-keras info` prints them for other settings.

{table}
MACs are the multiply-accumulates of convolutions and dense layers. thop, the
authors' tool, also counts 4 for each element of a BatchNormalization and
window + 1 for each output of a global average pooling. The paper divides by
2^20 (M) and 2^30 (G). Its two deepest ResNets and its MobileNetV2 were counted
with an older version of thop, and its MobileNetV2 leaves out the last pooling,
which `eca_keras.profile` counts (64,000 more).

`ECAResNet20`, `32` and `56` are the networks for images of 32 pixels of He et
al. 2016, section 4.2; the names with T and D have the stem and shortcuts of
[ResNet-D](https://arxiv.org/abs/1812.01187), as timm trained them. The two
pruned ones have widths from
[knapsack pruning](https://arxiv.org/abs/2002.08258) and the kernels from before
it, `kernel_size="paper"`; `block_widths` gives any ResNet here other widths.

## Published weights

ImageNet top-1 of the weights that timm hosts, measured by timm
([results/results-imagenet.csv]({results}),
revision 4e5207c7 of 2025-10-30; not measured again here), at the size of
training and at a larger one. To load them: [from PyTorch](from-pytorch.md).

{published}
## Does ECA help?

The strongest public evidence is timm's and not the paper's: each of the recipes
A1, A2 and A3 of [ResNet strikes back](https://arxiv.org/abs/2110.00476) trained
all of these networks. Top-1 from the same file:

| recipe, image | `ecaresnet50t` | `resnet50d` | `resnet50` | `seresnet50` |
| --- | --- | --- | --- | --- |
| A1, 224 | 81.28 | 80.73 | 80.38 | 80.01 |
| A2, 224 | 80.88 | 80.27 | 79.83 | 80.10 |
| A3, 160 | 77.79 | 77.22 | 75.99 | 75.10 |

The first two also differ in their stems, whose first convolution has 24
channels in `ecaresnet50t` and 32 in `resnet50d`. `resnet50` and `seresnet50`
have neither that stem nor those shortcuts.
"""
RESULTS = (
    "https://github.com/huggingface/pytorch-image-models/blob/4e5207c7/"
    "results/results-imagenet.csv"
)


def row(name):
    """Return the cells of a network."""
    released = released_kernels(name)
    size = default_size(name)
    model = find_builder(name)(
        kernel_size="paper" if released else "adaptive",
        input_shape=(size, size, 3),
    )
    counted = profile(model)
    sizes = {}
    for layer in model.layers:
        if layer.__class__.__name__ == "ECA":
            stage = layer.name.split("_block")[0]
            sizes.setdefault(stage, layer.resolved_kernel_size)
    kernels = released or sizes.values()
    keras.backend.clear_session()
    return (
        f"`{name}`",
        str(size),
        ", ".join(map(str, kernels)),
        f"{counted.trainable_parameters:,}",
        f"{counted.attention_parameters:,}",
        f"{counted.macs / 1e6:,.0f}",
        f"{counted.thop_macs:,}",
        REPORTED.get(name, ""),
    )


def page(names=BUILDERS):
    """Return the text of the page."""
    return PAGE.format(
        table=table(TITLES, map(row, names)),
        published=table(
            ("network", "`weights`", "in timm", "top-1", "at a larger size"),
            published(),
        ),
        results=RESULTS,
    )


def table(titles, rows):
    """Return a table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def published():
    """Yield the cells of the weights that are hosted."""
    for builder, tags in HOSTED.items():
        for tag, images in tags.items():
            top1, larger = TIMM_TOP1[builder, tag]
            yield (
                f"`{builder}`",
                f'`"{tag}"`',
                f"`{TIMM_NAMES[builder]}.{tag}`",
                f"{top1:.2f} ({images.size})",
                f"{larger:.2f} ({images.test_size})",
            )


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(page(), "utf-8")
