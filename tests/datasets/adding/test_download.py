"""Downloads from a server that breaks off, changes, lies, redirects, stalls, or sends something else."""

from __future__ import annotations

import random
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.request import Request

import pytest

from bench.datasets.adding import download as module
from bench.datasets.adding.download import FOLDER, download, is_address
from bench.errors import BenchError, DataError, StorageError, UsageError
from tests.datasets.adding import serving as answers
from tests.datasets.adding.serving import Behaviour, Handler, serving

CONTENT = random.Random(0).randbytes(300_000)


class Parts:
    """Records the parts of the work, and the bytes that were shown."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.shown: list[tuple[int, int]] = []

    def phase(self, name: str) -> None:
        self.names.append(name)

    def progress(self, done: int, total: int) -> None:
        self.shown.append((done, total))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(module, "SECONDS_TO_ANSWER", 0.3)
    monkeypatch.delenv("BENCH_OFFLINE", raising=False)


def changes(handler: Handler) -> None:
    """Another file from now on, whole."""
    handler.server.content, handler.server.tag = CONTENT, '"2"'
    answers.whole(handler)


def wrong_part(handler: Handler) -> None:
    """A part that begins elsewhere."""
    size = len(CONTENT)
    headers = {"Content-Range": f"bytes 5-{size - 1}/{size}", "Content-Length": str(size - 5), "ETag": '"1"'}
    handler.answer(206, headers, CONTENT[5:])


GO_ON: dict[str, tuple[bytes, Sequence[Behaviour], int]] = {  # the server's content, behaviours, and its requests
    "whole": (CONTENT, [answers.whole], 1),
    "breaks off": (CONTENT, [answers.breaks_off, answers.breaks_off, answers.whole], 3),
    "stalls": (CONTENT, [answers.stalls, answers.whole], 2),
    "is busy": (CONTENT, [answers.status(503), answers.whole], 2),
    "changes": (b"before" * 1000, [answers.breaks_off, changes, answers.whole], 2),
    "sends another part": (CONTENT, [answers.breaks_off, wrong_part, answers.whole], 3),
    "has no ranges": (CONTENT, [answers.breaks_off, answers.without_ranges], 2),
    "cannot continue": (CONTENT, [answers.breaks_off, answers.status(416), answers.whole], 3),
    "is chunked": (CONTENT, [answers.chunked], 1),
}


@pytest.mark.parametrize("name", GO_ON)
def test_a_download_ends_with_the_file(name: str, tmp_path: Path) -> None:
    content, behaviours, requests = GO_ON[name]
    parts = Parts()
    with serving(content, *behaviours) as server:
        file = download(f"{server.url}/archive.zip", tmp_path, parts)
        assert file.read_bytes() == CONTENT
        assert file.name == "archive.zip"
        assert len(server.ranges) == requests
        again = download(f"{server.url}/archive.zip", tmp_path, parts)
        assert (again, len(server.ranges)) == (file, requests)
    assert parts.names[0] == "waiting for 127.0.0.1"
    assert parts.shown[-1] == (len(CONTENT), len(CONTENT))


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serving(CONTENT, answers.breaks_off, answers.whole) as server:
        download(server.url, tmp_path, Parts())
        assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_later_command_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(CONTENT, answers.breaks_off, answers.whole) as server:
        with monkeypatch.context() as patch:
            patch.setattr(module.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                download(server.url, tmp_path, Parts())
        assert download(server.url, tmp_path, Parts()).read_bytes() == CONTENT
        assert server.ranges[1] == f"bytes={len(CONTENT) // 2}-"


GOOGLE = "<html><title>Google Drive - Virus scan warning</title>"
LOGIN = "<!DOCTYPE html><form><input type='password'></form>"
FAILS: dict[str, tuple[Behaviour, str]] = {
    "404": (answers.status(404), "no such file"),
    "403": (answers.status(403), "refuses"),
    "401": (answers.status(401), "login"),
    "Google Drive": (answers.page(GOOGLE), "Google Drive"),
    "login": (answers.page(LOGIN), "asks for a login"),
    "page": (answers.page("<p>hello"), "web page"),
    "lies about its length": (answers.lies, "announced 600,000 bytes"),
    "always busy": (answers.status(500), "500"),
    "redirects to a file": (answers.redirect("file:///etc/passwd"), "not to a web address"),
    "redirects to nothing": (answers.redirect("http://[::1/a.zip"), "no valid address"),
    "redirects for ever": (answers.redirect("/again"), "302"),
}


@pytest.mark.parametrize("name", FAILS)
def test_a_download_that_fails(name: str, tmp_path: Path) -> None:
    behaviour, reason = FAILS[name]
    with serving(CONTENT, behaviour) as server, pytest.raises(DataError, match=reason) as caught:
        download(server.url, tmp_path, Parts())
    assert str(caught.value).endswith(".")
    assert not [path for path in (tmp_path / FOLDER).rglob("*") if path.is_file() and not path.name.startswith(".")]


def test_a_redirect_to_a_login_page(tmp_path: Path) -> None:
    login = (answers.redirect("/login"), answers.page(LOGIN))
    with serving(CONTENT, *login) as server, pytest.raises(DataError, match="login"):
        download(server.url, tmp_path, Parts())


def test_a_redirect_to_the_file(tmp_path: Path) -> None:
    with serving(CONTENT, answers.redirect("/other/png.zip?token=1"), answers.whole) as server:
        assert download(f"{server.url}/png", tmp_path, Parts()).name == "png.zip"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/" + "%E4%B8%80" * 100 + ".zip", "\u4e00" * 56 + ".zip"),
        ("..%00%0A.zip", "zip"),
        ("a%2Fb%5C..c", "c"),
        ("", "download"),
    ],
)
def test_the_name_of_the_file(path: str, name: str, tmp_path: Path) -> None:
    with serving(CONTENT) as server:
        assert download(f"{server.url}/{path}", tmp_path, Parts()).name == name


def test_a_redirect_from_https_to_http_is_refused() -> None:
    before, after = Request("https://host/a"), "http://host/a"
    with pytest.raises(DataError, match="not safe"):
        module._Redirects().redirect_request(before, None, 302, "", {}, after)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serving(CONTENT) as server:
        url = server.url
    with pytest.raises(DataError, match="cannot be reached"):
        download(url, tmp_path, Parts())


def test_a_certificate_that_fails(tmp_path: Path) -> None:
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    try:
        subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(CONTENT, tls=tls) as server, pytest.raises(DataError, match="certificate of 127"):
        download(server.url.replace("http:", "https:"), tmp_path, Parts())


@pytest.mark.parametrize("variable", ["BENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    with serving(CONTENT) as server:
        with pytest.raises(DataError, match=variable):
            download(server.url, tmp_path, Parts())
        assert server.ranges == []
        monkeypatch.setenv(variable, "0")
        file = download(server.url, tmp_path, Parts())
        monkeypatch.setenv(variable, "1")
        assert download(server.url, tmp_path, Parts()) == file


def test_a_disk_without_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.datasets.adding.disk.shutil.disk_usage", lambda folder: type("", (), {"free": 1000}))
    with serving(CONTENT) as server, pytest.raises(StorageError, match="are needed"):
        download(server.url, tmp_path, Parts())
    assert list(tmp_path.iterdir()) == []


OTHERS = (
    *("ftp://host/a.zip", "s3://bucket/a.zip", "http:///a.zip", "https://me:secret@host/a"),
    *("http://[::1/a.zip", "http://host:port/a.zip", "http://host/a b.zip", "http://host/\u00e9.zip"),
)


@pytest.mark.parametrize("word", OTHERS)
def test_other_addresses_are_refused(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        is_address(word)
    assert isinstance(caught.value, BenchError)
    assert "secret" not in str(caught.value)
