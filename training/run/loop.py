"""Training from a `TrainConfig` to a folder of results."""

import contextlib
import time

import numpy as np

from eca_keras.errors import Diverged
from eca_keras.errors import InputError
from eca_keras.errors import Interrupted
from eca_keras.errors import require
from eca_keras.training.classification.setup import Setup
from eca_keras.training.data.feed import summary
from eca_keras.training.run.checkpoints import Checkpoints
from eca_keras.training.run.cluster import Cluster
from eca_keras.training.run.curves import write_curves
from eca_keras.training.run.folder import run_folder
from eca_keras.training.run.folder import write_json
from eca_keras.training.run.history import VALIDATION
from eca_keras.training.run.history import Results
from eca_keras.training.run.interruption import Interruption
from eca_keras.training.run.progress import Progress
from eca_keras.training.run.step import Trainer
from eca_keras.training.schedules import describe_rate

# Before an evaluation, what was trained for longer is saved, in seconds.
UNSAVED = 30


def train(config, resume=False, verbose=1, conclude=None):
    """Trains a network and writes the results to `config.output`.

    The folder gets `model.keras` (the epoch with the best validation top-1),
    `last.keras`, `preprocessing.json`, `config.json`, `history.csv`,
    `curves.png`, `metrics.json`, TensorBoard logs in `tensorboard` and what
    `resume` needs in `checkpoints`. Of several hosts, only the first writes.

    Args:
        config: `TrainConfig`.
        resume: Go on with the run in `config.output`, if there is one. On
            CPUs the weights become those of a run that never stopped, bit for
            bit.
        verbose: 0 is silent, 1 a progress bar, 2 a line per epoch.
        conclude: Called with the metrics on the first host, while the others
            wait: without it, hosts that end early would look lost.

    Returns:
        The content of `metrics.json`: loss, top-1 and top-5 (fractions) on
        the test images, or on the validation images where there are none.

    Raises:
        InputError: if something in `config` cannot be done.
        Diverged: if the loss becomes infinite or NaN.
        Interrupted: if a signal asked to stop; the state is saved.
        HostLost: if another host ended or cannot be reached.
    """
    return carry_out(config, Setup.of, resume, verbose, conclude)


def carry_out(config, prepare, resume=False, verbose=1, conclude=None):
    """Trains what a configuration describes, see `train`.

    Args:
        config: Settings of the run.
        prepare: Maps them and the `Cluster` to a `Job`.
        resume, verbose, conclude: As in `train`.
    """
    require("train", "Training", "matplotlib", "tensorboard", "tqdm")
    with Cluster(config.strategy, config.worker_timeout) as cluster:
        with Interruption() as interruption:
            job = prepare(config, cluster)
            # Last of the checks: a refused run leaves nothing behind.
            if cluster.chief:
                run_folder(config, resume)
            run = Run(job, interruption, verbose)
            run.announce()
            run.restore()
            run.go_on()
            metrics = run.finish()
        if conclude and cluster.chief:
            conclude(metrics)
        cluster.share(None)  # together to the end
        return metrics


