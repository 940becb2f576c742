"""Public weights: a cache laid out like the hub's, and a server like it."""

import hashlib
import http.server
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants
from reference import golden_images
from reference import golden_logits
from reference import golden_state

from eca_keras import applications
from eca_keras.errors import InputError
from eca_keras.weights import HOSTED
from eca_keras.weights import hub
from eca_keras.weights import preprocessing

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b"some weights"


def fill_cache(cache, repo, write):
    """Lays a repository out as the hub's client does.

    Args:
        cache: The folder of the cache.
        repo: Name of the repository.
        write: Callable that writes the weights to a path.
    """
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    for path in (folder / "blobs", folder / "refs", snapshot):
        path.mkdir(parents=True)
    write(folder / "blobs" / "0")
    (folder / "refs" / "main").write_text(COMMIT)
    (snapshot / hub.FILE).symlink_to("../../blobs/0")
    return snapshot / hub.FILE


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub's client, which must not use the network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers for one repository as the hub does."""

    repo = "timm/ecaresnet50t.a1_in1k"
    content = CONTENT

    def do_HEAD(self):
        if self.path != f"/{self.repo}/resolve/main/{hub.FILE}":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header(
            "ETag", f'"{hashlib.sha256(self.content).hexdigest()}"'
        )
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        if self.path.startswith(f"/{self.repo}/"):
            self.wfile.write(self.content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    """The address of a server on this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


@pytest.fixture
def endpoint(server, cache, monkeypatch):
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        template.replace(constants.ENDPOINT, server),
    )
    monkeypatch.setattr(constants, "ENDPOINT", server)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return server


def test_downloads_once(endpoint, cache, monkeypatch):
    path = hub.download("ECAResNet50T", "a1_in1k")
    assert pathlib.Path(path).read_bytes() == CONTENT
    assert pathlib.Path(path).is_relative_to(cache)
    monkeypatch.setattr(Hub, "repo", "gone")  # the cache is enough from now on
    assert hub.download("ECAResNet50T", "a1_in1k") == path


def test_a_repository_that_is_gone(endpoint):
    sentence = (
        r"^model\.safetensors of timm/ecaresnet50t\.ra2_in1k is not in the "
        r"cache .* and could not be downloaded \(the hub answered 404\): "
        "connect .*HF_ENDPOINT .*HF_HUB_CACHE"
    )
    with pytest.raises(OSError, match=sentence):
        hub.download("ECAResNet50T")


def test_offline_without_cache(cache):
    with pytest.raises(OSError, match=r"HF_HUB_OFFLINE is set.*pass its path"):
        applications.ECAResNet26T(weights="imagenet")


def test_missing_client(monkeypatch, cache):
    find_spec = hub.errors.importlib.util.find_spec
    monkeypatch.setattr(
        hub.errors.importlib.util,
        "find_spec",
        lambda name: None if name == "huggingface_hub" else find_spec(name),
    )
    with pytest.raises(ImportError, match="eca-keras.convert."):
        hub.download("ECAResNet26T")


def test_unknown_tag():
    known = "'ra2_in1k', 'a1_in1k', 'a2_in1k', 'a3_in1k'"
    with pytest.raises(ValueError, match=f"'imagenet', {known} .hosted"):
        applications.ECAResNet50T(weights="a9_in1k")
    with pytest.raises(InputError, match=f"hub: {known}. Received"):
        preprocessing("ECAResNet50T", "a9_in1k")
    with pytest.raises(InputError, match="No ImageNet weights of ECAResNet18"):
        preprocessing("ECAResNet18", "a1_in1k")


def test_network_without_hosted_weights():
    for builder in (applications.ECAResNet18, applications.ECAMobileNetV2):
        with pytest.raises(ValueError, match="no ImageNet weights are hosted"):
            builder(weights="imagenet")
        # A tag of another network is no path.
        with pytest.raises(ValueError, match="or the path to the weights"):
            builder(weights="ra2_in1k")


@pytest.mark.parametrize("weights", ["imagenet", "ra2_in1k"])
def test_other_number_of_classes(weights):
    sentence = "`classes` should be 1000. Received: classes=10"
    with pytest.raises(ValueError, match=sentence):
        applications.ECAResNet26T(weights=weights, classes=10)


def test_a_damaged_download_is_one_sentence(cache):
    fill_cache(
        cache,
        "timm/ecaresnet26t.ra2_in1k",
        lambda path: path.write_bytes(b"<html>Please log in</html>"),
    )
    with pytest.raises(InputError, match="it is a web page"):
        applications.ECAResNet26T(weights="imagenet")


def test_preprocessing_of_public_weights():
    # The figures of timm's configurations, counted by hand for three of them.
    small = preprocessing("ECAResNet50T", "a3_in1k")
    assert (small.image_size, small.interpolation) == (160, "bicubic")
    assert round(small.image_size / small.crop_fraction) == 168
    large = preprocessing("ECAResNet269D", test=True)
    assert (large.image_size, large.crop_fraction) == (352, 1.0)
    authors = preprocessing("ECAResNet50")
    assert (authors.image_size, authors.crop_fraction) == (224, 0.875)
    assert authors.interpolation == "bilinear"


_TIMMS_CONSTANTS = """
import dataclasses, json, sys, timm
print(json.dumps({
    name: dataclasses.asdict(timm.get_pretrained_cfg(name))
    for name in sys.argv[1:]
}, default=str))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="compares with timm"
)
def test_constants_are_timms():
    names = {
        f"{hub.TIMM_NAMES[builder]}.{tag}": (builder, tag)
        for builder, tags in HOSTED.items()
        for tag in tags
    }
    defaults = [hub.TIMM_NAMES[builder] for builder in HOSTED]
    # Not in this process: TensorFlow and torchvision do not share one.
    result = subprocess.run(
        [sys.executable, "-c", _TIMMS_CONSTANTS, *names, *defaults],
        check=True,
        capture_output=True,
        text=True,
    )
    configs = json.loads(result.stdout)
    for name, (builder, tag) in names.items():
        images, config = HOSTED[builder][tag], configs[name]
        assert config["hf_hub_id"] == hub.repository(builder, tag)
        assert config["num_classes"] == hub.CLASSES
        sizes = [config["input_size"], config["test_input_size"]]
        assert sizes == [[3, n, n] for n in (images.size, images.test_size)]
        crops = config["crop_pct"], config["test_crop_pct"]
        assert crops == (images.crop, images.test_crop)
        settings = preprocessing(builder, tag)
        assert config["interpolation"] == settings.interpolation
        assert config["mean"] == list(settings.mean)
        assert config["std"] == list(settings.std)
        if tag == hub.find_tag(builder, "imagenet"):
            assert configs[hub.TIMM_NAMES[builder]]["tag"] == tag


