"""Files for deployment, each reloaded and compared before it is kept."""

import importlib
import typing

if typing.TYPE_CHECKING:
    from eca_keras.export.checking.detector import DetectionReport
    from eca_keras.export.checking.network import NetworkReport
    from eca_keras.export.checking.report import ExportMismatch
    from eca_keras.export.checking.report import Report
    from eca_keras.export.detection import DetectionEndpoint
    from eca_keras.export.formats import FORMATS
    from eca_keras.export.formats import Format
    from eca_keras.export.formats import format_of
    from eca_keras.export.onnx import export_onnx
    from eca_keras.export.saved_model import export_saved_model
    from eca_keras.export.tflite.convert import export_tflite

# Loaded when first used: the names of the formats cost nothing.
_MODULES = {
    "DetectionEndpoint": "detection",
    "DetectionReport": "checking.detector",
    "ExportMismatch": "checking.report",
    "FORMATS": "formats",
    "Format": "formats",
    "NetworkReport": "checking.network",
    "Report": "checking.report",
    "export_onnx": "onnx",
    "export_saved_model": "saved_model",
    "export_tflite": "tflite.convert",
    "format_of": "formats",
}

__all__ = [
    "FORMATS",
    "DetectionEndpoint",
    "DetectionReport",
    "ExportMismatch",
    "Format",
    "NetworkReport",
    "Report",
    "export_onnx",
    "export_saved_model",
    "export_tflite",
    "format_of",
]


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    return getattr(module, name)


def __dir__():
    return sorted(__all__)
