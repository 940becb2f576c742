"""Files for deployment, each reloaded and compared before it is kept."""

from eca_keras.export.compare import NetworkReport
from eca_keras.export.detection import DetectionEndpoint
from eca_keras.export.detection_report import DetectionReport
from eca_keras.export.onnx import export_onnx
from eca_keras.export.report import ExportMismatch
from eca_keras.export.report import Report
from eca_keras.export.saved_model import export_saved_model
from eca_keras.export.tflite import export_tflite

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
