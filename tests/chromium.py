"""Headless Chromium through its debugging pipe: JSON messages, no package."""

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 60  # seconds, for any one answer


def find():
    """Returns the path of the browser, or `None`."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def browser(profile):
    """Yields a `Tab` of a new browser that can reach this machine only."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()

    def connect():  # it reads from 3 and writes to 4
        os.dup2(command_read, 13)
        os.dup2(answer_write, 14)
        os.dup2(13, 3)
        os.dup2(14, 4)

    process = subprocess.Popen(
        [
            find(),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=700,900",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        preexec_fn=connect,
        close_fds=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(command_read)
    os.close(answer_write)
    try:
        yield Tab(command_write, answer_read)
    finally:
        process.kill()
        process.wait()
        os.close(command_write)
        os.close(answer_read)


class Tab:
    """A page, and what happened in it: `events`, dictionaries."""

    def __init__(self, writer, reader):
        self.writer, self.reader = writer, reader
        self.buffer = b""
        self.numbers = itertools.count(1)
        self.events = []
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")
        self.session = self.call(
            "Target.attachToTarget", flatten=True, **target
        )["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Returns the answer of the browser to a command."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self):
        while b"\0" not in self.buffer:
            if not select.select([self.reader], [], [], TIMEOUT)[0]:
                raise TimeoutError("Chromium does not answer")
            self.buffer += os.read(self.reader, 1 << 16)
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression):
        """Returns the value of a JavaScript expression."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, expression):
        """Returns the value of an expression once it is true."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            # A page that is still being loaded has no elements.
            with contextlib.suppress(RuntimeError):
                if value := self.evaluate(expression):
                    return value
            time.sleep(0.05)
        raise TimeoutError(f"{expression} did not become true")

    def node(self, selector):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        return self.call("DOM.querySelector", nodeId=root, selector=selector)[
            "nodeId"
        ]
