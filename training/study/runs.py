"""The runs of studies, one after the other, each of them resumable."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gc
import pathlib
import shutil
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import tensorflow as tf

from eca_keras.errors import Diverged
from eca_keras.errors import InputError
from eca_keras.errors import Interrupted
from eca_keras.training.classification.config import TrainConfig
from eca_keras.training.run.loop import train
from eca_keras.training.study.records import Records
from eca_keras.training.study.records import name_of
from eca_keras.training.study.results import result_of
from eca_keras.training.study.studies import Row
from eca_keras.training.study.studies import Study
from eca_keras.utils.types import PathLike


def config_of(row: Row, base: TrainConfig, seed: int) -> TrainConfig:
    """Return the `TrainConfig` of a row and a seed.

    Args:
        row: `Row`.
        base: `TrainConfig` that the rows change.
        seed: Integer.
    """
    return dataclasses.replace(base, **row.changes, seed=seed, export=())


def queue(
    studies: Sequence[tuple[Study, TrainConfig]], seeds: Iterable[int]
) -> dict[str, TrainConfig]:
    """Return the runs of some studies, each of them once.

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

    def __init__(
        self,
        folder: PathLike,
        say: Callable[[str], object] = print,
        verbose: int = 0,
    ):
        self.folder = pathlib.Path(folder)
        self.records = Records(self.folder / "results")
        self.say = say
        self.verbose = verbose

    def run(
        self,
        runs: Mapping[str, TrainConfig],
        minutes: float | None = None,
        limit_runs: int | None = None,
    ) -> int:
        """Train the runs that have no result yet.

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
            runs_left = min(limit, len(missing) - elsewhere) - done
            left = runs_left * (time.monotonic() - began) / done
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
        """Return the runs without a result, and tidies up after the others."""
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
        """Train a run, unless another process does; return its result."""
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
            return result_of(config, work, {}, str(error))
        except Interrupted as error:
            raise Interrupted(
                f"{error.received.name if error.received else 'A signal'} "
                f"stopped {_row(config)}, seed {config.seed}, which is saved: "
                "the same command goes on",
                error.received,
            ) from None
        return result_of(config, work, metrics)


def check_alone(config: TrainConfig) -> TrainConfig:
    """Return the settings for this worker, which has to be the only one.

    Args:
        config: `TrainConfig`.
    """
    if config.strategy == "multi-worker":
        raise InputError(
            "`strategy` must be that of a single worker in a study: others "
            "can take runs of their own from the same folder. "
            f"Received: strategy={config.strategy!r}"
        )
    if config.strategy != "auto":
        return config
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return dataclasses.replace(
        config, strategy="mirrored" if several else "one-device"
    )


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
    """Yield whether this process may train the run in `work`."""
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
