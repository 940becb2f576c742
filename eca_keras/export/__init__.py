"""Files for deployment, each reloaded and compared before it is kept."""

from typing import TYPE_CHECKING

from eca_keras.utils.lazy import attach

if TYPE_CHECKING:
    from eca_keras.errors import ExportMismatch as ExportMismatch
    from eca_keras.export.checking.detector import (
        DetectionReport as DetectionReport,
    )
    from eca_keras.export.checking.network import NetworkReport as NetworkReport
    from eca_keras.export.checking.report import Report as Report
    from eca_keras.export.detection import (
        DetectionEndpoint as DetectionEndpoint,
    )
    from eca_keras.export.onnx import export_onnx as export_onnx
    from eca_keras.export.saved_model import (
        export_saved_model as export_saved_model,
    )
    from eca_keras.export.tflite.convert import export_tflite as export_tflite
else:
    __getattr__, __dir__, __all__ = attach(
        __name__,
        checking__detector=("DetectionReport",),
        checking__network=("NetworkReport",),
        checking__report=("ExportMismatch", "Report"),
        detection=("DetectionEndpoint",),
        onnx=("export_onnx",),
        saved_model=("export_saved_model",),
        tflite__convert=("export_tflite",),
    )
