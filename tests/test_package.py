"""The package as it is built, imported and documented."""

import configparser
import doctest
import importlib
import pathlib
import pkgutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import eca_keras

ROOT = pathlib.Path(__file__).parent.parent

# What modules import that no extra in `all` installs; for another Python's
# process alone, that is a file beside them by its bare name.
OPTIONAL = {
    "benchmarks.torch_detectors": "serving",
    "benchmarks.torch_networks": "serving",
    "eca_keras.interop.keras_hub": "keras_hub",
}


def modules():
    found = pkgutil.walk_packages(eca_keras.__path__, "eca_keras.")
    return sorted(module.name for module in found)


def test_every_folder_is_a_listed_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {"eca_keras"} | {
        module.name
        for module in pkgutil.walk_packages(eca_keras.__path__, "eca_keras.")
        if module.ispkg
    }
    assert listed == folders


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    result = doctest.testmod(module, optionflags=flags)
    assert result.failed == 0


def test_public_names():
    assert set(dir(eca_keras)) == set(eca_keras.__all__)
    for name in eca_keras.__all__:
        assert getattr(eca_keras, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'ecaa'"):
        _ = eca_keras.ecaa
    for name in ("layers", "applications", "training"):
        module = importlib.import_module(f"eca_keras.{name}")
        for public in module.__all__:
            assert getattr(module, public).__doc__ or public.isupper()


def run(code, *, without=()):
    """Runs Python code in a fresh process, some packages not importable."""
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in without)
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{blocked}{code}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_import_loads_nothing_that_it_does_not_need():
    code = """
import keras
before = set(sys.modules)
import eca_keras
added = {m.split(".")[0] for m in set(sys.modules) - before}
assert added <= {"eca_keras"} | set(sys.stdlib_module_names), added
assert "eca_keras.training" not in sys.modules
assert "ECAResNet18" in dir(eca_keras.applications)
assert "eca_keras.applications.detection" not in sys.modules
assert eca_keras.applications.detection.MaskRCNN
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_a_missing_extra_is_one_sentence():
    code = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: (
    None if name in ("tyro", "sklearn") else find(name, *a)
)
from eca_keras.cli import main
assert main(["info"]) == 2
from eca_keras.training import load_source
try:
    load_source("digits")
except ImportError as error:
    print(error)
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert "pip install 'eca-keras[train]'" in result.stdout
    assert "The command line needs tyro: pip install" in result.stderr


@pytest.mark.slow
def test_wheel_and_sdist_hold_only_the_package(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"eca_keras"}
    for name in modules():
        path = name.replace(".", "/")
        assert {f"{path}.py", f"{path}/__init__.py"} & set(names), name
    assert "eca_keras/py.typed" in names
    [sdist] = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"applications/resnet.py", "training/loop.py"} <= names
    assert {"README.md", "LICENSE", "setup.cfg"} <= names
    assert not any(name.startswith("tests/golden") for name in names)
