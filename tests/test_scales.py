"""Layers that are silent on the images of the calibration."""

import keras
import numpy as np
import pytest
from keras import layers

import eca_keras
from eca_keras.export import ExportMismatch
from eca_keras.export.tflite import scales

RNG = np.random.default_rng(3)
IMAGES = RNG.uniform(0, 1, (160, 8, 8, 3)).astype("float32")
SEED = 3


def silent_gate(shift, follow=layers.Identity):
    """A network with a gate whose hidden units see -`shift` and more.

    With 0 they are silent: what they get is never positive.
    """
    # Of its own: what else has run must not matter.
    rng = np.random.default_rng(SEED)
    image = keras.Input((8, 8, 3))
    maps = layers.Conv2D(8, 3, name="maps", use_bias=False)(image)
    means = layers.GlobalAveragePooling2D()(layers.ReLU()(maps))
    hidden = layers.Dense(4, use_bias=False, activation="relu", name="hidden")
    open_ = layers.Dense(8, activation="sigmoid", name="open")
    gate = open_(follow()(hidden(means)))
    top = layers.Dense(5, name="top")
    model = keras.Model(image, top(layers.Multiply()([means, gate])))
    for name in ("maps", "top"):
        layer = model.get_layer(name)
        weights = [rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()]
        layer.set_weights(weights)
    hidden.set_weights([-rng.uniform(0.1, 1, (8, 4)) + shift])
    open_.set_weights([rng.normal(size=(4, 8)), rng.normal(size=8)])
    return model


def export(model, path):
    return eca_keras.export_tflite(
        model,
        path,
        quantize="int8",
        samples=IMAGES,
        representative=IMAGES,
        least_agreement=0.9,
    )


@pytest.mark.slow
@pytest.mark.parametrize("follow", [layers.Identity, layers.Flatten])
def test_a_silent_layer_does_not_stop_int8(follow, tmp_path, monkeypatch):
    report = export(silent_gate(0, follow), tmp_path / "silent.tflite")
    [note] = [note for note in report.notes if "scale" in note]
    assert note.startswith("1 layer had outputs next to 0")
    assert report.passed
    file = (tmp_path / "silent.tflite").read_bytes()
    assert scales.widen(file) == (file, 0)
    # The bias behind the silent layer is what opens the gate.
    monkeypatch.setattr(scales._Graph, "rescale_bias", lambda *_: None)
    with pytest.raises(ExportMismatch):
        export(silent_gate(0, follow), tmp_path / "wrong.tflite")


def test_a_layer_that_speaks_stays_as_it_is(tmp_path, monkeypatch):
    seen = []
    widen = scales.widen

    def recorded(content):
        changed, widened = widen(content)
        seen.append((bytes(content) == changed, widened))
        return changed, widened

    monkeypatch.setattr(scales, "widen", recorded)
    report = export(silent_gate(1), tmp_path / "model.tflite")
    assert seen == [(True, 0)]
    assert not any("scale" in note for note in report.notes)
