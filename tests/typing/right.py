"""Calls that a type checker accepts."""

import pathlib

import keras

import eca_keras
from eca_keras import ECA
from eca_keras import applications
from eca_keras.applications import detection

layer = ECA(kernel_size="adaptive", gamma=1.5, padding="circular", name="gate")
size: int | None = ECA(5, data_format="channels_first").resolved_kernel_size
kernel: int = eca_keras.adaptive_kernel_size(64)

model = applications.ECAResNet50(kernel_size="paper", weights="imagenet")
applications.ECAResNet50(False, None, keras.Input((64, 64, 3)), pooling="avg")
applications.ECAResNet18(kernel_size=[3, 5, 7, 7], attention=None)
applications.ECAMobileNetV2((96, 96, 3), 0.35, kernel_size=None)
applications.ECAResNet20(attention=lambda name: ECA(3, name=name))
stages = applications.stage_outputs(model)
c3 = stages["C3"]

detector = detection.MaskRCNN("ECAResNet50", "paper", 3, units=64, filters=32)
detection.RetinaNet(model, num_classes=3, frozen_batchnorm=False, name="mine")

eca_keras.insert_attention(model, "eca", r"block_\d+_add", kernel_size=3)
eca_keras.insert_attention(model, where=lambda layer: layer.name == "add")
eca_keras.load_checkpoint(pathlib.Path("a.pth"), include_top=False)
macs: int = eca_keras.profile(model, (64, 64, 3)).macs
rows = eca_keras.benchmark({"eca": model, "none": lambda: model}, rounds=4)
ratio: float = rows[0].ratio
heat = eca_keras.visualize.grad_cam(model, [[0.0]], class_index=[3])
crop: float = eca_keras.weights.preprocessing("ECAResNet50T").crop_fraction
