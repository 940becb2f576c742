"""Training from settings to a folder of results."""

import contextlib
import time

import numpy as np

from eca_keras.errors import Diverged
from eca_keras.errors import InputError
from eca_keras.errors import Interrupted
from eca_keras.errors import require
from eca_keras.training.config import RunConfig
from eca_keras.training.data.feed import summary
from eca_keras.training.run.checkpoints import Checkpoints
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.curves import write_curves
from eca_keras.training.run.folder import run_folder
from eca_keras.training.run.folder import write_json
from eca_keras.training.run.history import VALIDATION
from eca_keras.training.run.history import History
from eca_keras.training.run.interruption import Interruption
from eca_keras.training.run.progress import Progress
from eca_keras.training.run.step import Trainer
from eca_keras.training.schedules import describe_rate
from eca_keras.weights.keras_weights import load_weights

# Before an evaluation, what was trained for longer is saved, in seconds.
UNSAVED = 30


def train(
    config: RunConfig, resume: bool = False, verbose: int = 1, conclude=None
) -> dict:
    """Train a network and write the results to `config.output`.

    The folder gets `model.keras` (the epoch that is best on the validation
    images), `last.keras`, `preprocessing.json` or, of a detector,
    `detection.json`, `config.json`, `history.csv`, `curves.png`,
    `metrics.json`, TensorBoard logs in `tensorboard` and what `resume` needs
    in `checkpoints`. Of several workers, only the first writes. The best
    epoch of a classifier has the highest top-1, that of a detector the
    highest average precision, of masks where there are any, or else of boxes.

    Args:
        config: `TrainConfig` or `DetectConfig`.
        resume: Resume the run in `config.output`, if there is one. On CPUs
            the weights become those of a run that never stopped, bit for bit.
        verbose: 0 is silent, 1 a progress bar, 2 a line per epoch.
        conclude: Called with the metrics on the first worker, while the
            others wait: without it, workers that end early would look lost.

    Returns:
        The content of `metrics.json`: loss, top-1 and top-5 (fractions) of a
        classifier, COCO's metrics of a detector, on the test images, or on
        the validation images where there are none.

    Raises:
        InputError: if something in `config` cannot be done.
        Diverged: if the loss becomes infinite or NaN.
        Interrupted: if a signal asked to stop; the state is saved.
        WorkerLost: if another worker ended or cannot be reached.
    """
    require("train", "Training", "matplotlib", "tensorboard", "tqdm")
    with Cluster(config.strategy, config.worker_timeout) as cluster:
        with Interruption() as interruption:
            task = config.make_task(cluster)
            # Last of the checks: a refused run leaves nothing behind.
            if cluster.chief:
                run_folder(config, resume)
            run = Run(task, interruption, verbose)
            run.announce()
            run.restore()
            run.train()
            metrics = run.finish()
        if conclude and cluster.chief:
            conclude(metrics)
        cluster.share(None)  # together to the end
        return metrics


