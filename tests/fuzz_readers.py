"""Feeds damaged files to every reader of checkpoints and model files.

A reader may load a file or refuse it with an InputError, within a second of the
some memory; anything else is a finding and is kept with its traceback.

    python tests/fuzz_readers.py --inputs 1000000 --processes 2 --findings DIR

Files are made from good ones by changing bytes, and, so that most of them get
past check sums and headers, by changing what is in an archive, or values in
its JSON, before it is put together. The same seed makes the same files.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import faulthandler
import io
import json
import multiprocessing
import os
import pathlib
import random
import resource
import signal
import struct
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable

import hostile_files
import numpy as np
import torch_writer

from eca_keras.errors import InputError
from eca_keras.weights import keras_archive
from eca_keras.weights import keras_config
from eca_keras.weights import keras_hdf5
from eca_keras.weights import keras_models
from eca_keras.weights.reading import open_checkpoint
from eca_keras.weights.tensors import Opaque

SECONDS = 1.0  # of the CPU, for one file
MEGABYTES = 200  # more than after the first files
# Code in C does not hear the alarm of a second: the program ends when a
# hundred files take so long.
STUCK = 300
STEP = 500  # files between two looks at the memory
JSON = "the whole file"
NUMBERS = (0, 1, 127, 128, 255, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1)


class Hang(BaseException):
    """A reader takes too long; no `except Exception` gets it."""


def change_bytes(rng, data, others):
    """Return `data` with one to four changes."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        size = min(rng.choice((1, 1, 2, 4, 8, 64, 1024)), len(data) - at)
        part = slice(at, at + size)
        match rng.randrange(7):
            case 0:
                data[part] = rng.randbytes(size)
            case 1:
                del data[part]
            case 2:
                data[at:at] = data[part] * rng.choice((1, 2, 100))
            case 3 if size:
                data[at] ^= 1 << rng.randrange(8)
            case 4:
                number = struct.pack("<Q", rng.choice(NUMBERS))
                data[part] = number[: size or 8]
            case 5:
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                data[part] = other[start : start + size]
            case 6:
                del data[at:]
    return bytes(data)


def places(value):
    """Return every place in a JSON value, as its container and its key."""
    keys = {dict: value, list: range(len(value)) if value else ()}
    found = [(value, key) for key in keys.get(type(value), ())]
    for container, key in list(found):
        if isinstance(container[key], (dict, list)):
            found += places(container[key])
    return found


def change_json(rng, value, words):
    """Change one to four values of a JSON document in place."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        container, key = rng.choice(places(value))
        other, other_key = rng.choice(places(value))
        match rng.randrange(6):
            case 0:
                container[key] = rng.choice(
                    (None, True, -1, 1e308, "", [], {}, *NUMBERS)
                )
            case 1:
                container[key] = rng.choice(words)
            case 2:
                container[key] = json.loads(json.dumps(other[other_key]))
            case 3:
                container.pop(key)
                if not value:
                    return
            case 4 if isinstance(container, dict):
                container[rng.choice(words)] = container.pop(key)
            case 5:
                container[key] = [container[key]] * rng.choice((1, 2, 50))


def changed_json(rng, data, words):
    value = json.loads(data)
    change_json(rng, value, words)
    return json.dumps(value).encode()


def zipped(members):
    with io.BytesIO() as buffer:
        hostile_files.write_zip(buffer, members)
        return buffer.getvalue()


def unzipped(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_checkpoint(path):
    with open_checkpoint(path) as state:
        for tensor in state.tensors.values():
            if not isinstance(tensor, Opaque):
                tensor.read()


def read_archive(path):
    with (
        keras_models.told(path),
        keras_archive.copied(path) as copy,
        keras_hdf5.open_file(copy.weights) as (_, tree),
    ):
        config = copy.config or tree.config
        if config is not None:
            keras_config.admit(keras_config.parse(config))


def read_config(path):
    keras_config.admit(keras_config.parse(pathlib.Path(path).read_bytes()))


def read_hdf5(path):
    with keras_models.told(path), keras_hdf5.open_file(path) as (file, tree):
        for name in tree.shapes:
            file[name][()]


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader, good files for it, and the part of them to change."""

    read: Callable
    seeds: list[bytes]
    member: str | None = None  # ends so, in a zip archive; or JSON
    weight: int = 1  # how often it is chosen

    def make(self, rng, words):
        seed = rng.choice(self.seeds)
        if self.member is None or rng.random() < 0.1:
            return change_bytes(rng, seed, self.seeds)
        if self.member is JSON:
            return changed_json(rng, seed, words)
        members = unzipped(seed)
        [name] = [each for each in members if each.endswith(self.member)]
        if name.endswith(".json"):
            members[name] = changed_json(rng, members[name], words)
        else:
            others = list(members.values())
            members[name] = change_bytes(rng, members[name], others)
        return zipped(members)


