"""Whether downloads are allowed, and whether a server can be reached at all."""

from __future__ import annotations

import os
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from bench.errors import reason

OFFLINE = "BENCH_OFFLINE"  # --offline sets it, so that jobs and other processes of a run know it, too
SECONDS_TO_CONNECT = 5.0
SECONDS_TO_ANSWER = 10.0  # between two parts of what a server sends


def offline_by() -> str:
    """The variable that forbids downloads, BENCH_OFFLINE or HF_HUB_OFFLINE; empty if they are allowed."""
    values = {name: os.environ.get(name, "").strip().lower() for name in (OFFLINE, "HF_HUB_OFFLINE")}
    return next((name for name, value in values.items() if value in ("1", "true", "t", "yes", "y", "on")), "")


def check_server(url: str, seconds: float = SECONDS_TO_CONNECT) -> None:
    """Raise OSError, with one clause that names the server, unless it accepts a connection within ``seconds``.

    With a proxy in the environment, that is the server. A name is looked up in a thread of its own, because the
    system's look-up takes no time limit.
    """
    parts = urlsplit(url)
    proxy = "" if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme, "")
    if proxy:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    host = parts.hostname or ""
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ConnectionError(f"{parts.netloc!r} has no valid port") from error
    errors: list[Exception] = []

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=seconds).close()
        except (OSError, UnicodeError) as error:  # the latter for a name that no server can have
            errors.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    name = f"{'proxy ' if proxy else ''}{host}"
    if thread.is_alive() or any(isinstance(each, TimeoutError) for each in errors):
        raise TimeoutError(f"{name} accepted no connection within {seconds:g} seconds")
    if errors:
        raise ConnectionError(f"{name} cannot be reached: {reason(errors[0])}")
