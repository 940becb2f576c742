"""The command that writes docs/export-matrix.md, on one small network."""

import export_matrix
import pytest


@pytest.mark.slow
def test_one_network(tmp_path):
    output = tmp_path / "matrix.md"
    options = ["--runs", str(tmp_path / "runs"), "--epochs", "2"]
    options += ["--samples", "16", "--networks", "ECAMobileNetV2 0.5"]
    export_matrix.main([str(output), *options])
    lines = output.read_text("utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ECAMobileNetV2 0.5")]
    cells = [row.strip("| ").split(" | ") for row in rows]
    figures = {row[1]: row[2:] for row in cells[: len(export_matrix.FORMATS)]}
    assert figures.keys() == export_matrix.FORMATS.keys()
    for name in ("SavedModel", "TFLite", "ONNX"):
        size, largest, mean, variation, agreement, *_ = figures[name]
        assert float(size) > 2.5
        assert float(mean) <= float(largest) < 0.01 * float(variation)
        assert float(variation) > 1e-4  # the network answers no constant
        assert agreement == "100.0%"
    assert float(figures["TFLite int8"][0]) < 1.5
    operations = {row[1]: row[2] for row in cells[len(figures) :]}
    assert "17 LOGISTIC" in operations["TFLite"]
    assert "17 LOGISTIC" in operations["TFLite int8"]
    assert "17 Sigmoid" in operations["ONNX"]
