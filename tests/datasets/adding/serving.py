"""A real HTTP server on this machine that misbehaves as it is told."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``content`` with its tag; each request takes the next of ``behaviours``, the last one for all others.

    ``ranges`` are the Range headers that arrived.
    """

    daemon_threads = True

    def __init__(self, content: bytes, *behaviours: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.behaviours = content, '"1"', list(behaviours) or [whole]
        self.ranges: list[str | None] = []
        self.leave = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        behaviour = server.behaviours[0] if len(server.behaviours) == 1 else server.behaviours.pop(0)
        behaviour(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


Behaviour = Callable[[Handler], None]


def asked(handler: Handler) -> tuple[int, int, dict[str, str]]:
    """The first byte, the status and the headers that an honest server answers."""
    server, size = handler.server, len(handler.server.content)
    start = int((handler.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
    if start == 0 or handler.headers.get("If-Range") != server.tag:
        return 0, 200, {"ETag": server.tag, "Content-Length": str(size)}
    headers = {"ETag": server.tag, "Content-Length": str(size - start)}
    return start, 206, {**headers, "Content-Range": f"bytes {start}-{size - 1}/{size}"}


def whole(handler: Handler) -> None:
    start, status, headers = asked(handler)
    handler.answer(status, headers, handler.server.content[start:])


def breaks_off(handler: Handler) -> None:
    """Sends half of what it announces."""
    start, status, headers = asked(handler)
    rest = handler.server.content[start:]
    handler.answer(status, headers, rest[: len(rest) // 2])


def lies(handler: Handler) -> None:
    """Announces twice its file."""
    content = handler.server.content
    handler.answer(200, {"Content-Length": str(2 * len(content)), "ETag": handler.server.tag}, content)


def stalls(handler: Handler) -> None:
    """Sends half, then nothing, until the test ends."""
    breaks_off(handler)
    handler.server.leave.wait(20)


def without_ranges(handler: Handler) -> None:
    handler.answer(200, {"Content-Length": str(len(handler.server.content))}, handler.server.content)


def chunked(handler: Handler) -> None:
    content = handler.server.content
    handler.protocol_version = "HTTP/1.1"
    handler.close_connection = True
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (content[:100], content[100:])) + b"0\r\n\r\n"
    handler.answer(200, {"Transfer-Encoding": "chunked", "Connection": "close"}, body)


def status(code: int) -> Behaviour:
    return lambda handler: handler.answer(code, {"Content-Length": "0"})


def page(text: str) -> Behaviour:
    return lambda handler: handler.answer(200, {"Content-Type": "text/html; charset=utf-8"}, text.encode())


def redirect(target: str) -> Behaviour:
    return lambda handler: handler.answer(302, {"Location": target, "Content-Length": "0"})


@contextmanager
def serving(content: bytes, *behaviours: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(content, *behaviours)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.leave.set()
        server.shutdown()
        thread.join()
        server.server_close()
