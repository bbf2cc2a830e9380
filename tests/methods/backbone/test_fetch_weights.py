"""Weights are downloaded from a local server into the folders of torchvision and timm, and then used by default."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save
from typer.testing import CliRunner

from bench.cli.main import app
from bench.methods.backbone import fetch_weights, published_weights
from bench.methods.backbone.backbone import Backbone
from bench.methods.backbone.published_weights import Published, default_file, find_by_hash

NAME = "test_resnet"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def content() -> bytes:
    torch.manual_seed(0)
    return save({key: value.contiguous() for key, value in timm.create_model(NAME).state_dict().items()})


class Server(http.server.ThreadingHTTPServer):
    """Serves one file at any path as Hugging Face does; ``broken`` cuts the first answer off; counts bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.broken, self.status, self.sent = content, False, 200, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(self.server.content, self.server.status, head=True)

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.answer(self.server.content[start:], 206 if start else self.server.status)

    def answer(self, body: bytes, status: int, *, head: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha256(self.server.content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if head:
            return
        if self.server.broken:
            self.server.broken, body = False, body[: len(body) // 2]
            self.close_connection = True
        self.server.sent += len(body)
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server behind both libraries, whose folders are empty."""
    with Server(content) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("BENCH_OFFLINE")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "huggingface"))
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(fetch_weights, "TORCHVISION", server.url)
        yield server
        server.shutdown()


def get(runner: CliRunner) -> tuple[int, str, str]:
    done = runner.invoke(app, ["-q", "weights", "get", NAME])
    return done.exit_code, done.stdout, done.stderr


def publish(content: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """The network is one of torchvision's; the name of its file."""
    file = f"{NAME}-{hashlib.sha256(content).hexdigest()[:8]}.safetensors"
    monkeypatch.setattr(published_weights, "PUBLISHED", {NAME: (Published(file, len(content) / 2**20),)})
    monkeypatch.setattr(fetch_weights, "PUBLISHED", published_weights.PUBLISHED)
    return file


@pytest.mark.parametrize("torchvision", [False, True])
def test_downloaded_weights_are_the_default(
    torchvision: bool, server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torchvision:
        publish(content, monkeypatch)
    assert default_file(NAME) is None
    code, printed, error = get(runner)
    assert code == 0, error
    path = default_file(NAME)
    assert printed == f"{NAME}\t{path}\n"
    assert path is not None
    assert path.read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()
    assert Backbone(NAME).weights_hash == digest
    assert find_by_hash(NAME, digest) == path
    before = server.sent
    assert get(runner)[:2] == (code, printed)
    assert server.sent == before  # nothing is downloaded twice


def test_a_download_from_hugging_face_survives_a_broken_connection(
    server: Server, content: bytes, runner: CliRunner
) -> None:
    server.broken = True
    assert get(runner)[0] == 0
    path = default_file(NAME)
    assert path is not None
    assert path.read_bytes() == content


def test_a_file_with_another_hash_is_refused(
    server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(content, monkeypatch)
    server.content = content[:-1] + b"!"
    code, _, error = get(runner)
    assert (code, "invalid hash value" in error, error.count("\n")) == (7, True, 1)
    assert default_file(NAME) is None


def test_failures_are_one_sentence(
    server: Server, content: bytes, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(content, monkeypatch)
    server.status = 404
    code, _, error = get(runner)
    assert (code, "HTTP Error 404" in error, error.count("\n")) == (7, True, 1)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE forbids" in get(runner)[2]
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for name, code, message in (
        ("vit_nothing", 2, "no backbone 'vit_nothing'"),
        ("botnet50ts_256", 7, "published by timm"),
    ):
        done = runner.invoke(app, ["weights", "get", name])
        assert (done.exit_code, message in done.stderr) == (code, True), done.stderr


def test_the_list_has_source_size_licence_and_file(runner: CliRunner) -> None:
    rows = json.loads(runner.invoke(app, ["weights", "list", "--format", "json"]).stdout)["weights"]
    found = {row["backbone"]: row for row in rows}
    assert (found["resnet50"]["source"], found["resnet50"]["mebibytes"]) == ("torchvision", 97.781)
    assert found["resnet50"]["file"] is None
    assert Path(found["tf_efficientnet_lite0"]["file"]).is_file()
    (row,) = json.loads(runner.invoke(app, ["weights", "list", "convnext_tiny", "--format", "json"]).stdout)["weights"]
    assert row["source"].startswith("huggingface.co/timm/convnext_tiny")
    assert row["licence"] == "apache-2.0"
    assert runner.invoke(app, ["weights", "list", "convnext_tinny"]).exit_code == 2