class Run:
    """A run with its place on disk.

    Args:
        job: `Job`.
        interruption: `Interruption`, entered.
        verbose: As in `train`.
    """

    def __init__(self, job, interruption, verbose):
        config = job.config
        self.job = job
        self.config = config
        self.cluster = job.cluster
        self.interruption = interruption
        self.verbose = verbose if self.cluster.chief else 0
        self.trainer = Trainer(
            job.cluster,
            job.task,
            job.optimizer,
            config.batch_size,
            xla=config.xla,
            clip_norm=job.clip_norm,
        )
        # Bad arguments are noticed before the folder is touched again.
        for part in ("training", "validation"):
            job.feed(part)
        self.results = Results(config.output, job.score)
        self.checkpoints = Checkpoints(f"{config.output}/checkpoints")
        self.seconds = 0.0  # of earlier processes of this run
        self.epoch_seconds = 0.0
        self._started = self._mark = self._saved = time.monotonic()

    def announce(self):
        """Says what is about to be trained."""
        if not self.verbose:
            return
        job, config = self.job, self.config
        for note in job.notes:
            print(note)
        replicas = self.cluster.strategy.num_replicas_in_sync
        print(
            f"{job.title}, {job.task.model.count_params():,} parameters: "
            f"{config.epochs} epochs of {job.steps:,} steps of "
            f"{config.batch_size} images on {replicas} "
            f"replica{'s' * (replicas > 1)}, learning rate "
            f"{describe_rate(config)}",
            flush=True,
        )

    def restore(self):
        """Takes up the newest checkpoint, if there is one."""
        trainer = self.trainer
        arrays, facts, notes = None, None, []
        if self.cluster.chief:
            self.job.save_settings(self.results.folder)
            arrays, facts, notes = self.checkpoints.load()
        for note in notes:
            print(note, flush=True)
        facts = self.cluster.share(facts)
        if facts is None:
            return
        _check_fits(facts, self._shapes())
        if not self.cluster.chief:
            arrays = [v.numpy() for v in trainer.variables]
        arrays = self.cluster.from_chief(arrays)
        for variable, value in zip(trainer.variables, arrays, strict=True):
            variable.assign(value)
        trainer.step = facts["step"]
        trainer.images = facts["images"]
        trainer.sums = facts["sums"]
        self.results.rows = facts["rows"]
        self.results.best = facts["best"]
        self.seconds = facts["seconds"]
        self.epoch_seconds = facts["epoch_seconds"]
        if self.verbose:
            print(f"goes on after step {trainer.step}", flush=True)

    def save(self):
        """Writes a checkpoint; on the chief only, which has all of it."""
        trainer = self.trainer
        trainer.settle()
        self._saved = time.monotonic()
        if not self.cluster.chief:
            return
        arrays = [v.numpy() for v in trainer.variables]
        if not all(np.isfinite(a.sum(dtype="float64")) for a in arrays):
            raise Diverged(f"a weight is not finite after step {trainer.step}")
        facts = {
            "step": trainer.step,
            "images": trainer.images,
            "sums": trainer.sums,
            "rows": self.results.rows,
            "best": self.results.best,
            "seconds": self.seconds + time.monotonic() - self._started,
            "epoch_seconds": self.epoch_seconds + self._since_mark(),
            **self._shapes(),
        }
        self.checkpoints.save(trainer.step, arrays, facts)

    def _shapes(self):
        return {
            "train_images": self.job.source.train.size,
            "shapes": [list(v.shape) for v in self.trainer.variables],
        }

    def _since_mark(self):
        return time.monotonic() - self._mark

    def go_on(self):
        """Trains up to the last step."""
        try:
            self._go_on()
        except Diverged as error:
            raise self._diverged(error) from None

    def _go_on(self):
        trainer, job, config = self.trainer, self.job, self.config
        self.progress = Progress(
            self.verbose,
            config.epochs,
            job.steps,
            config.batch_size,
            job.words,
            trainer.step,
        )
        self._end_epoch()  # if the run stopped before its end was written
        for batch in job.feed("training").batches(trainer.step):
            if trainer.train(batch, self._interrupted):
                self._stop()
            self.progress.step(trainer.step, trainer.means)
            if trainer.step % job.steps == 0:
                self._end_epoch()
            elif time.monotonic() - self._saved > config.checkpoint_seconds:
                self.save()
        self.progress.pause()

    def _end_epoch(self):
        trainer, job, config = self.trainer, self.job, self.config
        epoch = trainer.step // job.steps
        if epoch == len(self.results.rows):
            return
        if job.measures(epoch) and time.monotonic() - self._saved > UNSAVED:
            self.save()  # an evaluation may take long, and be stopped
        means = trainer.means()
        seconds = self.epoch_seconds + self._since_mark()
        with self._averaged():
            figures = self._validate(epoch)
            if figures:
                row = {
                    "epoch": epoch,
                    "learning_rate": float(job.schedule(trainer.step - 1)),
                    **means,
                    **{f"{VALIDATION}{name}": x for name, x in figures.items()},
                    "images_per_second": round(trainer.images / seconds, 1),
                    "seconds": round(seconds, 2),
                }
                if self.cluster.chief:
                    final = epoch == config.epochs
                    self.results.add(row, job.task.model, final)
                else:
                    self.results.rows.append(row)
        if not figures:
            self._stop()
        self.progress.epoch(trainer.step, row)
        trainer.start_epoch()
        self.epoch_seconds, self._mark = 0.0, time.monotonic()
        self.save()

    def _validate(self, epoch):
        if self.job.measures(epoch):
            return self.job.measure("validation", self._interrupted)
        return dict.fromkeys(self.job.figures)

    def _interrupted(self):
        return self.interruption.received is not None

    @contextlib.contextmanager
    def _averaged(self):
        """Puts the moving average of the weights in their place."""
        if not self.job.averages:
            yield
            return
        learned = self.trainer.learned
        kept = [v.numpy() for v in learned]
        with self.cluster.strategy.scope():
            self.job.optimizer.finalize_variable_values(learned)
        try:
            yield
        finally:
            for variable, value in zip(learned, kept, strict=True):
                variable.assign(value)

    def _stop(self, save=True):
        if save:
            self.save()
        received = self.interruption.received
        reason = received.name if received else "a signal to another host"
        raise Interrupted(
            f"stopped by {reason} after step {self.trainer.step}, which is "
            f"saved in {self.checkpoints.folder}: the same command with "
            "--resume goes on",
            received,
        )

    def _diverged(self, error):
        step = self.trainer.step
        saved = self.checkpoints.paths()
        last = (
            f"the last good checkpoint is {saved[0]}"
            if saved
            else ("there is no checkpoint yet")
        )
        rate = float(self.job.schedule(step - 1))
        return Diverged(
            f"Training diverged: {error}, with a learning rate of {rate:.4g}; "
            f"{last}. A smaller `learning_rate` may help. "
            f"Received: learning_rate={self.config.base_learning_rate}"
        )

    def finish(self):
        """Evaluates the best model and returns the content of metrics.json."""
        job, config, cluster = self.job, self.config, self.cluster
        folder = self.results.folder
        model = job.task.model
        if cluster.chief:
            write_curves(
                folder / "history.csv", folder / "curves.png", job.panels
            )
            with cluster.strategy.scope():
                model.load_weights(folder / "model.keras")
        cluster.unify(model.variables)
        part = job.final_part
        figures = job.measure(part, self._interrupted)
        if not figures:
            self._stop(save=False)  # these are not the weights to go on with
        metrics = {
            "evaluated_on": part,
            "images": getattr(job.source, part).size,
            **figures,
            **job.named,
            "parameters": model.count_params(),
            "epochs": config.epochs,
            "best_epoch": self.results.best_row["epoch"],
            "replicas": cluster.strategy.num_replicas_in_sync,
            "images_per_second": self.results.rows[-1]["images_per_second"],
            "seconds": round(
                self.seconds + time.monotonic() - self._started, 1
            ),
        }
        if cluster.chief:
            write_json(folder / "metrics.json", metrics)
        if job.bad_images:  # of this host
            print(summary(job.bad_images), flush=True)
        return metrics


def _check_fits(facts, expected):
    for name, value in expected.items():
        if facts[name] != value:
            shown = (
                f"{facts[name]} then, {value} now"
                if isinstance(value, int)
                else "another network"
            )
            raise InputError(
                "`resume` needs the data and the network that the run began "
                f"with. Its checkpoint has other {name}: {shown}"
            )