class Run:
    """A run with its place on disk.

    Args:
        task: `Task`.
        interruption: `Interruption`, entered.
        verbose: As in `train`.
    """

    def __init__(self, task, interruption, verbose):
        config = task.config
        self.task = task
        self.config = config
        self.cluster = task.cluster
        self.interruption = interruption
        self.verbose = verbose if self.cluster.chief else 0
        self.trainer = Trainer(
            task.cluster,
            task.objective,
            task.optimizer,
            config.batch_size,
            xla=config.xla,
            clip_norm=config.clip_norm,
        )
        # Bad arguments are noticed before the folder is touched again.
        for name in ("training", "validation"):
            task.feed(name)
        self.history = History(config.output, task.score)
        self.checkpoints = Checkpoints(f"{config.output}/checkpoints")
        self.seconds = 0.0  # of earlier processes of this run
        self.epoch_seconds = 0.0
        self._started = self._mark = self._saved = time.monotonic()

    def announce(self):
        """Print what is about to be trained."""
        if not self.verbose:
            return
        task, config = self.task, self.config
        for note in task.wording.notes:
            print(note)
        replicas = self.cluster.strategy.num_replicas_in_sync
        print(
            f"{task.wording.title}, {task.model.count_params():,} parameters\n"
            f"{config.epochs} epochs of {task.steps:,} steps of "
            f"{config.batch_size} images on {replicas} "
            f"replica{'s' * (replicas > 1)}\n"
            f"learning rate {describe_rate(config)}",
            flush=True,
        )

    def restore(self):
        """Restore the newest checkpoint, if any."""
        trainer = self.trainer
        arrays, state, notes = None, None, []
        if self.cluster.chief:
            self.task.settings.save(self.history.folder)
            arrays, state, notes = self.checkpoints.load()
        for note in notes:
            print(note, flush=True)
        state = self.cluster.share(state)
        if state is None:
            return
        _check_fits(state, self._shapes())
        if not self.cluster.chief:
            arrays = [v.numpy() for v in trainer.variables]
        arrays = self.cluster.from_chief(arrays)
        for variable, value in zip(trainer.variables, arrays, strict=True):
            variable.assign(value)
        trainer.step = state["step"]
        trainer.images = state["images"]
        trainer.sums = state["sums"]
        self.history.rows = state["rows"]
        self.history.best = state["best"]
        self.seconds = state["seconds"]
        self.epoch_seconds = state["epoch_seconds"]
        if self.verbose:
            print(f"resumed at step {trainer.step}", flush=True)

    def save(self):
        """Write a checkpoint; on the chief only, which has all of it."""
        trainer = self.trainer
        trainer.settle()
        self._saved = time.monotonic()
        if not self.cluster.chief:
            return
        arrays = [v.numpy() for v in trainer.variables]
        if not all(np.isfinite(a.sum(dtype="float64")) for a in arrays):
            raise Diverged(f"a weight is not finite after step {trainer.step}")
        state = {
            "step": trainer.step,
            "images": trainer.images,
            "sums": trainer.sums,
            "rows": self.history.rows,
            "best": self.history.best,
            "seconds": self.seconds + time.monotonic() - self._started,
            "epoch_seconds": self.epoch_seconds + self._since_mark(),
            **self._shapes(),
        }
        self.checkpoints.save(trainer.step, arrays, state)

    def _shapes(self):
        return {
            "train_images": self.task.source.train.size,
            "shapes": [list(v.shape) for v in self.trainer.variables],
        }

    def _since_mark(self):
        return time.monotonic() - self._mark

    def train(self):
        """Train up to the last step."""
        try:
            self._train()
        except Diverged as error:
            raise self._diverged(error) from None

    def _train(self):
        trainer, task, config = self.trainer, self.task, self.config
        self.progress = Progress(
            self.verbose,
            config.epochs,
            task.steps,
            config.batch_size,
            task.wording.shown,
            trainer.step,
        )
        self._end_epoch()  # if the run stopped before its end was written
        for batch in task.feed("training").batches(trainer.step):
            if trainer.train(batch, self._interrupted):
                self._stop()
            self.progress.step(trainer.step, trainer.means)
            if trainer.step % task.steps == 0:
                self._end_epoch()
            elif time.monotonic() - self._saved > config.checkpoint_seconds:
                self.save()
        self.progress.pause()

    def _end_epoch(self):
        trainer, task, config = self.trainer, self.task, self.config
        epoch = trainer.step // task.steps
        if epoch == len(self.history.rows):
            return
        late = time.monotonic() - self._saved > UNSAVED
        if task.evaluates(epoch) and late:
            self.save()  # an evaluation may take long, and be stopped
        means = trainer.means()
        seconds = self.epoch_seconds + self._since_mark()
        with self._averaged():
            metrics = self._validate(epoch)
            if metrics:
                row = {
                    "epoch": epoch,
                    "learning_rate": float(task.schedule(trainer.step - 1)),
                    **means,
                    **{f"{VALIDATION}{name}": x for name, x in metrics.items()},
                    "images_per_second": round(trainer.images / seconds, 1),
                    "seconds": round(seconds, 2),
                }
                if self.cluster.chief:
                    self.history.add(row, task.model, epoch == config.epochs)
                else:
                    self.history.rows.append(row)
        if not metrics:
            self._stop()
        self.progress.epoch(trainer.step, row)
        trainer.start_epoch()
        self.epoch_seconds, self._mark = 0.0, time.monotonic()
        self.save()

    def _validate(self, epoch):
        if self.task.evaluates(epoch):
            return self.task.evaluate("validation", self._interrupted)
        return dict.fromkeys(self.task.wording.metrics)

    def _interrupted(self):
        return self.interruption.received is not None

    @contextlib.contextmanager
    def _averaged(self):
        """Put the EMA of the weights in their place."""
        if not self.config.ema:
            yield
            return
        trainable = self.trainer.trainable
        kept = [v.numpy() for v in trainable]
        with self.cluster.strategy.scope():
            self.task.optimizer.finalize_variable_values(trainable)
        try:
            yield
        finally:
            for variable, value in zip(trainable, kept, strict=True):
                variable.assign(value)

    def _stop(self, save=True):
        if save:
            self.save()
        received = self.interruption.received
        reason = received.name if received else "a signal to another worker"
        raise Interrupted(
            f"stopped by {reason} after step {self.trainer.step}, which is "
            f"saved in {self.checkpoints.folder}: the same command with "
            "--resume resumes it",
            received,
        )

    def _diverged(self, error):
        step = self.trainer.step
        saved = self.checkpoints.paths()
        last = "there is no checkpoint yet"
        if saved:
            last = f"the last good checkpoint is {saved[0]}"
        rate = float(self.task.schedule(step - 1))
        return Diverged(
            f"Training diverged: {error}, with a learning rate of {rate:.4g}; "
            f"{last}. A smaller `learning_rate` may help. "
            f"Received: learning_rate={self.config.base_learning_rate}"
        )

    def finish(self):
        """Evaluate the best model and return the content of metrics.json."""
        task, config, cluster = self.task, self.config, self.cluster
        folder = self.history.folder
        if cluster.chief:
            panels = task.wording.panels
            write_curves(folder / "history.csv", folder / "curves.png", panels)
            with cluster.strategy.scope():
                load_weights(task.model, folder / "model.keras")
        cluster.unify(task.model.variables)
        split = task.final_split
        metrics = task.evaluate(split, self._interrupted)
        if not metrics:
            self._stop(save=False)  # these are not the weights to resume with
        metrics = {
            "evaluated_on": split,
            "images": task.splits[split].size,
            **metrics,
            **task.wording.network,
            "parameters": task.model.count_params(),
            "epochs": config.epochs,
            "best_epoch": self.history.best_row["epoch"],
            "replicas": cluster.strategy.num_replicas_in_sync,
            "images_per_second": self.history.rows[-1]["images_per_second"],
            "seconds": round(
                self.seconds + time.monotonic() - self._started, 1
            ),
        }
        if cluster.chief:
            write_json(folder / "metrics.json", metrics)
        if task.bad_images:  # of this worker
            print(summary(task.bad_images), flush=True)
        return metrics


def _check_fits(state, expected):
    for name, value in expected.items():
        if state[name] != value:
            shown = "another network"
            if isinstance(value, int):
                shown = f"{state[name]} then, {value} now"
            raise InputError(
                "`resume` needs the data and the network that the run began "
                f"with. Its checkpoint has other {name}: {shown}"
            )
