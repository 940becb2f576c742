"""Ends a process that waits for others longer than it should.

A worker that waits for another one sits inside TensorFlow, in places with
Python's lock held, where neither a thread nor a signal handler of Python's
runs. So the clock is in a process of its own, which runs this file.
"""

import os
import select
import signal
import subprocess
import sys


class Watchdog:
    """Kills this process when a time set by `allow` has passed.

    As a context manager it ends the clock's process on leaving.
    """

    def __init__(self):
        self._process = subprocess.Popen(
            # -I: nothing of the surroundings; -S: starts in 10 ms.
            [sys.executable, "-I", "-S", __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            text=True,
        )

    def allow(self, seconds, sentence):
        """Start the clock anew.

        Args:
            seconds: Until the process is killed, unless this is called again.
            sentence: What is written to stderr in that case.
        """
        line = f"{seconds} {sentence}\n"
        self._process.stdin.write(line.replace("\n", " ").strip() + "\n")
        self._process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait()


def _main(pid):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    seconds, sentence = None, ""
    while select.select([sys.stdin], [], [], seconds)[0]:
        # Without a buffer: select does not see what a buffer holds.
        lines = os.read(0, 65536).decode(errors="replace").splitlines()
        if not lines:
            return  # the parent has ended
        head, _, sentence = lines[-1].partition(" ")
        seconds = float(head)
    print(f"eca-keras: {sentence}", file=sys.stderr, flush=True)
    os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
