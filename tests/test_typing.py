"""What mypy says about the package, and about calls that are wrong."""

import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("mypy")

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = ROOT / "tests" / "typing"


def mypy(*paths):
    """Return the errors of mypy, `(file, line, code)` each, and its words."""
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *paths],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert not result.stderr, result.stderr
    found = re.findall(
        r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", result.stdout, re.MULTILINE
    )
    errors = {(path, int(line), code) for path, line, code in found}
    return errors, result.stdout


def test_wrong_calls_are_reported():
    expected = set()
    for path in EXAMPLES.glob("*.py"):
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            if match := re.search(r"# error: ([\w-]+)$", line):
                name = str(path.relative_to(ROOT))
                expected.add((name, number, match[1]))
    errors, text = mypy(*sorted(EXAMPLES.glob("*.py")))
    assert errors == expected, text


def test_the_package_passes():
    errors, text = mypy()
    assert not errors
    assert text.splitlines()[-1].startswith("Success: no issues found")