def checkpoint(legacy):
    state = {
        f"layer{i}.weight": np.arange(6, dtype=dtype).reshape(2, 3)
        for i, dtype in enumerate(("float32", "float16", "int64"))
    }
    saved = {"epoch": 3, "arch": "net", "state_dict": state}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a")
        torch_writer.save(saved, path, legacy=legacy)
        return path.read_bytes()


def tensors():
    header = {
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        "__metadata__": {"format": "pt"},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(32)


def legacy_keras():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a.h5")
        hostile_files.base_model().save(path)
        return path.read_bytes()


def targets():
    good = hostile_files.base_members()
    model, weights = zipped(good), good["model.weights.h5"]
    config = good["config.json"]
    load = keras_models.load_model
    return {
        "pickle in zip": Target(
            read_checkpoint, [checkpoint(False)], "data.pkl", 24
        ),
        "pickle": Target(read_checkpoint, [checkpoint(True)], None, 24),
        "safetensors": Target(read_checkpoint, [tensors()], None, 24),
        "keras config": Target(read_config, [config], JSON, 24),
        "keras archive": Target(read_archive, [model], None, 4),
        "keras HDF5": Target(read_hdf5, [weights, legacy_keras()], None, 4),
        "keras model": Target(load, [model], "config.json"),
    }


@contextlib.contextmanager
def limited_time():
    def late(*_):
        raise Hang

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attempt(read, path):
    """Return what became of a file: a word, or a traceback."""
    try:
        with limited_time():
            read(path)
    except InputError as error:
        if "\n" in str(error):
            return f"a refusal in several lines: {error}"
        return "refused"
    except BaseException:
        return traceback.format_exc()
    return "accepted"


def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(inputs, seed=0, findings=None, chosen=()):
    """Try so many files, and return counts by target and outcome."""
    rng = random.Random(seed)
    table = targets()
    names = list(chosen or table)
    weights = [table[name].weight for name in names]
    words = sorted(
        {"class_name", "config", "module", "registered_name", "Lambda", "Add"}
        | {"function", "builtins", "keras.layers", "os.system", "vocabulary"}
    )
    counts = collections.Counter()
    with tempfile.TemporaryDirectory(dir=_shared_memory()) as folder:
        # Where it is found again if the program ends.
        path = os.path.join(findings or folder, f"{seed}-input")
        before = None
        for number in range(inputs):
            if number % 100 == 0:  # it starts a thread
                faulthandler.dump_traceback_later(STUCK, exit=True)
            [name] = rng.choices(names, weights)
            data = table[name].make(rng, words)
            pathlib.Path(path).write_bytes(data)
            outcome = attempt(table[name].read, path)
            if number % STEP == STEP - 1:
                before = memory() if before is None else before
                if memory() - before > MEGABYTES:
                    outcome = f"{memory() - before:.0f} MB more"
                    before = memory()
            if outcome not in ("accepted", "refused"):
                keep(findings, f"{seed}-{number}", name, data, outcome)
                outcome = "finding"
            counts[name, outcome] += 1
    faulthandler.cancel_dump_traceback_later()
    return counts


def _shared_memory():
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def keep(folder, number, name, data, outcome):
    if folder is not None:
        stem = pathlib.Path(folder, f"{number}-{name.replace(' ', '-')}")
        stem.with_suffix(".bin").write_bytes(data)
        stem.with_suffix(".txt").write_text(outcome)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=pathlib.Path)
    parser.add_argument("--targets", nargs="*", default=())
    options = parser.parse_args()
    if options.findings:
        options.findings.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    each = options.inputs // options.processes
    parts = [
        (each, options.seed + i, options.findings, options.targets)
        for i in range(options.processes)
    ]
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        options.processes, spawn
    ) as pool:
        counts = sum(
            pool.map(fuzz, *zip(*parts, strict=True)), collections.Counter()
        )
    for (name, outcome), count in sorted(counts.items()):
        print(f"{name}: {count:,} {outcome}")
    seconds = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = usage.ru_utime + usage.ru_stime
    print(f"{sum(counts.values()):,} files in {seconds:.0f} s, {cpu:.0f} s CPU")


if __name__ == "__main__":
    main()
