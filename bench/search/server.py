"""A local page with a drawing pad and live results.

GET / is the page, GET /photo/N a thumbnail of photo N. POST /query takes a picture file and answers in JSON:
``{"found": [{"place", "position", "path", "class_name", "similarity", "instance"}], "seconds"}``, or one sentence in
``{"error"}``.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from string import Template
from typing import Any

from bench.errors import BenchError, UsageError, reason
from bench.reports.gallery import make_thumbnail
from bench.reports.html import template
from bench.search.searcher import Searcher

log = logging.getLogger("bench.search.server")

LARGEST = 10_000_000  # bytes of an upload
COUNT = 24  # photos in an answer
PICTURE = 192  # pixels of the longer side of a photo on the page
SECONDS = 20  # to receive a picture
SAFE = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Server(ThreadingHTTPServer):
    """A bound server; ``serve_forever`` answers each request in its own thread.

    Raises UsageError when the address cannot be bound.
    """

    def __init__(self, searcher: Searcher, title: str, host: str, port: int) -> None:
        self.searcher, self.local_only = searcher, is_local(host)
        page = Template(template("serve.html")).substitute(
            title=title,
            photos=f"{len(searcher.photos):,}",
            style=template("page.css") + template("results.css"),
            script=template("serve.js"),
        )
        self.page = page.encode()
        self.picture = lru_cache(maxsize=4096)(self._picture)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host.strip("[]"), port), _Handler)
        except (OSError, OverflowError) as error:
            cure = "choose another --port or --host"
            raise UsageError(f"{host}:{port} cannot be bound ({reason(error)}): {cure}.") from error

    def _picture(self, position: int) -> bytes:
        path = self.searcher.photos[position].path
        return make_thumbnail(self.searcher.dataset.read(path), path, PICTURE)


def is_local(host: str) -> bool:
    """Whether only this machine reaches a name or address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = SECONDS
    server_version, sys_version = "bench", ""

    def do_GET(self) -> None:
        """The page or a photo."""
        if self._refuse_foreign():
            return
        photo = re.fullmatch(r"/photo/([0-9]{1,12})", self.path)
        if self.path in ("/", "/index.html"):
            self._answer(200, "text/html; charset=utf-8", self.server.page)
        elif photo and int(photo[1]) < len(self.server.searcher.photos):
            try:
                self._answer(200, "image/webp", self.server.picture(int(photo[1])), cache="max-age=3600")
            except (BenchError, OSError) as error:
                self._refuse(404, f"That photo cannot be shown: {error}")
        else:
            self._refuse(404, "There is nothing here.")

    def do_POST(self) -> None:
        """A sketch, as the bytes of a picture file."""
        if self._refuse_foreign():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/query" or not (length.isascii() and length.isdigit()):
            self._refuse(404 if self.path != "/query" else 411, "Send a picture file with its length to /query.")
        elif int(length[:20]) > LARGEST:
            self.close_connection = True  # the rest is not read
            self._refuse(413, f"The file has more than {LARGEST // 1_000_000} MB: send a smaller picture.")
        else:
            try:
                content = self.rfile.read(int(length))
                start = time.perf_counter()
                matches = self.server.searcher.query(content, "of your request", COUNT)
            except BenchError as error:
                self._refuse(400, str(error))
            except TimeoutError:
                self.close_connection = True
                self._refuse(408, "The picture did not arrive in time: send it again.")
            else:
                seconds = round(time.perf_counter() - start, 3)
                self._json(200, {"found": [asdict(each) for each in matches], "seconds": seconds})

    def _refuse_foreign(self) -> bool:
        """Refuse a request from another site's page, or by another host name; returns whether it was refused."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        same = origin is None or origin.partition("://")[2] == self.headers.get("Host", "")
        if same and (not self.server.local_only or is_local(host)):
            return False
        self.close_connection = True
        self._refuse(403, "This page answers only to its own address.")
        return True

    def _refuse(self, status: int, sentence: str) -> None:
        self._json(status, {"error": sentence})

    def _json(self, status: int, value: Mapping[str, Any]) -> None:
        self._answer(status, "application/json", json.dumps(value).encode())

    def _answer(self, status: int, kind: str, content: bytes, cache: str = "no-store") -> None:
        about = {"Cache-Control": cache, "Content-Type": kind, "Content-Length": str(len(content))}
        try:
            self.send_response(status)
            for name, value in {**SAFE, **about}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True  # the client is gone

    def log_message(self, format: str, *args: Any) -> None:
        """To the program's log instead of stderr."""
        log.debug(format, *args)