@pytest.fixture(scope="module")
def golden_cache(tmp_path_factory):
    """A cache with an ECAResNet50T under timm's default tag."""
    folder = tmp_path_factory.mktemp("hub")
    state = golden_state("timm_ecaresnet50t")
    fill_cache(
        folder,
        "timm/ecaresnet50t.ra2_in1k",
        lambda path: safetensors.numpy.save_file(state, path),
    )
    return folder


@pytest.mark.slow
def test_logits_with_imagenet_weights_equal_timms(golden_cache, cache):
    cache.symlink_to(golden_cache)
    model = applications.ECAResNet50T(
        weights="imagenet",
        input_shape=(128, 128, 3),
        classifier_activation=None,
    )
    logits = model.predict(golden_images(), verbose=0)
    difference = np.abs(logits - golden_logits("timm_ecaresnet50t")).max()
    assert difference < 1e-5  # as in test_golden
    features = applications.ECAResNet50T(
        weights="ra2_in1k", include_top=False, pooling="avg"
    )
    head = model.get_layer("predictions")
    np.testing.assert_allclose(
        head(features(golden_images(), training=False)), logits, atol=1e-5
    )
    with pytest.raises(InputError, match="Pass kernel_size="):
        applications.ECAResNet50T(weights="imagenet", kernel_size=3)


@pytest.mark.slow
def test_the_clients_own_settings(golden_cache, server, tmp_path, monkeypatch):
    """HF_ENDPOINT and HF_HUB_CACHE, in a process that reads them."""
    source = golden_cache / "models--timm--ecaresnet50t.ra2_in1k/blobs/0"
    monkeypatch.setattr(Hub, "repo", "timm/ecaresnet50t.ra2_in1k")
    monkeypatch.setattr(Hub, "content", source.read_bytes())
    code = (
        "from eca_keras.applications import ECAResNet50T\n"
        "model = ECAResNet50T(weights='imagenet', include_top=False)\n"
        "print(float(model.get_layer('conv1_1_bn').gamma[0]))\n"
    )
    settings = {"HF_ENDPOINT": server, "HF_HUB_CACHE": str(tmp_path / "hub")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings, "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    expected = golden_state("timm_ecaresnet50t")["conv1.1.weight"][0]
    assert float(result.stdout) == pytest.approx(expected, abs=1e-7)
