"""`eca-keras samples`."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from eca_keras.cli import main
from eca_keras.training import load_source


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "new"
    main(["samples", str(folder), "--images", "3"])
    return folder


def test_digits_are_in_the_folder_of_their_class(samples):
    digits = load_digits()
    for label in range(10):
        paths = sorted((samples / "digits" / str(label)).iterdir())
        assert [path.name for path in paths] == ["0.png", "1.png", "2.png"]
        known = digits.images[digits.target == label]
        for path in paths:
            image = np.asarray(Image.open(path)) * (16 / 255)
            assert np.abs(known - image).max((1, 2)).min() < 0.05


def test_digits_are_data_and_no_network_is_trained_on_them(samples):
    source = load_source(f"folder:{samples / 'digits'}", 0.34)
    assert source.class_names == tuple("0123456789")
    given = load_source("digits")
    trained = {
        image.tobytes()
        for split in (given.train, given.validation)
        for image, _ in split.dataset.as_numpy_iterator()
    }
    for path in (samples / "digits").rglob("*.png"):
        assert np.asarray(Image.open(path)).tobytes() not in trained


def test_shapes(samples):
    paths = sorted((samples / "shapes").iterdir())
    assert [path.name for path in paths] == ["0.png", "1.png", "2.png"]
    images = [np.asarray(Image.open(path)) for path in paths]
    assert {image.shape for image in images} == {(128, 128, 3)}
    assert len({image.tobytes() for image in images}) == 3


def test_what_is_in_the_folder_stays(samples, capsys):
    before = sorted(samples.rglob("*"))
    assert main(["samples", str(samples)]) == 2
    assert "must be new, an empty folder" in capsys.readouterr().err
    assert sorted(samples.rglob("*")) == before
