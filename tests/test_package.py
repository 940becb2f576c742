"""The package as it is built, imported and documented."""

import ast
import configparser
import doctest
import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import eca_keras
from eca_keras.applications import registry
from eca_keras.applications import resnet
from eca_keras.applications.detection.detector import Detector

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


def lazy_packages():
    packages = [name for name in modules() if " = attach(" in source(name)]
    return ["eca_keras", *packages]


def source(name):
    path = pathlib.Path(importlib.util.find_spec(name).origin)
    return path.read_text("utf-8")


@pytest.mark.parametrize("name", lazy_packages())
def test_lazy_names_are_those_that_type_checkers_see(name):
    package = importlib.import_module(name)
    seen = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(source(name)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert {each for _, each in seen} - {"detection"} == set(package.__all__)
    for home, each in seen:
        value = getattr(package, each)
        assert value is not None
        found = getattr(importlib.import_module(home), each)
        assert value is found, f"{name}.{each}"
    # Importing a module makes it an attribute of its package.
    own = {module.name for module in pkgutil.iter_modules(package.__path__)}
    submodules = {each for home, each in seen if home == name}
    assert not own & (set(package.__all__) - submodules)


def test_the_registry_says_what_the_tables_say():
    assert {"ECAMobileNetV2", *resnet.RESNETS} == set(registry.BUILDERS)
    for name, row in registry.BUILDERS.items():
        builder = registry.find_builder(name)
        assert builder is getattr(eca_keras.applications, name)
        assert row.default_size == builder.row.default_size
    for name, row in registry.DETECTORS.items():
        kind = registry.find_detector(name)
        parameters = inspect.signature(kind.__init__).parameters
        shared = set(inspect.signature(Detector.__init__).parameters)
        assert set(parameters) - shared - {"shared"} == set(row.options)
    with pytest.raises(ValueError, match="`model` must be one of ECAResNet18"):
        registry.find_builder("ECAResNet19")
    with pytest.raises(ValueError, match="`detector` must be one of RetinaNet"):
        registry.find_detector("YOLO")


LIGHT = """
import eca_keras
import eca_keras.applications.building
import eca_keras.applications.registry
dir(eca_keras.applications), dir(eca_keras.applications.detection)
loaded = {m.split(".")[0] for m in sys.modules}
assert not {"keras", "tensorflow", "numpy"} & loaded, loaded
"""


@pytest.mark.slow
def test_import_adds_nothing_to_keras_but_itself():
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


def test_import_loads_nothing_that_it_does_not_need():
    result = run(LIGHT)
    assert result.returncode == 0, result.stderr


KNOWN = """
found = keras.saving.get_registered_object("eca_keras>ECA")
assert found is not None and found.__module__ == "eca_keras.layers.eca"
assert "eca_keras.applications.resnet" not in sys.modules
assert not any("eca_keras" in type(f).__module__ for f in sys.meta_path)
"""
ORDERS = {
    "keras first": "import keras, eca_keras",
    "keras last": "import eca_keras, keras",
    "a name of keras": "import eca_keras\n"
    "from keras import layers\nimport keras",
    "a module of keras": "import eca_keras, keras.layers",
    "a spec of keras": "import eca_keras, importlib.util\n"
    "importlib.util.find_spec('keras')\nimport keras",
    "the layer": "from eca_keras import ECA\nimport keras",
    "tensorflow first": "import tensorflow, eca_keras, keras",
    "tensorflow's keras": "import eca_keras, tensorflow as tf\n"
    "tf.keras.Model\nimport keras",
}


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_keras_knows_the_layers_in_any_order(order):
    result = run(ORDERS[order] + KNOWN)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("order", ["keras first", "keras last"])
def test_layers_that_fail_leave_keras_alone(order):
    blocked = "sys.modules['eca_keras.layers.eca'] = None\n"
    result = run(
        blocked + ORDERS[order] + "\nassert keras.Model\n"
        "assert not any('eca_keras' in type(f).__module__ for f in "
        "sys.meta_path)\nfrom eca_keras import ECA"
    )
    assert result.returncode == 1
    assert "RuntimeWarning: Keras does not know the layers" in result.stderr
    assert "import of eca_keras.layers.eca halted" in result.stderr


@pytest.mark.slow
def test_a_failed_import_of_keras_can_be_tried_again():
    result = run(
        "import eca_keras\nsys.modules['keras.src'] = None\n"
        "try:\n    import keras\n"
        "except ImportError:\n    del sys.modules['keras.src']\n"
        "import keras" + KNOWN
    )
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
    assert {"applications/resnet.py", "training/run/loop.py"} <= names
    assert {"README.md", "LICENSE", "setup.cfg"} <= names
    assert not any(name.startswith("tests/golden") for name in names)
