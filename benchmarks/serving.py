"""What runs in a process of its own to be timed: requests in, replies out.

Scripts that need not have this package import this file by its bare name; it
needs the standard library alone. `worker` is the other end.
"""

import json
import sys
import time

# Worker threads of OpenMP look for work this long, in seconds, before they
# sleep: what another process does meanwhile must not be timed.
SPIN = 0.3

# Last words of a process that was asked for what cannot be, before a sentence.
REFUSED = "refused"

# Where Linux says how much memory a process has had at most. `getrusage`
# would do, but what a process starts inherits its maximum there.
STATUS = "/proc/self/status"


def serve(server):
    """Answer requests until the standard input ends.

    Args:
        server: A request is a line of JSON, `{"do": "time", ...}`, and calls
            the method of that name with the rest as its arguments. What that
            returns, a dictionary, is the reply, a line of JSON too.
    """
    replies = sys.stdout
    sys.stdout = sys.stderr  # of what else may print
    for line in sys.stdin:
        request = json.loads(line)
        reply = getattr(server, request.pop("do"))(**request)
        print(json.dumps(reply), file=replies, flush=True)


def timed(step):
    """Call a function and return the seconds that it took.

    Returns:
        Dictionary of `"seconds"` on the clock and `"cpu_seconds"` of the
        processor, over all threads.
    """
    started = time.perf_counter(), time.process_time()
    step()
    ended = time.perf_counter(), time.process_time()
    time.sleep(SPIN)
    return {
        "seconds": ended[0] - started[0],
        "cpu_seconds": ended[1] - started[1],
    }


def peak_memory():
    """Bytes of memory that this process has had at most at one time."""
    try:
        with open(STATUS, encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return 1024 * int(fields["VmHWM"].split()[0])  # in units of 1024 bytes
    except OSError:
        import resource  # which Windows does not have

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak
