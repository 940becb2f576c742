"""Files for deployment, each reloaded and compared before it is kept."""

from eca_keras.export.compare import ExportMismatch
from eca_keras.export.compare import Report
from eca_keras.export.onnx import export_onnx
from eca_keras.export.saved_model import export_saved_model
from eca_keras.export.tflite import export_tflite

__all__ = [
    "ExportMismatch",
    "Report",
    "export_onnx",
    "export_saved_model",
    "export_tflite",
]
