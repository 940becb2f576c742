import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Shares the tests between two processes, where pytest-xdist is there.

    Most tests keep one core busy only. `-n 0` turns it off, as do `--pdb` and
    a single file, for which the second start would cost more than it saves.
    """
    options = config.option
    given = getattr(options, "numprocesses", 0) is not None  # or no xdist
    if given or hasattr(config, "workerinput"):  # or one of the processes
        return
    several = len(config.args) > 1 or os.path.isdir(config.args[0])
    if several and not options.usepdb and not options.collectonly:
        options.numprocesses = 2
        # Not test by test: what the tests of a file share is made once.
        options.dist = "loadfile"
