"""demos/browser: the built page, in headless Chromium, without a network."""

import base64
import functools
import http.server
import json
import pathlib
import shutil
import subprocess
import threading

import chromium
import keras
import numpy as np
import pytest
from export_models import randomised
from keras import layers
from PIL import Image

import eca_keras
from eca_keras.applications.image_settings import Preprocessing
from eca_keras.training.trained import Trained

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (chromium.find() and shutil.which("npm")),
        reason="needs Chromium and npm",
    ),
]
DEMO = pathlib.Path(__file__).parents[1] / "demos" / "browser"


def colour_settings():
    return Preprocessing(
        labels=("tench", "Kätzchen", "crane", "a <b>", "x", "y"),
        image_size=24,
        channels=3,
        crop_fraction=0.875,
        interpolation="bicubic",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def grey_settings():
    return Preprocessing(
        labels=("a", "b", "c"),
        image_size=20,
        channels=1,
        crop_fraction=1.0,
    )


def network(settings):
    size, channels = settings.image_size, settings.channels
    x = inputs = keras.Input((size, size, channels))
    if settings.mean is None:
        x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = eca_keras.ECA()(layers.Conv2D(16, 3, activation="relu")(x))
    x = layers.Dense(len(settings.labels))(layers.GlobalAveragePooling2D()(x))
    return randomised(keras.Model(inputs, layers.Softmax()(x)))


def run(*command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The demo as a user builds it: the folder and the script's path."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(
        DEMO,
        folder / "demo",
        ignore=shutil.ignore_patterns("node_modules", "dist"),
    )
    run("npm", "ci", "--ignore-scripts", folder=folder / "demo")
    return folder / "demo"


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self):
        # Files are told apart by the second, and a test builds faster.
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(page):
    """The address of `dist`, served as plain files."""
    handler = functools.partial(Handler, directory=page / "dist")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def tab(tmp_path):
    with chromium.browser(tmp_path / "profile") as tab:
        yield tab


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    paths = []
    for name, size, mode in (
        ("a.png", (90, 41), "RGB"),
        ("b.jpg", (33, 64), "RGB"),
        ("c.png", (17, 19), "L"),
        ("d.jpg", (300, 211), "RGB"),
    ):
        coarse = rng.integers(0, 256, (6, 6, 3), "uint8")
        image = Image.fromarray(coarse).resize(size).convert(mode)
        image.save(folder / name)
        paths.append(folder / name)
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    with Image.open(paths[-1]) as image:
        image.save(folder / "turned.jpg", exif=turned)
    return [*paths, folder / "turned.jpg"]


def export(settings, folder):
    """Writes model.keras and model.onnx; returns a `Trained`."""
    model = network(settings)
    model.save(folder / "model.keras")
    settings.save(folder)
    eca_keras.export_onnx(model, folder / "model.onnx", preprocessing=settings)
    return Trained.load(folder)


def choose(tab, path):
    tab.call(
        "DOM.setFileInputFiles", nodeId=tab.node("#file"), files=[str(path)]
    )


def drop(tab, path):
    box = tab.call("DOM.getBoxModel", nodeId=tab.node("#drop"))["model"]
    x, y = np.mean(np.reshape(box["content"], (4, 2)), 0).tolist()
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        tab.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)


def answers(tab, path):
    """What the page shows once it has classified a file."""
    status = "document.querySelector('#status').textContent"
    tab.wait_for(f"{status}.startsWith({json.dumps(path.name)} + ':')")
    return tab.evaluate(
        "[...document.querySelectorAll('#answers li')].map((item) => ["
        "item.firstChild.textContent, Number(item.dataset.share)])"
    )


@pytest.mark.parametrize("settings", [colour_settings, grey_settings])
def test_answers_are_those_of_predict(
    settings, page, served, tab, files, tmp_path
):
    trained = export(settings(), tmp_path)
    model = str(tmp_path / "model.onnx")
    run("npm", "run", "build", "--", model, folder=page)
    tab.call("Page.navigate", url=served)
    tab.wait_for("document.querySelector('#status').textContent === 'Ready.'")
    firsts = set()
    for number, path in enumerate(files):
        (drop if number % 2 else choose)(tab, path)
        shown = answers(tab, path)
        expected = trained.predict(path)[:5]
        assert [name for name, _ in shown] == [name for name, _ in expected]
        np.testing.assert_allclose(
            [share for _, share in shown],
            [share for _, share in expected],
            atol=2e-3,  # a pixel or two that is rounded the other way
        )
        firsts.add(round(shown[0][1], 3))
    assert len(firsts) == len(files)
    picture = tab.call("Page.captureScreenshot")["data"]
    (tmp_path / "page.png").write_bytes(base64.b64decode(picture))
    with Image.open(tmp_path / "page.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 20)) > 100
    asked = {
        event["params"]["request"]["url"]
        for event in tab.events
        if event.get("method") == "Network.requestWillBeSent"
    }
    assert served + "model.onnx" in asked
    assert all(url.startswith((served, "blob:", "data:")) for url in asked)
    problems = [
        event
        for event in tab.events
        if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")
    ]
    assert not problems


def test_what_goes_wrong_is_said(page, served, tab, files, tmp_path):
    run("npm", "run", "build", folder=page)
    status = "document.querySelector('#status').textContent"
    tab.call("Page.navigate", url=served)
    tab.wait_for(f"{status}.endsWith('there is no model.onnx.json')")
    settings = colour_settings()
    eca_keras.export_onnx(network(settings), tmp_path / "model.onnx")
    model = str(tmp_path / "model.onnx")
    run("npm", "run", "build", "--", model, folder=page)
    tab.call("Page.navigate", url=served)
    tab.wait_for(f"{status}.includes('has no preprocessing: export')")
    export(settings, tmp_path)
    run("npm", "run", "build", "--", model, folder=page)
    tab.call("Page.navigate", url=served)
    tab.wait_for(f"{status} === 'Ready.'")
    (tmp_path / "words.png").write_text("words")
    choose(tab, tmp_path / "words.png")
    tab.wait_for(f"{status}.startsWith('words.png could not be classified')")
    choose(tab, files[0])
    assert len(answers(tab, files[0])) == 5
