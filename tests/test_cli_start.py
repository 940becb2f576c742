"""The command line as a process: how soon it answers, and what it says."""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import pytest

from eca_keras import cli
from eca_keras.commands import COMMANDS

ROOT = pathlib.Path(__file__).parent.parent
# Says on exit which of the heavy packages were loaded.
WATCHED = (
    "import sys; from eca_keras.cli import main\n"
    "try: code = main(sys.argv[1:])\n"
    "except SystemExit as end: code = end.code\n"
    "heavy = {'keras', 'tensorflow', 'numpy'} & set(sys.modules)\n"
    "assert not heavy, heavy\n"
    "sys.exit(code)"
)


def environment(**changes):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **changes}
    env.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return env


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "eca_keras", *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


QUICK = {
    "version": (["--version"], 0),
    "help": (["--help"], 0),
    "typo": (["trian"], 2),
    "nothing": ([], 2),
    **{name: ([*name.split(), "--help"], 0) for name in COMMANDS},
    "option": (["evaluate", "--epcohs", "3"], 2),
    "choice": (["evaluate", "--split", "dev"], 2),
    "no image": (["predict"], 2),
}


@pytest.mark.parametrize("case", QUICK)
def test_answers_at_once(case):
    arguments, code = QUICK[case]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == code, process.stderr
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1
    for line in (process.stdout + process.stderr).splitlines():
        assert len(line) <= 80 or code, line
    assert bool(process.stdout) == (code == 0)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_row_says_what_is_there(name):
    row = COMMANDS[name]
    assert row.load().__name__ == row.kind
    assert f"  {name:14}{row.summary}" in cli.overview()


def test_a_typo_is_answered_with_the_command_that_was_meant(capsys):
    for typed, meant in {
        "trian": "train",
        "detect trian": "detect train",
        "detect": "detect train",
        "detect evaluate": "evaluate",
        "exprot x.onnx": "export",
    }.items():
        assert cli.main(typed.split()) == 2
        assert f"Did you mean `eca-keras {meant}`?" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, -1])
def test_tensorflow_is_only_heard_with_verbose(place):
    arguments = ["info", "ECAResNet20"]
    quiet = start(*arguments)
    out, err = quiet.communicate(timeout=120)
    assert quiet.returncode == 0
    assert err == ""
    assert "oneDNN" not in out
    arguments.insert(place % 3, "--verbose")
    loud = start(*arguments)
    assert loud.communicate(timeout=120)[0] == out
    assert loud.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.25, 0.6, 1.2, 2.0, 3.0])
def test_interrupted_while_it_loads(seconds):
    process = start("info")
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert err == "eca-keras: interrupted\n"
    assert process.returncode == 130


def test_what_a_failed_import_says_is_shown(tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os\nos.write(2, b'a library is missing\\n')\n"
        "raise ImportError('libcuda.so is broken')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    process = subprocess.run(
        [sys.executable, "-m", "eca_keras", "info"],
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert process.returncode == 2
    assert process.stderr == (
        "a library is missing\neca-keras: libcuda.so is broken\n"
    )
