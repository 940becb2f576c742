"""Which devices, on which workers, a run computes on."""

import contextlib
import json
import os
import typing

import numpy as np
import tensorflow as tf

from eca_keras.errors import InputError
from eca_keras.errors import WorkerLost
from eca_keras.training.config import StrategyName
from eca_keras.training.run.watchdog import Watchdog
from eca_keras.utils.checks import check_choice
from eca_keras.utils.checks import check_tensorflow

# Element type in which values of a type travel between workers.
_WIRE = {"u": np.int64, "i": np.int64, "b": np.int64, "f": np.float64}


def make_strategy(name):
    """Return the `tf.distribute.Strategy` for a name, on this worker.

    Args:
        name: `"auto"` (all GPUs, or else the CPU), `"one-device"`,
            `"mirrored"` (all GPUs, or else all logical CPUs), or `"tpu"`;
            `"multi-worker"` is `"auto"` on a single worker.
    """
    check_choice("strategy", name, typing.get_args(StrategyName))
    if name == "tpu":
        return _tpu_strategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "one-device" or (name != "mirrored" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _tpu_strategy():
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, KeyError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"strategy='tpu' needs a TPU that TensorFlow can find: {reason}"
        ) from None


def check_batch_size(batch_size, strategy):
    """Refuse a batch that does not divide among the replicas."""
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f"`batch_size` must be a multiple of the {replicas} replicas. "
            f"Received: batch_size={batch_size}"
        )


