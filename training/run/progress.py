"""What a run prints while it trains."""

import time

from eca_keras.training.run.history import VALIDATION


class Progress:
    """Prints the course of a run.

    Args:
        verbose: 0 is silent, 1 a bar per epoch, 2 a line per epoch.
        epochs: Number of epochs of the run.
        steps: Number of steps per epoch.
        images: Number of images per step.
        shown: Formats of the metrics to show, by their names.
        step: Steps that were trained before.
    """

    def __init__(self, verbose, epochs, steps, images, shown, step=0):
        self.verbose = verbose
        self.epochs = epochs
        self.steps = steps
        self.images = images
        self.shown = shown
        self._bar = None
        self._first = step + 1
        # From where on the time of a step is known: the first step compiles,
        # and so does the first evaluation.
        self._begin = None

    def step(self, step, means):
        """Take note of a step.

        Args:
            step: Steps trained so far.
            means: Callable that returns the means of this epoch.
        """
        if step == self._first:
            self._begin = time.monotonic(), step
        self._end = time.monotonic(), step
        if self.verbose != 1:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.steps * self.images,
                initial=(step - 1) % self.steps * self.images,
                desc=f"epoch {(step - 1) // self.steps + 1}/{self.epochs}",
                unit=" images",
                unit_scale=True,
                leave=False,
                ncols=80,
            )
        before = self._bar.last_print_n
        self._bar.update(self.images)
        if self._bar.last_print_n != before:  # not more often than it shows
            # Of some steps ago: the loss of the last one would have to be
            # waited for.
            self._bar.set_postfix_str(self._metrics(means()), refresh=False)

    def epoch(self, step, row):
        """Print the line of an epoch.

        Args:
            step: Steps trained so far.
            row: Its row of `history.csv`.
        """
        self.pause()
        if self.verbose:
            parts = [self._metrics(row)]
            if (left := self._seconds_left(step)) is not None:
                parts.append(f"{duration(left)} left")
            number = f"{row['epoch']}/{self.epochs}"
            print(f"epoch {number}: {', '.join(parts)}", flush=True)
        if self._begin and self._begin[1] == self._first:
            self._begin = time.monotonic(), step

    def _metrics(self, row):
        """The metrics of training, and those of validation in brackets."""
        trained, validated = [], []
        for name, text in self.shown.items():
            here, there = row.get(name), row.get(VALIDATION + name)
            value = text.rpartition(" ")[2]
            if here is None and there is not None:
                validated.append(text.format(there))
            elif here is not None:
                beside = "" if there is None else f" (val {value})"
                trained.append(text.format(here) + beside.format(there))
        if validated:
            trained.append(f"val {' '.join(validated)}")
        return ", ".join(trained)

    def _seconds_left(self, step):
        """Seconds until the last step, `None` where that is not known yet."""
        if self._begin is None:
            return None
        began, first = self._begin
        ended, last = self._end
        if first != self._first:  # with the evaluations in between
            ended = time.monotonic()
        if last == first:
            return None
        return (
            (self.epochs * self.steps - step) * (ended - began) / (last - first)
        )

    def pause(self):
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def duration(seconds):
    """Return a time in its largest unit."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 100 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} d"
