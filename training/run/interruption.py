"""Signals that ask a run to end: it finishes its step and saves first."""

import signal

# A machine that is taken away sends SIGTERM, Ctrl-C sends SIGINT.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interruption:
    """Takes note of a signal, as a context manager.

    To be entered after the strategy is made: that of several workers installs
    a handler of its own, which would swallow SIGTERM.

    Attributes:
        received: The `signal.Signals` that came, or `None`. A second Ctrl-C
            ends the program at once.
    """

    def __init__(self):
        self.received = None

    def __enter__(self):
        self._earlier = {}
        for number in SIGNALS:
            try:
                self._earlier[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: its owner has them
                break
        return self

    def __exit__(self, *error):
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
