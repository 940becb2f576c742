"""The clock that ends a process which waits too long for others."""

import pathlib
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent
SCRIPT = """
import sys, time
from eca_keras.training.run.watchdog import Watchdog
assert "tensorflow" not in sys.modules
with Watchdog() as watchdog:
    {body}
print("alive")
"""


def run(body):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


def test_it_ends_a_process_that_holds_pythons_lock():
    # One call into C that does not let any other thread of Python's run.
    hold = "watchdog.allow(0.5, 'too long'); sum(iter(int, 1))"
    process = run(hold)
    assert process.returncode == -signal.SIGKILL
    assert process.stderr.endswith("eca-keras: too long\n")
    assert "alive" not in process.stdout


def test_it_lets_go_on_what_is_in_time():
    process = run("for _ in range(5): watchdog.allow(5, 'a'); time.sleep(0.01)")
    assert process.returncode == 0, process.stderr
    assert process.stdout == "alive\n"
