"""Opens every file of `hostile_keras` in one process and reports on each.

A program of its own, for its memory: `python hostile_keras_checks.py FOLDER`
prints a JSON object from the name of a case to what happened.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import sys

import hostile_files
import hostile_keras
import numpy as np
from PIL import Image

import eca_keras
from eca_keras import cli
from eca_keras.applications import ECAResNet20
from eca_keras.applications.image_settings import Preprocessing

COMMANDS = ("evaluate", "predict", "export", "card", "visualize")
# What a file must not cause, by the names of Python's audit events.
FORBIDDEN = {
    "exec.dangerous",
    "marshal.loads",
    "os.putenv",
    "os.system",
    "pickle.find_class",
    "socket.connect",
    "subprocess.Popen",
    "urllib.Request",
}


def memory(key):
    """Memory of this process in MB: `VmRSS` now, `VmHWM` at most."""
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{key}:\s+(\d+) kB", text)[1]) / 1024


def forget_peak():
    pathlib.Path("/proc/self/clear_refs").write_text("5")


class Watch:
    """Notes what is called and which of our two files are opened."""

    def __init__(self, folder):
        self.names = (hostile_keras.CANARY, hostile_keras.SECRET)
        self.folder = str(folder)
        self.on = False
        self.seen = []
        sys.addaudithook(self.note)

    def note(self, event, arguments):
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append(event)
        elif event == "open" and str(arguments[0]).endswith(self.names):
            self.seen.append(f"open {arguments[0]}")

    def during(self, function, *arguments):
        """Call a function; return the words of its error, and new events."""
        self.seen, self.on = [], True
        try:
            function(*arguments)
            error = None
        except eca_keras.weights.CheckpointError as caught:
            error = str(caught)
        except BaseException as caught:
            error = f"{type(caught).__name__}, which is no sentence: {caught}"
        finally:
            self.on = False
        return error, self.seen


def command(name, run, image):
    options = {
        "predict": [str(image), "--model", str(run)],
        "export": [str(run / "out.tflite"), "--model", str(run)],
        "visualize": [str(run)],
    }
    words = [name, *options.get(name, ["--model", str(run)])]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    return [code, out.getvalue(), err.getvalue()]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def main(folder):
    folder = pathlib.Path(folder)
    outside, run = folder / "outside", folder / "run"
    for each in (outside, run):
        each.mkdir()
    secret = outside / hostile_keras.SECRET
    secret.write_text("the secret that nothing may read\n")
    image = outside / "image.png"
    Image.fromarray(np.zeros((4, 4, 3), "uint8")).save(image)
    settings = Preprocessing(("a", "b", "c"), 4, 3, 1.0)
    settings.save(run)
    path = run / "model.keras"
    os.chdir(outside)
    network = ECAResNet20(input_shape=(8, 8, 3))
    watch = Watch(folder)

    hostile_files.base_model().save(path)
    good, _ = watch.during(eca_keras.load_model, path)
    report = {"": {"python": good}}
    command("predict", run, image)
    for number, (name, write) in enumerate(hostile_keras.CASES.items()):
        path.unlink(missing_ok=True)
        write(path, outside)
        before = files(folder)
        forget_peak()
        resting = memory("VmRSS")
        python, events = watch.during(eca_keras.load_model, path)
        weights, more = watch.during(eca_keras.weights.load_into, network, path)
        chosen = COMMANDS if number == 0 else ("predict",)
        lines = [command(each, run, image) for each in chosen]
        report[name] = {
            "python": python,
            "weights": weights,
            "lines": lines,
            "events": events + more,
            "files": sorted(set(files(folder)) ^ set(before)),
            "memory": memory("VmHWM") - resting,
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
