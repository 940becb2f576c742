"""Files for deployment, each reloaded and compared before it is kept."""

from eca_keras.export.checking.detector import DetectionReport
from eca_keras.export.checking.network import NetworkReport
from eca_keras.export.checking.report import ExportMismatch
from eca_keras.export.checking.report import Report
from eca_keras.export.detection import DetectionEndpoint
from eca_keras.export.onnx import export_onnx
from eca_keras.export.saved_model import export_saved_model
from eca_keras.export.tflite.convert import export_tflite

__all__ = [
    "DetectionEndpoint",
    "DetectionReport",
    "ExportMismatch",
    "NetworkReport",
    "Report",
    "export_onnx",
    "export_saved_model",
    "export_tflite",
]
