"""A local server in place of torchvision's and Hugging Face's, with the weights of a small network."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save

from bench.methods.backbone import fetch_weights, published_weights
from bench.methods.backbone.published_weights import Published

NAME = "test_resnet"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def content() -> bytes:
    torch.manual_seed(0)
    return save({key: value.contiguous() for key, value in timm.create_model(NAME).state_dict().items()})


class Server(http.server.ThreadingHTTPServer):
    """Serves one file at any path as Hugging Face does; ``broken`` cuts the first answer off; counts what it did."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.broken, self.status, self.sent = content, False, 200, 0
        self.stated, self.requests = hashlib.sha256(content).hexdigest(), 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.answer(self.server.content, self.server.status, head=True)

    def do_GET(self) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        status = 206 if start else self.server.status
        self.answer(self.server.content[start:], 416 if start and start >= len(self.server.content) else status)

    def answer(self, body: bytes, status: int, *, head: bool = False) -> None:
        self.server.requests += 1
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{self.server.stated}"')
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
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.delenv("BENCH_OFFLINE")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "huggingface"))
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(fetch_weights, "TORCHVISION", server.url)
        yield server
        server.shutdown()


def publish(content: bytes, monkeypatch: pytest.MonkeyPatch) -> str:
    """The network is one of torchvision's; the name of its file."""
    file = f"{NAME}-{hashlib.sha256(content).hexdigest()[:8]}.safetensors"
    monkeypatch.setattr(published_weights, "PUBLISHED", {NAME: (Published(file, len(content) / 2**20),)})
    monkeypatch.setattr(fetch_weights, "PUBLISHED", published_weights.PUBLISHED)
    return file
