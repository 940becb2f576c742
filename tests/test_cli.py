"""The command line, in this process: output and exit codes."""

import contextlib
import io
import json
import pathlib
import re
import signal

import pytest
from PIL import Image

import eca_keras
from eca_keras import cli
from eca_keras import errors
from eca_keras.commands.options import as_typed
from eca_keras.commands.train import Train
from eca_keras.training import TrainConfig
from eca_keras.training.trained import Trained


@pytest.fixture(scope="module")
def printed_run(tmp_path_factory):
    """A run that went through the command line, and what that printed."""
    output = tmp_path_factory.mktemp("cli") / "a run"
    options = ["--epochs", "3", "--batch-size", "64", "--image-size", "8"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert cli.main(["train", *options, "--output", str(output)]) == 0
    return output, printed.getvalue()


@pytest.fixture(scope="module")
def run(printed_run):
    return printed_run[0]


def test_train_says_what_is_next(printed_run):
    output, said = printed_run
    said = said.splitlines()
    assert said[-2:] == [
        f"Next: eca-keras evaluate --model '{output}'",
        f"      eca-keras predict IMAGE --model '{output}'",
    ]
    assert any(re.fullmatch(r"top-1 +\d+\.\d\d%", line) for line in said)
    # Absolute paths of a test may be long; all else fits a terminal.
    assert not [x for x in said if len(x) > 80 and str(output) not in x]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("train --epohcs 3", "no option `--epohcs`. Did you mean `--epochs`?"),
        (
            "train --epochs many",
            "`--epochs` must be an integer. Received: --ep",
        ),
        (
            "train --alpha wide",
            "`--alpha` must be a number. Received: --alpha w",
        ),
        ("train --epochs", "`--epochs` must have a value. See eca-keras train"),
        ("train more", "There is no argument `more`. See eca-keras train --he"),
        ("export", "`OUTPUT` must be given. See eca-keras export --help"),
        ("trian", "no command 'trian'. Did you mean `eca-keras train`?"),
    ],
)
def test_typos_are_one_sentence(arguments, sentence, capsys):
    try:
        code = cli.main(arguments.split())
    except SystemExit as end:
        code = end.code
    assert code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert line.startswith("eca-keras: ")
    assert sentence in line


def test_train_exports(run):
    assert (run / "saved_model" / "saved_model.pb").is_file()
    assert (run / "model.tflite").read_bytes()[4:8] == b"TFL3"


def test_evaluate(run, capsys, tmp_path):
    file = tmp_path / "figures.json"
    assert (
        cli.main(["evaluate", "--model", str(run), "--output", str(file)]) == 0
    )
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(file.read_text())
    recorded = json.loads((run / "metrics.json").read_text())
    assert printed["top1"] == pytest.approx(recorded["top1"], abs=1e-6)


def test_predict(run, capsys, tmp_path):
    sample = Trained.load(run).samples(1)[0]
    path = tmp_path / "digit.png"
    Image.fromarray(sample[..., 0].astype("uint8")).save(path)
    arguments = ["predict", str(path), "--model", str(run), "--top", "2"]
    assert cli.main(arguments) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{path}: ")
    assert line.count("%") == 2


@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_export(run, capsys, tmp_path, format):
    path = tmp_path / "new" / f"digits.{format}"
    arguments = ["export", str(path), "--model", str(run), "--format", format]
    assert cli.main(arguments) == 0
    assert "max absolute error" in capsys.readouterr().out
    assert path.exists()


def test_info(capsys):
    sizes = ["--kernel-size", "1", "3", "5"]
    assert cli.main(["info", "ECAResNet20", *sizes]) == 0
    heading, _, row, *legend = capsys.readouterr().out.splitlines()
    assert heading == "32 x 32 pixels, 10 classes:"
    line = row.split()
    assert line[0] == "ECAResNet20"
    # He et al.'s 269,722 and 3 (1 + 3 + 5) for ECA.
    assert line[1] == "269,749"
    assert line[-3:] == ["1x3", "3x3", "5x3"]
    assert all(len(line) <= 80 for line in [row, *legend])


@pytest.mark.parametrize("sizes", [["1", "3", "5"], ["5"], ["paper"]])
def test_kernel_sizes_before_names(sizes):
    command = cli.parse(["info", "--kernel-size", *sizes, "ECAResNet50"])
    assert command.models == ("ECAResNet50",)
    sizes = tuple(int(size) for size in sizes if size != "paper")
    assert command.kernel_size in (sizes, *sizes, "paper")


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"eca-keras {eca_keras.__version__}\n"


