"""What goes wrong with an export is one sentence, code 2 and no files."""

import errno
import os
import re
import subprocess

import keras
import numpy as np
import pytest
from export_models import content
from export_models import randomised
from keras import layers

import eca_keras
from eca_keras import cli
from eca_keras.applications.image_settings import Preprocessing

SETTINGS = Preprocessing(
    labels=("a", "b", "c"),
    image_size=8,
    channels=3,
    crop_fraction=1.0,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
NAMES = {"saved_model": "net", "tflite": "net.tflite", "onnx": "net.onnx"}


def classifier(change=lambda x: x, width=8):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(width, 3, activation="relu")(inputs)
    x = eca_keras.ECA()(change(x))
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    return randomised(keras.Model(inputs, layers.Softmax()(x)))


def of_erfinv(x):
    return keras.ops.erfinv(x / 100)


@pytest.fixture
def folder(tmp_path):
    """Where the model is."""
    (tmp_path / "run").mkdir()
    SETTINGS.save(tmp_path / "run")
    return tmp_path / "run"


def refused(capfd, folder, output, *options):
    """Exports, checks the manner of the refusal, and returns its sentence."""
    capfd.readouterr()
    command = ["export", str(output), "--model", str(folder), *options]
    assert cli.main(command) == cli.EXIT_BAD_INPUT
    captured = capfd.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("eca-keras: ")
    assert "Traceback" not in line
    return line


@pytest.mark.slow
def test_it_works_without_a_fault(folder, tmp_path):
    classifier().save(folder / "model.keras")
    for format, name in NAMES.items():
        command = ["export", str(tmp_path / name), "--model", str(folder)]
        assert cli.main([*command, "--format", format]) == 0


def corrupted(path):
    classifier().save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def words(path):
    path.write_text("words")


def with_lambda(path):
    classifier(layers.Lambda(lambda x: x + 1)).save(path)


class Unknown(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def with_a_layer_of_another_program(path):
    classifier(Unknown()).save(path)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (corrupted, "Cannot load '.*': it is a truncated or damaged zip"),
        (words, "Cannot load '.*': it is neither a .keras archive nor"),
        (with_lambda, "names keras.layers.Lambda .*pass `?--trust"),
        (with_a_layer_of_another_program, "names .*Unknown .*closed list"),
    ],
)
def test_models_that_cannot_be_read(write, reason, folder, tmp_path, capfd):
    write(folder / "model.keras")
    line = refused(capfd, folder, tmp_path / "out" / "net.tflite")
    assert re.search(reason, line), line
    assert not (tmp_path / "out").exists()


def test_a_model_without_preprocessing(tmp_path, capfd):
    classifier().save(tmp_path / "other.keras")
    before = content(tmp_path)
    line = refused(capfd, tmp_path / "other.keras", tmp_path / "net.tflite")
    assert "no preprocessing.json or detection.json beside" in line
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("format", "sentence"),
    [
        ("tflite", "`--model` must have operations that TFLite has built in"),
        ("onnx", "`--model` must have operations that ONNX has"),
    ],
)
def test_unknown_operation(format, sentence, folder, tmp_path, capfd):
    classifier(of_erfinv).save(folder / "model.keras")
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / NAMES[format]
    line = refused(capfd, folder, output, "--format", format)
    assert sentence in line
    assert "rfinv" in line  # the operation's name
    assert not os.listdir(tmp_path / "out")


def test_int8_without_images(folder, tmp_path, capfd):
    classifier().save(folder / "model.keras")
    (tmp_path / "out").mkdir()
    output = tmp_path / "out" / "net.tflite"
    line = refused(capfd, folder, output, "--quantize", "int8")
    assert "`--quantize int8` needs images to learn ranges from" in line
    assert not os.listdir(tmp_path / "out")


@pytest.mark.parametrize("format", NAMES)
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_folder_that_is_read_only(
    number, format, folder, tmp_path, capfd, monkeypatch
):
    """As the OS says it: to root, who may run this, it seldom does."""
    classifier().save(folder / "model.keras")
    (tmp_path / "out").mkdir()
    mkdir = os.mkdir

    def refuse(path, *arguments, **options):
        if str(path).startswith(str(tmp_path / "out")):
            raise OSError(number, os.strerror(number), path)
        return mkdir(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", refuse)
    output = tmp_path / "out" / NAMES[format]
    line = refused(capfd, folder, output, "--format", format)
    assert f"Could not write {output}: {os.strerror(number)}" in line
    assert not os.listdir(tmp_path / "out")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a quarter of a MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("format", NAMES)
def test_no_space(format, folder, tmp_path, capfd, small_disk):
    classifier(layers.Conv2D(256, 3), width=64).save(folder / "model.keras")
    (small_disk / "words.txt").write_text("words")
    output = small_disk / NAMES[format]
    line = refused(capfd, folder, output, "--format", format)
    assert f"Could not write {output}: No space left on device" in line
    assert content(small_disk) == {"words.txt": b"words"}
    # What fits is written afterwards.
    (folder / "model.keras").unlink()
    classifier().save(folder / "model.keras")
    command = ["export", str(output), "--model", str(folder)]
    assert cli.main([*command, "--format", format]) == 0


@pytest.mark.slow
def test_read_only_file_system(folder, capfd, small_disk):
    classifier().save(folder / "model.keras")
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    output = small_disk / "net.tflite"
    line = refused(capfd, folder, output)
    assert f"Could not write {output}: Read-only file system" in line


def test_a_file_that_litert_cannot_run(folder, tmp_path, capfd, monkeypatch):
    """Seen with an integer file of a network whose activations had exploded."""
    from ai_edge_litert import interpreter

    def refuse(self):
        raise RuntimeError("node 156 failed to prepare")

    monkeypatch.setattr(interpreter.Interpreter, "allocate_tensors", refuse)
    classifier().save(folder / "model.keras")
    (tmp_path / "out").mkdir()
    command = ["export", str(tmp_path / "out" / "net.tflite")]
    capfd.readouterr()
    assert cli.main([*command, "--model", str(folder)]) == cli.EXIT_WRONG_RESULT
    [line] = capfd.readouterr().err.splitlines()
    assert "LiteRT cannot run the TFLite file, which was not kept: node" in line
    assert not os.listdir(tmp_path / "out")


@pytest.mark.parametrize(
    "images", [np.zeros((0, 8, 8, 3)), np.zeros((4, 9, 8, 3)), np.zeros(3)]
)
def test_wrong_representative_images(images, tmp_path):
    with pytest.raises(ValueError, match="`representative` must have the sh"):
        eca_keras.export_tflite(
            classifier(),
            tmp_path / "net.tflite",
            quantize="int8",
            representative=images,
        )
    assert not os.listdir(tmp_path)
