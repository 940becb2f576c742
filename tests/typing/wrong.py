"""Calls that a type checker has to report, each on its line."""

import keras

import eca_keras
from eca_keras import ECA
from eca_keras import applications
from eca_keras import layers
from eca_keras.applications import detection

model = keras.Model()

ECA(kernel_size="nonsense")  # error: arg-type
ECA(kernel_size="paper")  # error: arg-type
ECA(gamma="2")  # error: arg-type
ECA(padding="same")  # error: arg-type
ECA(data_format="NHWC")  # error: arg-type
layers.CBAM(reduction="16")  # error: arg-type
layers.SEGroupConv(groups=2.5)  # error: arg-type
eca_keras.adaptive_kernel_size("64")  # error: arg-type
_ = eca_keras.ecaa  # error: attr-defined

applications.ECAResNet50(kernel_size=[3.5])  # error: list-item
applications.ECAResNet50(kernel_size="Paper")  # error: arg-type
applications.ECAResNet50(weights=3)  # error: arg-type
applications.ECAResNet50(pooling="mean")  # error: arg-type
applications.ECAResNet50(drop_out=0.1)  # error: call-arg
applications.ECAMobileNetV2(rounding="up")  # error: arg-type
applications.ECAMobileNetV2(alpha="0.5")  # error: arg-type
_ = applications.ECAResNet19  # error: attr-defined
applications.preprocess_input([[0]], "NHWC")  # error: arg-type

detection.RetinaNet(filters="256")  # error: arg-type
detection.RetinaNet(units=64)  # error: call-arg
detection.FasterRCNN(head_initializer="normal")  # error: call-arg
detection.MaskRCNN(anchor_sizes=32)  # error: arg-type

eca_keras.insert_attention(model, attention=5)  # error: arg-type
eca_keras.insert_attention(model, kernel_size="paper")  # error: arg-type
eca_keras.insert_attention(model, identity=True)  # error: call-arg
eca_keras.load_checkpoint(3)  # error: arg-type
eca_keras.profile(model, input_shape=224)  # error: arg-type
eca_keras.benchmark(model, rounds="20")  # error: arg-type
eca_keras.visualize.grad_cam(model, [], layer=3)  # error: arg-type
eca_keras.weights.preprocessing(50)  # error: arg-type

eca_keras.export_tflite(model, "m", quantize="int4")  # error: arg-type
eca_keras.export_tflite(model, "m", input_type="int16")  # error: arg-type
eca_keras.export_onnx(model, "m", opset="17")  # error: arg-type
eca_keras.export_saved_model(model, 3)  # error: arg-type
