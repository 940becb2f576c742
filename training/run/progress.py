"""What a run tells while it goes on."""

import datetime
import time

from eca_keras.training.run.history import VALIDATION


class Progress:
    """Prints the course of a run.

    Args:
        verbose: 0 is silent, 1 a bar per epoch, 2 a line per epoch.
        epochs: Number of epochs of the run.
        steps: Number of steps per epoch.
        images: Number of images per step.
        words: Says the main ones of a dictionary of figures.
        step: Steps that were trained before.
    """

    def __init__(self, verbose, epochs, steps, images, words, step=0):
        self.verbose = verbose
        self.epochs = epochs
        self.steps = steps
        self.images = images
        self.words = words
        self._bar = None
        self._begin = (time.monotonic(), step)

    def step(self, step, means):
        """Is called after each step.

        Args:
            step: Steps trained so far.
            means: Callable that returns the means of this epoch.
        """
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
            )
        before = self._bar.last_print_n
        self._bar.update(self.images)
        if self._bar.last_print_n != before:  # not more often than it shows
            # Of some steps ago: the figures of the last one would have to be
            # waited for.
            self._bar.set_postfix_str(self.words(means()), refresh=False)

    def epoch(self, step, row):
        """Is called after each epoch.

        Args:
            step: Steps trained so far.
            row: Figures of the epoch.
        """
        self.pause()
        now = time.monotonic()
        began, first = self._begin
        left = self.epochs * self.steps - step
        left = round(left * (now - began) / max(step - first, 1))
        measured = self.words(
            {
                name.removeprefix(VALIDATION): value
                for name, value in row.items()
                if name.startswith(VALIDATION)
            }
        )
        if measured:
            measured = f"validation {measured}, "
        if self.verbose:
            print(
                f"epoch {row['epoch']}/{self.epochs}: "
                f"{self.words(row)}, {measured}"
                f"{row['images_per_second']:,.0f} images/s, "
                f"{row['seconds']:.0f} s, "
                f"{datetime.timedelta(seconds=left)} left",
                flush=True,
            )

    def say(self, sentence):
        """Prints a sentence on a line of its own."""
        self.pause()
        if self.verbose:
            print(sentence, flush=True)

    def pause(self):
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