class Cluster:
    """The workers of a run, one or several, each of which runs the same code.

    As a context manager it watches over waiting for other workers, and makes
    `WorkerLost` of the errors that TensorFlow raises when one is gone. It has
    to be entered before anything is computed with TensorFlow.

    Args:
        name: As in `make_strategy`, or `"multi-worker"`: the workers that the
            variable TF_CONFIG or SLURM names.
        timeout: Seconds after which waiting for another worker ends this
            process, with a sentence.
        alone: Whether this worker works alone, whatever the variables say.

    Attributes:
        strategy: The `tf.distribute.Strategy`.
        workers: Addresses of all workers, empty for a single one.
        index: This worker among them.
    """

    def __init__(self, name, timeout=600.0, alone=False):
        check_tensorflow("eca_keras.training")
        self.timeout = timeout
        self._resolver = None if alone else _resolver(name)
        self.workers, self.index = _members(self._resolver)
        self.strategy = None
        self._watchdog = None
        self._stack = contextlib.ExitStack()
        self._name = name

    def __enter__(self):
        if not self.workers:
            self.strategy = make_strategy(self._name)
            return self
        self._watchdog = self._stack.enter_context(Watchdog())
        others = list(self.workers)
        del others[self.index]
        print(
            f"{self._title} waits for {', '.join(others)}, at most "
            f"{self.timeout:.0f} s",
            flush=True,
        )
        self.allow("the others did not all appear")
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy(
            cluster_resolver=self._resolver
        )
        return self

    def __exit__(self, kind, error, trace):
        self._stack.close()
        if self.several and error is not None:
            # TensorFlow would wait for the other workers at exit.
            error.leave_at_once = True
        if self.several and isinstance(error, tf.errors.OpError):
            lost = WorkerLost(
                f"{self._title} lost another worker "
                f"({type(error).__name__}). Start all workers again, with "
                "--resume"
            )
            lost.leave_at_once = True
            raise lost from error

    @property
    def _title(self):
        return f"worker {self.index} ({self.workers[self.index]})"

    @property
    def chief(self):
        """Whether this worker writes the files of the run."""
        return self.index == 0

    @property
    def several(self):
        return bool(self.workers)

    def allow(self, what):
        """Give the next wait for other workers its time.

        Args:
            what: What is told, after the worker and the time, if it is over.
        """
        if self._watchdog:
            self._watchdog.allow(
                self.timeout,
                f"worker {self.index} waited {self.timeout:.0f} s: {what}. "
                "Start all workers again, with --resume",
            )

    def share(self, value):
        """Return what the chief passed, anything that JSON can hold."""
        if not self.several:
            return value
        text = np.frombuffer(json.dumps(value).encode(), "uint8")
        [size] = self.from_chief([np.array([len(text)])])
        text = np.resize(text, size)  # of this length on every worker
        [text] = self.from_chief([text])
        return json.loads(text.tobytes())

    def from_chief(self, arrays):
        """Return the arrays that the chief passed, on every worker.

        Args:
            arrays: List of NumPy arrays, of the same shapes and types on all
                workers.
        """
        if not self.several:
            return arrays
        arrays = [np.asarray(array) for array in arrays]
        received = [None] * len(arrays)
        for wire in (np.int64, np.float64):
            places = [
                i for i, a in enumerate(arrays) if _WIRE[a.dtype.kind] is wire
            ]
            if not places:
                continue
            flat = np.concatenate([arrays[i].ravel() for i in places], 0)
            flat = self._broadcast(flat.astype(wire))
            ends = np.cumsum([arrays[i].size for i in places])
            for i, part in zip(places, np.split(flat, ends[:-1]), strict=True):
                part = part.astype(arrays[i].dtype)
                received[i] = part.reshape(arrays[i].shape)
        return received

    def _broadcast(self, values):
        """All-reduces what the first replica of all has, and zeros else."""
        self.allow("the first worker did not go on")
        own = tf.constant(values if self.chief else np.zeros_like(values))
        result = self._spread(own)
        return self.strategy.experimental_local_results(result)[0].numpy()

    @tf.function(autograph=False, reduce_retracing=True)
    def _spread(self, own):
        def on_replica(own):
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group == 0
            mine = tf.where(first, own, tf.zeros_like(own))
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

        return self.strategy.run(on_replica, args=(own,))

    def unify(self, variables):
        """Give variables the values of the first replica everywhere.

        What BatchNormalization has seen differs between replicas, unless it
        is synchronized.

        Args:
            variables: List of Keras variables.
        """
        if self.strategy.num_replicas_in_sync == 1:
            return
        values = self.from_chief([v.numpy() for v in variables])
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def _resolver(name):
    """Return what knows the workers, or `None` where there is but this one."""
    if name not in ("auto", "multi-worker"):
        return None
    if "TF_CONFIG" in os.environ:
        _check_tf_config(os.environ["TF_CONFIG"])
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))
    if tasks > 1:
        return _slurm_resolver(tasks)
    if name == "multi-worker":
        raise InputError(
            "strategy='multi-worker' needs the variable TF_CONFIG, or a start "
            "by SLURM's srun with several tasks, to know the workers"
        )
    return None


def _slurm_resolver(tasks):
    gpus = {}
    if not tf.config.list_physical_devices("GPU"):
        # It deals out GPUs to find the tasks: on CPUs, one of none to each.
        gpus = {"gpus_per_node": tasks, "gpus_per_task": 1}
        gpus["auto_set_gpu"] = False
    return tf.distribute.cluster_resolver.SlurmClusterResolver(**gpus)


def _check_tf_config(text):
    example = (
        '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    try:
        config = json.loads(text)
        workers = config["cluster"]["worker"]
        task = config["task"]
        valid = (
            set(config["cluster"]) == {"worker"}
            and task["type"] == "worker"
            and 0 <= task["index"] < len(workers)
            and all(":" in worker for worker in workers)
        )
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        raise InputError(
            f"The variable TF_CONFIG must be such as {example}. "
            f"Received: TF_CONFIG={text}"
        )


def _members(resolver):
    """Return the addresses of the workers and the index of this one."""
    if resolver is None:
        return (), 0
    workers = tuple(resolver.cluster_spec().as_dict()["worker"])
    if len(workers) == 1:
        return (), 0
    return workers, resolver.task_id
