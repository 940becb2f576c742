"""The runs of studies, one after the other, each of them resumable."""

import contextlib
import csv
import dataclasses
import datetime
import gc
import math
import pathlib
import platform
import shutil
import time

import keras
import tensorflow as tf

from eca_keras.applications.image_settings import Preprocessing
from eca_keras.errors import Diverged
from eca_keras.errors import InputError
from eca_keras.errors import Interrupted
from eca_keras.profiling.counts import profile
from eca_keras.training.classification.model import build_classifier
from eca_keras.training.config import deciding
from eca_keras.training.run.loop import train
from eca_keras.training.study.records import Records
from eca_keras.training.study.records import Result
from eca_keras.training.study.records import name_of
from eca_keras.utils.keras_graph import kernel_sizes
from eca_keras.version import __version__


def config_of(row, base, seed):
    """Returns the `TrainConfig` of a row and a seed.

    Args:
        row: `Row`.
        base: `TrainConfig` that the rows change.
        seed: Integer.
    """
    return dataclasses.replace(base, **row.changes, seed=seed, export=())


def queue(studies, seeds):
    """Returns the runs of some studies, each of them once.

    Every row has its first seed before one has its second, so that a study
    that is stopped early has compared all of them alike.

    Args:
        studies: Pairs of a `Study` and the `TrainConfig` that its rows
            change.
        seeds: Integers.

    Returns:
        Dictionary from the names of the runs to their `TrainConfig`s.
    """
    configs = (
        config_of(row, base, seed)
        for seed in seeds
        for study, base in studies
        for row in study.rows
    )
    return {name_of(config): config for config in configs}


class Runner:
    """Trains what is missing in a folder.

    A finished run leaves a file in `results`, and nothing else. A stopped one
    leaves its folder in `work`, where it goes on. Several processes may work
    in the same folder: each takes runs that no other one is at.

    Args:
        folder: Folder of the studies.
        say: Function that is called with sentences.
        verbose: As in `train`.
    """

    def __init__(self, folder, say=print, verbose=0):
        self.folder = pathlib.Path(folder)
        self.records = Records(self.folder / "results")
        self.say = say
        self.verbose = verbose

    def run(self, runs, minutes=None, limit_runs=None):
        """Trains the runs that have no result yet.

        Args:
            runs: As returned by `queue`.
            minutes: No run begins after that many.
            limit_runs: No more than this many runs are trained.

        Returns:
            Number of runs that have no result.

        Raises:
            InputError: if a setting cannot be used or a result is damaged.
            Interrupted: if a signal asked to stop.
        """
        began = time.monotonic()
        missing = self._missing(runs)
        self.say(
            f"{len(runs) - len(missing)} of {len(runs)} runs have a result "
            f"in {self.records.folder}"
        )
        limit = len(missing) if limit_runs is None else limit_runs
        done = elsewhere = 0
        for name, config in missing.items():
            spent = time.monotonic() - began
            late = minutes is not None and spent >= 60 * minutes
            if done >= limit or late:
                break
            result = self._attempt(name, config)
            if result is None:
                elsewhere += 1
                continue
            done += 1
            left = min(limit, len(missing) - elsewhere) - done
            left *= (time.monotonic() - began) / done
            self.say(
                f"{_row(config)}, seed {config.seed}: {_figures(result)}, "
                f"{result.seconds:.0f} s; "
                f"{datetime.timedelta(seconds=round(left))} left"
            )
        if elsewhere:
            self.say(
                f"{elsewhere} of {len(runs)} runs "
                f"{'was' if elsewhere == 1 else 'were'} left to another "
                "process"
            )
        return len(self._missing(runs))

    def _missing(self, runs):
        """Returns the runs without a result, and tidies up after the others."""
        missing = {}
        for name, config in runs.items():
            work = self.folder / "work" / name
            if self.records.load(config) is None:
                missing[name] = config
            elif work.exists():
                with _claimed(work) as mine:
                    if mine:
                        shutil.rmtree(work)
        return missing

    def _attempt(self, name, config):
        """Trains a run, unless another process does; returns its result."""
        work = self.folder / "work" / name
        with _claimed(work) as mine:
            # Another process may have ended it while this one was busy.
            if not mine or self.records.load(config):
                return None
            # What has no settings yet was killed before it was a run.
            if work.exists() and not (work / "config.json").is_file():
                shutil.rmtree(work)
            result = self._train(
                dataclasses.replace(config, output=str(work)), work
            )
            self.records.save(config, result)
            # After the result: if this is where the process ends, the next
            # one finds it.
            shutil.rmtree(work, ignore_errors=True)
            return result

    def _train(self, config, work):
        # Keras names layers by what it has seen before, and TensorFlow keeps
        # the functions of earlier networks.
        keras.utils.clear_session(free_memory=True)
        gc.collect()
        try:
            metrics = train(config, resume=True, verbose=self.verbose)
        except Diverged as error:
            return _result(config, work, {}, str(error))
        except Interrupted as error:
            raise Interrupted(
                f"{error.received.name if error.received else 'A signal'} "
                f"stopped {_row(config)}, seed {config.seed}, which is saved: "
                "the same command goes on",
                error.received,
            ) from None
        return _result(config, work, metrics)


