"""`insert_attention` on every family of keras.applications."""

import inspect

import keras
import numpy as np
import pytest
from surgery_families import CALIBRATION
from surgery_families import FAMILIES
from surgery_families import added
from surgery_families import build
from surgery_families import calibrate
from surgery_families import exact_answers
from surgery_families import images

from eca_keras import export_tflite
from eca_keras import insert_attention

FAST = ("MobileNet",)

# A file may be off from what is exact by four times as much as its model in
# float32, for LiteRT adds up in another order: from the model by five times.
ROUNDINGS = 5

every_family = pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in FAMILIES
    ],
)


def test_the_table_has_every_family():
    modules = {
        name
        for name, value in vars(keras.applications).items()
        if inspect.ismodule(value) and not name.endswith("_utils")
    }
    builders = [getattr(keras.applications, name) for name in FAMILIES]
    named = {each.__module__.rpartition(".")[2] for each in builders}
    # `resnet50` is a second name of a part of `resnet`.
    assert modules - {"resnet50"} == named


def check_step(model, new, x):
    """One training step changes every weight of the layers `new`."""
    before = [layer.get_weights() for layer in new]
    model.compile(keras.optimizers.SGD(1e-4), "mse", run_eagerly=True)
    model.train_on_batch(x, np.ones((len(x), 10), "float32"))
    for layer, old in zip(new, before, strict=True):
        for one, other in zip(old, layer.get_weights(), strict=True):
            assert np.isfinite(other).all()
            assert (one != other).all(), layer.name


@pytest.mark.slow
@every_family
def test_family(name, tmp_path):
    family = FAMILIES[name]
    given, x = build(name), images(name)
    before = np.asarray(given(x))
    assert before.std(0).max() > 1e-3 * np.abs(before).max()
    if not family.residual:
        with pytest.raises(ValueError, match="There is no residual add"):
            insert_attention(given)
    for where in ("stage", "residual")[: 1 + bool(family.residual)]:
        model = insert_attention(given, where=where, identity_start=True)
        new = added(model, given)
        assert len(new) == getattr(family, where)
        for layer in given.layers:
            weights = model.get_layer(layer.name).get_weights()
            for pair in zip(layer.get_weights(), weights, strict=True):
                np.testing.assert_array_equal(*pair)
        largest = np.abs(before).max()
        np.testing.assert_allclose(
            np.asarray(model(x)), before, rtol=0, atol=1e-6 * largest
        )
    fresh = model.get_weights()
    check_step(model, new, x)
    # Back, for the step may have been a large one, and on with gates that
    # are not 1, so that they show.
    model.set_weights(fresh)
    rng = np.random.default_rng(1)
    for layer in new:
        layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    calibrate(model, images(name, CALIBRATION))
    after = np.asarray(model(x))
    file = tmp_path / "net.keras"
    model.save(file)
    loaded = keras.models.load_model(file, compile=False)
    largest = np.abs(after).max()
    np.testing.assert_allclose(
        np.asarray(loaded(x)), after, rtol=0, atol=1e-6 * largest
    )
    # Random weights damp no rounding errors, so that no constant fits all.
    rounding = np.abs(exact_answers(loaded, file, x) - after).max()
    tolerance = max(1e-5, float(ROUNDINGS * rounding / max(1, largest)))
    assert tolerance < 5e-4
    # A file without the attention would not pass.
    shown = np.abs(after - before).max() / max(1, largest)
    assert shown > max(1e-2, 100 * tolerance)
    report = export_tflite(
        loaded, tmp_path / "net.tflite", samples=x, tolerance=tolerance
    )
    print(f"{report}, rounding {rounding:.1e}")
    assert report.varies
