"""Download the ImageNet weights of a backbone into the folders in which torchvision and timm keep them."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import huggingface_hub
import torch

from bench.errors import LoadingError
from bench.methods.backbone.published_weights import PUBLISHED, default_file, folder, hugging_face_file
from bench.methods.backbone.weights import HASH_IN_NAME, verified_hash
from bench.network import SECONDS_TO_ANSWER, offline_by

TORCHVISION = "https://download.pytorch.org/models"


def fetch_weights(name: str, *, progress: bool = True) -> Path:
    """The default weights file of a backbone, downloaded if it is not on this machine.

    The file must have the hash that its name or its server states. A download from Hugging Face resumes. Raises
    LoadingError if no weights are published, the environment forbids downloads, the download fails, or the file is
    damaged.
    """
    path = default_file(name)
    if path is None:
        if variable := offline_by():
            raise LoadingError(f"{variable} forbids to download the weights of {name!r}: unset it.")
        path = _download(name, progress)
    verified_hash(path)
    return path


def _download(name: str, progress: bool) -> Path:
    source = hugging_face_file(name)
    try:
        if name in PUBLISHED:
            file = PUBLISHED[name][0].file
            path = folder() / file
            path.parent.mkdir(parents=True, exist_ok=True)
            start = HASH_IN_NAME.search(file)
            with _timeout():
                torch.hub.download_url_to_file(
                    f"{TORCHVISION}/{file}", str(path), start[1] if start else None, progress
                )
            return path
        if source is not None:
            logging.getLogger("huggingface_hub").propagate = False  # it prints its warnings itself
            return Path(
                huggingface_hub.hf_hub_download(
                    *source, etag_timeout=SECONDS_TO_ANSWER, endpoint=os.environ.get("HF_ENDPOINT")
                )
            )
    except Exception as error:  # each library has its own for servers, hashes and disks
        if isinstance(error, HTTPError):
            error.close()
        reason = " ".join(str(error).split())
        raise LoadingError(
            f"The weights of {name!r} cannot be downloaded ({reason}): check the network, or give a file by --weights."
        ) from error
    raise LoadingError(f"No ImageNet weights of {name!r} are published by timm: give a file by --weights FILE.")


@contextmanager
def _timeout() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
