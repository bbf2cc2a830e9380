"""Download the ImageNet weights of a backbone into the folders in which torchvision and timm keep them."""

from __future__ import annotations

import http.client
import logging
import os
import re
import sys
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

import huggingface_hub
from filelock import FileLock
from huggingface_hub.utils.tqdm import disable_progress_bars
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from bench.errors import LoadingError
from bench.io import file_digest
from bench.methods.backbone.published_weights import PUBLISHED, default_file, folder, hugging_face_file
from bench.methods.backbone.weights import HASH_IN_NAME, verified_hash
from bench.network import SECONDS_TO_ANSWER, check_server, offline_by

TORCHVISION = "https://download.pytorch.org/models"
HUGGING_FACE = "https://huggingface.co"
OTHER_HASH = "the published file has another hash"

log = logging.getLogger("bench.methods.backbone.fetch_weights")


def fetch_weights(name: str, *, progress: bool = True) -> Path:
    """The default weights file of a backbone, downloaded if it is not on this machine.

    The file must have the hash that its name or its server states. A download that broke off goes on. Raises
    LoadingError if no weights are published, the environment forbids downloads, the download fails, or the file is
    damaged.
    """
    path = default_file(name)
    if path is None and (reason := why_not_fetched(name, progress=progress)):
        cure = "allow downloads" if offline_by() else "check the network"
        raise LoadingError(
            f"The weights of {name!r} cannot be downloaded ({reason}): {cure}, or give a file by --weights."
        )
    path = path or default_file(name)
    assert path is not None  # it was downloaded to where it is looked for
    verified_hash(path)
    return path


def why_not_fetched(name: str, digest: str = "", *, progress: bool | None = None) -> str:
    """Download the weights of a backbone; why that failed in a few words, or "" if they are here now.

    With a ``digest``, the published file with this SHA-256. ``progress`` goes to stderr, by default where the log has
    messages.
    """
    progress = log.isEnabledFor(logging.INFO) if progress is None else progress
    source = hugging_face_file(name)
    if source is None and name not in PUBLISHED:
        return "none are published by timm"
    if variable := offline_by():
        return f"{variable} forbids it"
    server = TORCHVISION if source is None else os.environ.get("HF_ENDPOINT", HUGGING_FACE)
    host = urlsplit(server).hostname
    try:
        check_server(server)
        if progress:
            print(f"Downloading the ImageNet weights of {name} from {host}", file=sys.stderr)
        if source is None:
            return _from_torchvision(name, digest, progress and sys.stderr.isatty())
        return _from_hugging_face(*source, server, digest, progress)
    except Exception as error:  # each library has its own for servers, hashes and disks
        if isinstance(error, HTTPError):
            error.close()
        text = " ".join(str(error).split())
        return f"{host} sent nothing for {SECONDS_TO_ANSWER:g} seconds" if "timed out" in text.lower() else text


def _from_torchvision(name: str, digest: str, progress: bool) -> str:
    file = next((each.file for each in PUBLISHED[name] if f"-{digest[:8]}" in each.file), None)
    if file is None:
        return OTHER_HASH
    path = folder() / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):  # other processes of a sweep wait, and then find the file
        if not path.is_file():
            _fetch_file(f"{TORCHVISION}/{file}", path, progress)
    return ""


def _fetch_file(url: str, path: Path, progress: bool) -> None:
    """Download a file whose name has the start of its hash; go on where an earlier attempt broke off.

    Raises OSError if the server sends nothing more, or another file.
    """
    part = path.with_name(f"{path.name}.part")
    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bars:
        task = bars.add_task(path.name, total=None)
        while not _receive(url, part, partial(bars.update, task)):
            pass
    named = HASH_IN_NAME.search(path.name)
    if named and not file_digest(part).startswith(named[1]):
        part.unlink()
        raise OSError("the file does not have the hash in its name")
    part.replace(path)


def _receive(url: str, part: Path, update: Callable[..., None]) -> bool:
    """Append what the server sends to ``part``; False if it broke off after some bytes, so that one can go on."""
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "zs-sbir-bench", "Range": f"bytes={start}-"})
    done, total = start, 0
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as answer:
            start = start if answer.status == http.client.PARTIAL_CONTENT else 0
            total = start + int(answer.headers.get("Content-Length", 0))
            done = start
            with part.open("ab" if start else "wb") as file:
                while content := answer.read(2**20):
                    file.write(content)
                    done += len(content)
                    update(completed=done, total=total)
    except HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:  # it is whole
            error.close()
            return True
        raise
    except OSError:
        if done == start:
            raise
    if done == start and done < total:
        raise OSError("the server closed the connection")
    return done >= total


def _from_hugging_face(repository: str, file: str, server: str, digest: str, progress: bool) -> str:
    logging.getLogger("huggingface_hub").propagate = False  # it prints its warnings itself
    if not progress:
        disable_progress_bars()
    url = huggingface_hub.hf_hub_url(repository, file, endpoint=server)
    # Fails at once, where the download would try again for minutes.
    stated = huggingface_hub.get_hf_file_metadata(url, timeout=SECONDS_TO_ANSWER, endpoint=server).etag or ""
    if digest and stated != digest:
        return OTHER_HASH
    path = Path(huggingface_hub.hf_hub_download(repository, file, endpoint=server))
    if re.fullmatch(r"[0-9a-f]{64}", stated) and file_digest(path) != stated:  # the library compares sizes alone
        path.resolve().unlink()
        return f"the file from {urlsplit(server).hostname} does not have the hash that its server states"
    return ""
