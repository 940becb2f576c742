"""Checkpoints of torchvision's Mask R-CNN as ours."""

from __future__ import annotations

import typing

from eca_keras.applications.detection.mask_rcnn import MaskRCNN
from eca_keras.utils.checks import check
from eca_keras.utils.types import PathLike
from eca_keras.weights import loading
from eca_keras.weights import naming
from eca_keras.weights.reading import open_checkpoint
from eca_keras.weights.tensors import CheckpointError

_BACKBONE = "backbone.body"
_FPN = "backbone.fpn"

# torchvision's modules by the names of our layers.
_HEADS = {
    **{f"fpn_lateral{i + 2}": f"{_FPN}.inner_blocks.{i}.0" for i in range(4)},
    **{f"fpn_p{i + 2}": f"{_FPN}.layer_blocks.{i}.0" for i in range(4)},
    "rpn_hidden": "rpn.head.conv.0.0",
    "rpn_objectness": "rpn.head.cls_logits",
    "rpn_offsets": "rpn.head.bbox_pred",
    "box_dense1": "roi_heads.box_head.fc6",
    "box_dense2": "roi_heads.box_head.fc7",
    "box_logits": "roi_heads.box_predictor.cls_score",
    "box_offsets": "roi_heads.box_predictor.bbox_pred",
    **{f"mask_{i + 1}": f"roi_heads.mask_head.{i}.0" for i in range(4)},
    "mask_enlarge": "roi_heads.mask_predictor.conv5_mask",
    "mask_logits": "roi_heads.mask_predictor.mask_fcn_logits",
}


class _FirstDense(typing.NamedTuple):
    """A kernel that reads a region, which PyTorch flattens channels first."""

    variable: typing.Any
    region: tuple  # height, width, channels

    @property
    def torch_shape(self):
        inputs, units = self.variable.shape
        return units, inputs

    def assign(self, values):
        height, width, channels = self.region
        values = values.reshape(-1, channels, height, width)
        values = values.transpose(2, 3, 1, 0)
        self.variable.assign(values.reshape(self.variable.shape))


def load_into_detector(
    model: MaskRCNN, path: PathLike, *, ema: bool | None = None
) -> None:
    """Load a checkpoint of torchvision's Mask R-CNN.

    The state of a `maskrcnn_resnet50_fpn` as torchvision saves it since 0.15;
    before, some layers had other names. The classes have to be as many as
    those of the model, and one for background. Models with normalization in
    their heads (`v2`) are others.

    Args:
        model: A `MaskRCNN` on a ResNet with stages and attention as in the
            file: none, or ECA as the authors have it.
        path: As in `eca_keras.load_checkpoint`.
        ema: As in `eca_keras.load_checkpoint`.

    Raises:
        InputError: (a ValueError) if the model is another detector.
        CheckpointError: (a ValueError) if the file is damaged, or does not
            fit the model.
        OSError: if the file cannot be read.
    """
    check("model", model, isinstance(model, MaskRCNN), "must be a MaskRCNN")
    variables = {
        f"{_BACKBONE}.{name}": variable
        for name, variable in naming.torch_variables(model.backbone).items()
    }
    for part in (model, model.box_head, model.mask_head):
        for layer in part.layers:
            for variable in layer.weights if layer.name in _HEADS else ():
                name = f"{_HEADS[layer.name]}.{naming.leaf(variable)}"
                variables[name] = _torch_variable(layer, variable, model)
    with open_checkpoint(path, ema) as state:
        body = f"{_BACKBONE}."
        if not f".{state.prefix}".endswith(f".{body}"):
            raise CheckpointError(
                f"it holds no {body}layer1, as detectors of torchvision do."
            )
        root = state.prefix.removesuffix(body)
        tensors = {
            name.removeprefix(root): state.tensors[name]
            for name in state.shapes
            if name.startswith(root)
        }
        loading.assign(tensors, variables)
        loading.tell_choice(path, state, ema)


def _torch_variable(layer, variable, model):
    if layer.name == "box_dense1" and variable.name == "kernel":
        return _FirstDense(variable, model.box_head.input_shape[1:])
    return naming.in_torch_order(variable, layer)