def test_predict_answers_for_the_images_that_it_can_read(run, capsys, tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("L", (8, 8), 99).save(good)
    bad.write_text("no image")
    arguments = ["predict", str(bad), str(good), "--model", str(run)]
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith(f"{good}: ")
    assert f"{bad} is not a readable image" in captured.err
    assert "{{" not in captured.err


def test_unknown_strategy_of_evaluate(run, capsys):
    said = refused(["evaluate", "--model", str(run), "--strategy", "x"], capsys)
    assert "`--strategy` must be one of auto, one-device, mirrored" in said


def test_benchmark(capsys, tmp_path):
    path = tmp_path / "table.csv"
    arguments = ["benchmark", "ECAResNet20", "--output", str(path)]
    arguments += ["--rounds", "2", "--image-size", "16"]
    arguments += ["--batch-sizes", "2", "--training-batch-size", "0"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    rows = [line.split() for line in out.splitlines()[1:3]]
    assert [row[:2] for row in rows] == [
        ["ECAResNet20", "none"],
        ["ECAResNet20", "eca"],
    ]
    assert all(len(line) <= 80 for line in out.splitlines())
    assert len(path.read_text().splitlines()) == 3


def test_config_file_and_overrides(tmp_path):
    path = tmp_path / "config.json"
    values = {"epochs": 7, "kernel_size": [3, 3, 5], "export": ["tflite"]}
    path.write_text(json.dumps(values))
    command = cli.parse(["train", "--config", str(path), "--epochs", "9"])
    assert isinstance(command, Train)
    assert command.epochs == 9
    assert command.kernel_size == [3, 3, 5]
    assert list(command.export) == ["tflite"]
    assert command.batch_size == TrainConfig().batch_size
    options = ["--kernel-size", "paper", "--no-check-images", "--export"]
    command = cli.parse(["train", *options])
    assert command.kernel_size == "paper"
    assert not command.check_images
    assert not command.export


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (
            "`image_size` must be 8. Received: image_size=4",
            "`--image-size` must be 8. Received: --image-size 4",
        ),
        (
            "`kernel_size` is odd. Received: kernel_size=[3, 4]",
            "`--kernel-size` is odd. Received: --kernel-size 3 4",
        ),
        (
            "`momentum` must be positive with nesterov=True",
            "`--momentum` must be positive with --nesterov",
        ),
        ("must be off: xla=False, data='x'", "must be off: --no-xla, --data x"),
        # What is no option, or no name of one, stays.
        ("`images` of `f(x.data=...)`", "`images` of `f(x.data=...)`"),
        ("Received: places=3", "Received: places=3"),
    ],
)
def test_errors_name_the_option_as_typed(text, typed):
    assert as_typed(text, Train) == typed


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["evaluate", "--results", "a.json"], "results"),
        (["predict", "a.png", "--threshold", "0.5"], "threshold"),
        (["predict", "a.png", "--figures", "a"], "figures"),
    ],
)
def test_options_of_a_detector(arguments, option, run, capsys):
    said = refused([*arguments, "--model", str(run)], capsys)
    assert f"`--{option}` is for detectors; {run} holds a classifier" in said
    with_pixels = ["export", "a.onnx", "--sizes", "--model", str(run)]
    assert "must only be given for a detector" in refused(with_pixels, capsys)


