"""Download an archive. What has arrived is kept, and the next attempt goes on there if the file is the same."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import ssl
import time
import urllib.request
from contextlib import suppress
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit

from bench.datasets.adding.disk import check_space, remove_work, storage_errors, unfinished_work
from bench.datasets.adding.entries import PART, Progress
from bench.datasets.adding.pages import explain_page, explain_status, is_page
from bench.errors import DataError, StorageError, UsageError
from bench.io import write_whole
from bench.network import SECONDS_TO_ANSWER, check_server, offline_by

log = logging.getLogger("bench.datasets")

FOLDER = ".downloads"
LONGEST_NAME = 60  # letters, of up to 4 bytes each
ATTEMPTS = 4  # without a further byte
SECONDS_BETWEEN = 1.0  # doubled each time
NO_RANGE = 416
BUSY = (408, 425, 429, 500, 502, 503, 504)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to http; raises ValueError for one to no valid address."""

    def http_error_302(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any) -> Any:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except (ValueError, DataError):
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if (urlsplit(req.full_url).scheme, urlsplit(newurl).scheme) == ("https", "http"):
            raise DataError(
                f"{req.full_url} leads to {newurl}, which is not safe: pass the address of the file itself."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_address(word: str) -> bool:
    """Whether a source is an address; raises UsageError unless it is one of http or https, without a password."""
    if "://" not in word:
        return False
    try:
        parts = urlsplit(word)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of brackets or of the port
        valid = False
    if not valid or not all("!" <= letter <= "~" for letter in word):  # others stand as %20 or so in an address
        raise UsageError(f"{word!r} is no valid http or https address: download the file, and add it.")
    if parts.username:
        raise UsageError(f"The address of {parts.hostname} holds a user name: download the file, and add it.")
    return True


def download(url: str, data_root: Path, progress: Progress) -> Path:
    """The file at an address, below ``data_root``; a complete one is not fetched again.

    Raises DataError if it cannot be fetched, is a web page, or downloads are forbidden; StorageError if the disk is
    full, and the part is then removed.
    """
    folder = data_root / FOLDER / hashlib.sha256(url.encode()).hexdigest()[:12]
    with unfinished_work(folder):
        complete = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if complete:
            return complete[0]
        if variable := offline_by():
            raise DataError(f"{variable} or --offline forbids to download {url}: unset it, or pass a downloaded file.")
        try:
            return _Download(url, folder, progress).run()
        except StorageError:
            remove_work(folder)
            raise


class _Download:
    """One file: ``.part`` holds what has arrived, ``.state`` what identifies the server's file."""

    def __init__(self, url: str, folder: Path, progress: Progress) -> None:
        self.url, self.folder, self.progress = url, folder, progress
        self.host = urlsplit(url).hostname or ""
        self.part, self.state = folder / ".part", folder / ".state"
        self.most = self.size
        self.opener = urllib.request.build_opener(_Redirects)

    def run(self) -> Path:
        """Fetch until the file is complete; after ``ATTEMPTS`` without a further byte raise DataError."""
        try:
            check_server(self.url)
        except OSError as error:
            raise DataError(f"{self.url} cannot be downloaded: {error}; check the address and the network.") from error
        failures = 0
        while True:
            try:
                return self._fetch()
            except (OSError, http.client.HTTPException) as error:
                problem = self._explain(error)
            except ValueError as error:  # of a redirect
                raise DataError(f"{self.url} leads to no valid address ({error}): check the address.") from error
            failures = 0 if self.size > self.most else failures + 1
            self.most = max(self.most, self.size)
            if failures >= ATTEMPTS:
                raise DataError(f"{self.url} cannot be downloaded ({problem}): try again later, it goes on then.")
            log.warning("%s: %s; trying again", self.host, problem)
            time.sleep(SECONDS_BETWEEN * 2**failures)

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _fetch(self) -> Path:
        known = self._known()
        start = self.size if known.get("validator") else 0
        request = urllib.request.Request(
            self.url, headers={"User-Agent": "zs-sbir-bench", "Accept-Encoding": "identity"}
        )
        if start:
            request.add_header("Range", f"bytes={start}-")
            request.add_header("If-Range", known["validator"])
        self.progress.phase(f"waiting for {self.host}")
        with self.opener.open(request, timeout=SECONDS_TO_ANSWER) as answer:
            facts = {"validator": _validator(answer.headers), "total": _total(answer)}
            goes_on = answer.status == http.client.PARTIAL_CONTENT
            # A 206 may leave out what If-Range has compared.
            changed = any(facts[key] not in (None, "", known.get(key)) for key in facts)
            if goes_on and (changed or _first_byte(answer.headers) != start):
                self._forget()
                raise http.client.HTTPException("the file on the server has changed")
            if start and not goes_on:
                log.warning("%s: the file on the server has changed, or it sends whole files only", self.host)
            return self._receive(answer, start if goes_on else 0, facts)

    def _receive(self, answer: HTTPResponse, start: int, facts: dict[str, Any]) -> Path:
        name, total = _name(answer), facts["total"]
        first = answer.read1(PART)
        if not start and is_page(first, answer.headers.get_content_type()):
            raise DataError(explain_page(self.url, answer.url, first + answer.read(PART)))
        check_space(self.folder, (total or 0) - start)
        if not start:
            self.part.unlink(missing_ok=True)  # a kill must not leave this state with the part of another file
            write_whole(self.state, json.dumps(facts).encode(), "--data-root")
        self.progress.phase(f"downloading {name}")
        done = start
        with storage_errors(self.folder), self.part.open("ab" if start else "wb") as file:
            while first:
                file.write(first)
                file.flush()  # kept if the process is killed
                done += len(first)
                self.progress.progress(done, total or done)
                first = self._next(answer)
        if total is not None and done != total:
            raise http.client.HTTPException(f"it announced {total:,} bytes and ended after {done:,}")
        with storage_errors(self.folder):
            self.state.unlink()
            return self.part.rename(self.folder / name)

    def _next(self, answer: HTTPResponse) -> bytes:
        try:
            return answer.read1(PART)
        except OSError as error:  # of the network, not of the disk
            raise http.client.HTTPException(_reason(error)) from error

    def _explain(self, error: Exception) -> str:
        """Why an attempt failed; raises DataError if another one would fail, too."""
        if isinstance(error, HTTPError):
            error.close()
            if error.code == NO_RANGE:
                self._forget()
            elif error.code not in BUSY:
                raise DataError(explain_status(self.url, error.code)) from error
            return f"status {error.code}"
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"The certificate of {self.host} is not valid ({reason.verify_message}): check the address and the "
                "clock of this machine, or download the file by other means and add it."
            ) from error
        return _reason(reason)

    def _known(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            return dict(json.loads(self.state.read_bytes()))
        return {}

    def _forget(self) -> None:
        self.state.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        self.most = 0


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"it sent nothing for {SECONDS_TO_ANSWER:g} seconds"
    if isinstance(error, http.client.IncompleteRead):
        return "it broke off"
    return str(getattr(error, "strerror", None) or error or "it closed the connection")


def _validator(headers: Message) -> str:
    """The identity of the server's file: a strong ETag, or the time of its last change; else empty."""
    tag = headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")


def _total(answer: HTTPResponse) -> int | None:
    """Bytes of the whole file, None if the server does not send them."""
    ranges, length = answer.headers.get("Content-Range", ""), answer.headers.get("Content-Length", "")
    text = ranges.rpartition("/")[2] if answer.status == http.client.PARTIAL_CONTENT else length
    return int(text) if text.isdecimal() else None


def _first_byte(headers: Message) -> int:
    text = headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(text) if text.isdecimal() else -1


def _name(answer: HTTPResponse) -> str:
    """The name of the file, as the server or its address has it."""
    name = answer.headers.get_filename() or unquote(urlsplit(answer.url).path)
    name = "".join(letter for letter in name if letter.isprintable())
    return name.replace("\\", "/").rpartition("/")[2][-LONGEST_NAME:].lstrip(".") or "download"  # the suffix matters
