"""Explain what a server sent in place of an archive: a web page, or a status."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

BEGINNINGS = (b"<!doctype html", b"<html", b"<head")
BY_BROWSER = "download the file in a browser, and add that file"
STATUS = {
    401: f"asks for a login: {BY_BROWSER}",
    403: f"refuses this download: {BY_BROWSER}, or ask its owner for access",
    404: "has no such file: check the address",
    410: "has removed this file: look for another address",
}


def explain_status(url: str, status: int) -> str:
    """The sentence for a status that does not pass by waiting."""
    other = "redirects in a circle, or not to a web address" if status < 400 else "does not send this file"
    return f"{urlsplit(url).hostname} {STATUS.get(status, f'{other}: check the address')} ({status} for {url})."


def is_page(start: bytes, content_type: str) -> bool:
    """Whether a file that begins with ``start`` is a web page."""
    if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:20].lower().startswith(BEGINNINGS):
        return True
    return content_type == "text/html" and b"\0" not in start[:512]


def explain_page(url: str, last_url: str, page: bytes) -> str:
    """The sentence for a web page at an address that led to ``last_url``."""
    text, hosts = page.decode(errors="replace"), (urlsplit(url).hostname or "", urlsplit(last_url).hostname or "")
    if any(host.endswith("google.com") for host in hosts) or re.search(
        r"Google Drive|drive\.usercontent\.google", text
    ):
        why = "of Google Drive (its warning that it cannot scan a large file, its daily limit, or a login)"
    elif re.search(r"type=.?password|<title>[^<]*(log|sign)[ -]?in\b", text, re.IGNORECASE):
        why = "that asks for a login"
    else:
        why = "and not a file"
    return f"{url} is a web page {why}: {BY_BROWSER}."