@pytest.fixture
def pictures(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    return tmp_path / "pictures"


BAD = {
    "model": (["train", "--model", "ResNet99"], "`--model` must be one of"),
    "data": (["train", "--data", "minst"], "`--data` must be 'digits'"),
    "batch": (
        ["train", "--batch-size", "0"],
        "`--batch-size` must be at least 1",
    ),
    "type": (["train", "--epochs", "many"], "--epochs"),
    "option": (["train", "--epcohs", "3"], "--epcohs"),
    "command": (["trian"], "trian"),
    "nothing": ([], "usage: eca-keras"),
    "diverging": (["train", "--learning-rate", "inf"], "and finite"),
    "seed": (["train", "--seed", "99999999999"], "`--seed` must be at least 0"),
    "strategy": (["train", "--strategy", "gpu"], "`--strategy` must be one of"),
    "no TPU": (["train", "--strategy", "tpu"], "needs a TPU that TensorFlow"),
    "no hosts": (
        ["train", "--strategy", "multi-worker"],
        "needs the variable TF_CONFIG",
    ),
    "recipe": (
        ["train", "--recipe", "papr"],
        "`--recipe` must be one of small",
    ),
    "no kernels": (
        ["train", "--recipe", "paper-resnet", "--data", "digits"]
        + ["--model", "ECAResNet20"],
        "No kernel sizes were released for ECAResNet20",
    ),
    "no size": (["info", "ECAResNet20", "--image-size", "0"], "Input size"),
    "no classes": (
        ["info", "ECAResNet20", "--classes", "0"],
        "`--classes` must",
    ),
    "no folder": (["train", "--data", "folder:/no"], "an existing folder"),
    "no config": (["train", "--config", "/no/such.json"], "/no/such.json"),
    "no run": (["evaluate", "--model", "/no/run"], "no trained model"),
    "split": (["evaluate", "--split", "dev"], "`--split` must be one of"),
    "no image": (["predict"], "at least one image file"),
    "format": (["export", "x", "--format", "coreml"], "`--format` must be one"),
    "zoo": (["info", "VGG16"], "`MODELS` must be one of"),
    "rounds": (
        ["benchmark", "ECAResNet20", "--rounds", "0"],
        "`--rounds` must be a positive integer",
    ),
}


def refused(arguments, capsys):
    """Runs the command, expects exit code 2, returns what it said."""
    try:
        code = cli.main(arguments)
    except SystemExit as error:  # the parser's own way
        code = error.code
    assert code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, sentence = BAD[case]
    assert sentence in refused(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_folder_without_images(pictures, capsys):
    said = refused(["train", "--data", f"folder:{pictures}"], capsys)
    assert "cat has no images" in said


def test_folder_with_one_unreadable_image(pictures, capsys):
    for name in ("cat", "dog"):
        for i in range(3):
            Image.new("RGB", (9, 9), (i, 9, 9)).save(
                pictures / name / f"{i}.png"
            )
    (pictures / "dog" / "broken.png").write_bytes(b"\x89PNG\r\n")
    said = refused(["train", "--data", f"folder:{pictures}"], capsys)
    assert f"{pictures}/dog/broken.png is not a readable image" in said


def test_output_that_is_a_file(capsys, tmp_path):
    file = tmp_path / "results"
    file.write_text("precious")
    said = refused(["train", "--output", str(file)], capsys)
    assert "`--output` must be a folder, but there is a file at" in said
    assert file.read_text() == "precious"


@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"epcohs": 3}', '{"epochs": "3"}']
)
def test_bad_config_file(content, capsys, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(content)
    assert str(path) in refused(["train", "--config", str(path)], capsys)


def test_dry_run(capsys, tmp_path):
    output = tmp_path / "run"
    arguments = ["train", "--dry-run", "--output", str(output)]
    assert cli.main([*arguments, "--recipe", "small", "--epochs", "5"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"(?m)^steps +100$", said)
    assert re.search(r"(?m)^memory per replica, estimated +0\.\d", said)
    assert not output.exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Interrupted("saved", signal.SIGTERM), 75),
        (errors.Interrupted("saved", None), 75),
        (errors.Interrupted("saved", signal.SIGINT), 130),
        (errors.WorkerLost("gone"), 69),
        (errors.Diverged("nan"), 1),
        (OSError(28, "Could not write x: No space left on device"), 2),
    ],
)
def test_exit_codes(error, code, monkeypatch, capsys):
    def run(self):
        raise error

    monkeypatch.setattr(Train, "run", run)
    assert cli.main(["train"]) == code
    said = str(error).removeprefix("[Errno 28] ")
    assert capsys.readouterr().err == f"eca-keras: {said}\n"


@pytest.mark.parametrize("format", ["saved_model", "tflite"])
@pytest.mark.parametrize("place", ["/proc/no/place", "file/inside"])
def test_export_to_a_place_that_cannot_be_written(
    run, capsys, tmp_path, place, format
):
    (tmp_path / "file").write_text("precious")
    path = tmp_path / place / "model.tflite"  # an absolute place stays so
    said = refused(
        ["export", str(path), "--model", str(run), "--format", format], capsys
    )
    assert "model.tflite" in said or "/proc" in said or "file" in said
    assert (tmp_path / "file").read_text() == "precious"
    assert [p.name for p in pathlib.Path(tmp_path).iterdir()] == ["file"]


def test_export_to_a_wrong_name(run, capsys, tmp_path):
    path = tmp_path / "model.bin"
    said = refused(["export", str(path), "--model", str(run)], capsys)
    assert "`OUTPUT` must end in .tflite" in said
