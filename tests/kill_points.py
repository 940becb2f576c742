"""Stops a training run at random moments and resumes it, many times.

`python tests/kill_points.py FOLDER --count 20` trains a network on digits
without a stop, then again and again with one: SIGKILL and SIGTERM in turn, at
a random time of the training. Each run is resumed with the same command and
has to end with the same weights, bit for bit, and the same history. Exits with
1 if one does not.
"""

import argparse
import csv
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np

EXIT_STOPPED = 75
EPOCHS = 3


def start(output):
    arguments = ["train", "--data", "digits", "--output", str(output)]
    arguments += ["--epochs", str(EPOCHS), "--batch-size", "32"]
    arguments += ["--image-size", "8", "--checkpoint-seconds", "0.3"]
    return subprocess.Popen(
        [sys.executable, "-m", "eca_keras", *arguments, "--export", "--resume"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def result(output):
    """Returns all arrays of the last checkpoint, and the history."""
    path = max((output / "checkpoints").glob("*.npz"))
    with np.load(path) as archive:
        arrays = {x: archive[x] for x in archive.files if x != "facts.json"}
    with (output / "history.csv").open(newline="") as file:
        rows = [list(row.items())[:-2] for row in csv.DictReader(file)]
    return arrays, rows


def equal(one, other):
    arrays, rows = one
    others, other_rows = other
    return rows == other_rows and all(
        np.array_equal(arrays[name], others[name]) for name in arrays
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    reference = options.folder / "reference"
    began = time.monotonic()
    assert start(reference).wait() == 0
    seconds = time.monotonic() - began
    expected = result(reference)
    draw = random.Random(options.seed)
    failures = 0
    for i in range(options.count):
        number = (signal.SIGKILL, signal.SIGTERM)[i % 2]
        output = options.folder / f"run-{i}"
        process = start(output)
        while not (output / "config.json").exists():
            time.sleep(0.01)
        delay = draw.uniform(0, seconds / 2)
        time.sleep(delay)
        process.send_signal(number)
        code = process.wait()
        saved = sorted((output / "checkpoints").glob("*.npz"))
        again = start(output).wait()
        same = again == 0 and equal(result(output), expected)
        failures += not same or code not in (-number, EXIT_STOPPED, 0)
        print(
            f"{i}: {number.name} {delay:.1f} s after the start, exit code "
            f"{code}, newest checkpoint {saved[-1].name if saved else 'none'},"
            f" resumed with exit code {again}, "
            f"{'identical' if same else 'DIFFERENT'}",
            flush=True,
        )
    print(f"{options.count - failures} of {options.count} identical")
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
