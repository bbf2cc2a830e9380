"""Downloads are forbidden by variables and by --offline, and a server out of reach costs seconds at most."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.network import check_server, offline_by


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BENCH_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which a server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("name", ["BENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_each_variable_forbids_downloads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offline_by() == ""
    monkeypatch.setenv(name, "0")
    assert offline_by() == ""
    monkeypatch.setenv(name, "1")
    assert offline_by() == name


def test_the_option_stands_anywhere_on_the_line(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "0")  # restored after the test
    done = runner.invoke(app, ["weights", "get", "resnet50", "--offline"])
    assert (done.exit_code, "BENCH_OFFLINE" in done.stderr) == (7, True), done.stderr


def test_a_server_that_listens_is_reached(port: int) -> None:
    check_server(f"http://127.0.0.1:{port}/file")


def test_a_refused_connection_names_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionError, match=r"^127\.0\.0\.1 cannot be reached"):
        check_server(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["http://a..b", "http://host:port"])
def test_an_address_that_no_server_can_have(url: str) -> None:
    with pytest.raises(ConnectionError):
        check_server(url)


def test_the_proxy_of_the_environment_is_what_must_be_reached(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "")
    check_server("http://server.invalid/file")


def test_a_look_up_without_an_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    with pytest.raises(TimeoutError, match=r"^server\.invalid accepted no connection within 0\.1 seconds"):
        check_server("http://server.invalid", seconds=0.1)
    over.set()
