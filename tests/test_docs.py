"""README and docs: examples run, commands parse, links lead somewhere."""

import importlib
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import pytest

from eca_keras import cli
from eca_keras.commands import COMMANDS
from eca_keras.commands import options

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "demos" / "README.md",
]


def name(page):
    return str(page.relative_to(ROOT))


def blocks(language):
    """All code blocks of a language, each with the page it is on."""
    return [
        pytest.param(code, id=f"{name(page)}-{number}")
        for page in PAGES
        for number, code in enumerate(
            re.findall(
                rf"^```{language}\n(.*?)^```",
                page.read_text("utf-8"),
                re.DOTALL | re.MULTILINE,
            ),
            1,
        )
    ]


def commands(program):
    """Every call of a program in a shell block, as lists of arguments."""
    found = {}
    for block in blocks("sh"):
        code = block.values[0].replace("\\\n", " ")
        for line in code.splitlines():
            _, is_there, rest = line.partition(program)
            if is_there and "pip install" not in line:
                arguments = shlex.split(rest.split("&&")[0], comments=True)
                found[" ".join(arguments)] = arguments
    return [pytest.param(words, id=line) for line, words in found.items()]


def examples():
    """Every example at the end of a help, as lists of arguments."""
    return [
        pytest.param(shlex.split(line)[1:], id=line)
        for row in COMMANDS.values()
        for line in getattr(row.load(), "EXAMPLES", ())
    ]


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python_example(code, tmp_path):
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-2000:]


def test_there_is_much_to_test():
    assert len(blocks("python")) >= 10
    assert len(commands("eca-keras ")) >= 20


@pytest.mark.parametrize("arguments", commands("eca-keras ") + examples())
def test_commands_parse(arguments):
    words = 2 if arguments[0] == "detect" else 1
    kind = COMMANDS[" ".join(arguments[:words])].load()
    assert isinstance(cli.parse(arguments), kind)


@pytest.mark.parametrize("arguments", commands("python -m benchmarks."))
def test_benchmarks_parse(arguments):
    name, *rest = arguments
    module = importlib.import_module(f"benchmarks.{name}")
    kind = getattr(module, name.capitalize())
    assert isinstance(options.parse(kind, rest, name), kind)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links(page):
    text = page.read_text("utf-8")
    # Not in code blocks, where brackets are something else.
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if link.startswith(("http:", "https:", "#")):
            continue
        target = link.split("#")[0]
        assert (page.parent / target).exists(), f"{name(page)}: {link}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    process = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going"]
        + ["-d", str(tmp_path / "trees")]
        + [str(ROOT / "docs"), str(tmp_path / "site")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    front = (tmp_path / "site" / "index.html").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / "site" / f"{page.stem}.html").exists()
        assert page.stem == "index" or f"{page.stem}.html" in front


@pytest.mark.slow
def test_the_page_of_networks_is_what_the_networks_are():
    script = runpy.run_path(str(ROOT / "docs" / "networks.py"))
    page = (ROOT / "docs" / "networks.md").read_text("utf-8")
    for builder in ("ECAResNet18", "ECAResNet20", "ECAMobileNetV2"):
        assert f"| {' | '.join(script['row'](builder))} |\n" in page
    assert all(f"`{builder}`" in page for builder in script["BUILDERS"])
    assert script["table"](("a",), script["published"]())[11:] in page
