"""What an export leaves behind: all of it or nothing."""

import contextlib
import os
import resource
import sys

import pytest
from export_models import FORMATS
from export_models import content
from export_models import dense_net
from export_models import randomised
from export_models import tampered

import eca_keras
from eca_keras.export import ExportMismatch
from eca_keras.utils import files as atomic


@pytest.fixture(scope="module")
def net():
    return randomised(dense_net())


@pytest.fixture(params=FORMATS)
def export(request):
    """A function that exports into a folder under the usual name."""
    function, name = FORMATS[request.param]

    def call(model, folder, **arguments):
        return function(model, folder / name, **arguments)

    call.function, call.name = function, name
    return call


def test_an_earlier_export_is_replaced(export, net, tmp_path):
    export(net, tmp_path, labels=list("abcde"))
    before = content(tmp_path)
    with pytest.raises(FileExistsError, match="must be new with `overwrite="):
        export(net, tmp_path, overwrite=False)
    assert content(tmp_path) == before
    export(randomised(dense_net(), seed=1), tmp_path, labels=list("vwxyz"))
    after = content(tmp_path)
    assert before.keys() == after.keys()
    label_file = next(name for name in after if name.endswith("labels.txt"))
    assert after[label_file] == b"v\nw\nx\ny\nz\n"
    assert sum(before[name] != after[name] for name in after) > 1


def interrupt(outputs):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("change", "error"),
    [(interrupt, KeyboardInterrupt), (lambda y: y + 1, ExportMismatch)],
)
def test_failure_keeps_the_earlier_export(
    change, error, export, net, tmp_path, monkeypatch
):
    export(net, tmp_path, labels=list("abcde"))
    before = content(tmp_path)
    tampered(monkeypatch, change)
    with pytest.raises(error):
        export(net, tmp_path, labels=list("vwxyz"))
    assert content(tmp_path) == before


def test_other_things_are_not_replaced(export, net, tmp_path):
    target = tmp_path / export.name
    target.mkdir()
    (target / "thesis.txt").write_text("words")
    with pytest.raises(
        OSError, match="`path` must (be new, an empty|not be a) folder"
    ):
        export(net, tmp_path)
    assert content(tmp_path) == {f"{export.name}/thesis.txt": b"words"}


def test_saved_model_does_not_replace_a_file(net, tmp_path):
    (tmp_path / "net").write_text("words")
    with pytest.raises(NotADirectoryError, match="`path` must not be a file"):
        eca_keras.export_saved_model(net, tmp_path / "net")
    assert content(tmp_path) == {"net": b"words"}


def test_link_stays_a_link(export, net, tmp_path):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / export.name
    link.symlink_to(tmp_path / f"target-{export.name}")
    for _ in range(2):
        export(net, tmp_path / "links")
        assert link.is_symlink()
    assert (tmp_path / f"target-{export.name}").exists()


def test_folder_that_cannot_be_written(export, net, tmp_path):
    (tmp_path / "file").write_text("words")
    with pytest.raises(
        NotADirectoryError, match=f"Could not write .*{export.name}: "
    ):
        export(net, tmp_path / "file")


@contextlib.contextmanager
def file_size_limit(size):
    """Has the OS refuse longer files, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_full_disk(export, net, tmp_path):
    export(net, tmp_path)
    before = content(tmp_path)
    large = dense_net(256, 256)  # 256 KiB
    with (
        pytest.raises(OSError, match=f"Could not write .*{export.name}: File"),
        file_size_limit(100_000),
    ):
        export(large, tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize("exchange", [True, False])
def test_folder_is_replaced_whole(exchange, tmp_path, monkeypatch):
    if not exchange:  # as on an OS that cannot swap two folders
        monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    for text in ("old", "new"):
        with atomic.staged_folder(
            tmp_path / "a", is_ours=lambda path: True
        ) as new:
            os.mkdir(new)
            with open(os.path.join(new, text), "w") as file:
                file.write(text)
    assert content(tmp_path) == {"a/new": b"new"}
    assert os.listdir(tmp_path) == ["a"]


def test_failed_replacement_restores_the_folder(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("old")
    monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    with (
        pytest.raises(FileNotFoundError, match="Could not write"),
        atomic.staged_folder(tmp_path / "a", is_ours=lambda path: True),
    ):
        pass  # nothing is written, so the last rename fails
    assert content(tmp_path) == {"a/old": b"old"}
    assert os.listdir(tmp_path) == ["a"]


def test_exchange(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if sys.platform == "linux":
        assert atomic._exchange(str(tmp_path / "a"), str(tmp_path / "b"))
        assert content(tmp_path).keys() == {"a/b", "b/a"}
    assert not atomic._exchange(str(tmp_path / "a"), str(tmp_path / "c"))
