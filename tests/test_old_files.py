"""Models that earlier versions saved still load, as they were."""

import io
import json
import pathlib
import zipfile

import h5py
import keras
import numpy as np
import pytest

import eca_keras.applications.detection
from eca_keras.applications.detection.detector import renamed

OLD = pathlib.Path(__file__).parent / "old_runs"


def archive(name):
    """Return the config and the arrays of a `.keras` file, without Keras."""
    with zipfile.ZipFile(OLD / name / "model.keras") as file:
        config = json.loads(file.read("config.json"))["config"]
        weights = io.BytesIO(file.read("model.weights.h5"))
    arrays = []
    with h5py.File(weights) as file:
        file.visititems(
            lambda path, found: (
                arrays.append(found[()])
                if isinstance(found, h5py.Dataset) and "optimizer" not in path
                else None
            )
        )
    return config, arrays


def plain(config):
    """Leave out the numbers that Keras gives objects while it saves."""
    if isinstance(config, list):
        return [plain(each) for each in config]
    if not isinstance(config, dict):
        return config
    return {k: plain(v) for k, v in config.items() if k != "shared_object_id"}


def ordered(arrays):
    arrays = map(np.asarray, arrays)
    return sorted((array.shape, array.tobytes()) for array in arrays)


@pytest.mark.parametrize("name", ["classifier", "detector"])
def test_old_files_load_as_they_were(name):
    assert eca_keras.applications.detection.RetinaNet  # Keras has to know it
    model = keras.models.load_model(OLD / name / "model.keras", compile=False)
    config, arrays = archive(name)
    assert len(arrays) > 50
    assert ordered(model.weights) == ordered(arrays)
    if name == "detector":
        assert "fixed_statistics" in config
        config = renamed(config)
        assert model.frozen_batchnorm is config["frozen_batchnorm"] is True
    new = keras.saving.serialize_keras_object(model)["config"]
    assert plain(json.loads(json.dumps(new))) == plain(config)
    images = np.random.default_rng(0).uniform(size=(1, *model.input_shape[1:]))
    outputs = keras.tree.flatten(model(images.astype("float32")))
    assert all(np.isfinite(output).all() for output in outputs)