def check_alone(config):
    """Returns the settings for this host, which has to be the only one.

    Args:
        config: `TrainConfig`.
    """
    if config.strategy == "multi-worker":
        raise InputError(
            "`strategy` must be that of a single host in a study: others "
            "can take runs of their own from the same folder. "
            f"Received: strategy={config.strategy!r}"
        )
    if config.strategy != "auto":
        return config
    several = len(tf.config.list_physical_devices("GPU")) > 1
    name = "mirrored" if several else "one-device"
    return dataclasses.replace(config, strategy=name)


def _result(config, work, metrics, diverged=None):
    network = _build(config, work)
    counts = profile(network)
    return Result(
        settings=deciding(config),
        evaluated_on=metrics.get("evaluated_on", ""),
        images=metrics.get("images", 0),
        top1=metrics.get("top1"),
        top5=metrics.get("top5"),
        loss=metrics.get("loss"),
        best_epoch=metrics.get("best_epoch"),
        history=_history(work),
        parameters=counts.trainable_parameters,
        attention_parameters=counts.attention_parameters,
        macs=counts.macs,
        kernel_sizes=kernel_sizes(network),
        seconds=metrics.get("seconds", 0.0),
        diverged=diverged,
        versions={
            "eca-keras": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "python": platform.python_version(),
        },
    )


def _build(config, work):
    """Builds the network of a run; there need not be a trained one."""
    model, _ = build_classifier(
        config.model,
        preprocessing=Preprocessing.load(work / "model.keras"),
        attention=config.attention,
        kernel_size=config.kernel_size,
        alpha=config.alpha,
    )
    return model


def _history(work):
    """Returns the rows of `history.csv` as numbers."""
    try:
        with (work / "history.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:  # it diverged in its first epoch
        return []
    return [
        {name: _number(text) for name, text in row.items()}
        | {"epoch": int(row["epoch"])}
        for row in rows
    ]


def _number(text):
    """Returns a number, `None` for one that JSON cannot hold."""
    value = float(text)
    return value if math.isfinite(value) else None


def _row(config):
    kernel = config.kernel_size
    kernel = "" if kernel == "adaptive" else f" {kernel}"
    return f"{config.model} {config.attention}{kernel}"


def _figures(result):
    if result.diverged:
        return "diverged"
    return f"top-1 {result.top1:.2%}"


@contextlib.contextmanager
def _claimed(work):
    """Yields whether this process may train the run in `work`."""
    import fcntl

    lock = work.with_name(f"{work.name}.lock")
    made = [folder for folder in lock.parents if not folder.exists()]
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield True
        finally:
            if not work.exists():  # finished, or refused
                lock.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # others are there
                    for folder in made or [lock.parent]:
                        folder.rmdir()
