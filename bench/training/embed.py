"""Embed images in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.datasets.images.loader import Images
from bench.devices import autocast, out_of_memory, to_pixels
from bench.distributed.process_group import ALONE, Processes
from bench.methods.base import Method
from bench.types import Floats

log = logging.getLogger("bench.training.embed")

BATCH = 64  # images; larger batches do not fit into the caches of a CPU


def embed(
    method: Method,
    images: Images,
    *,
    is_photo: bool,
    device: torch.device,
    precision: str,
    mirror: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    processes: Processes = ALONE,
) -> Floats:
    """Embeddings of all images in order: float32 [images, width]; ``progress`` gets (done, all).

    When memory runs out, the batch is halved, down to one image; then the error is raised. With several processes,
    ``images`` is the share of this one, and the result holds the embeddings of all.
    """
    method.eval()
    size, done = BATCH, 0
    parts: list[Floats] = []
    while done < len(images):
        try:
            batches = [range(start, min(start + size, len(images))) for start in range(done, len(images), size)]
            for pixels in images.stream(batches):
                parts.append(embed_pixels(method, pixels, is_photo, device, precision, mirror=mirror))
                done += len(pixels)
                progress(done, len(images))
        except Exception as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
            log.warning("Not enough memory for batches of %d images: continuing with %d.", 2 * size, size)
        if device.type == "cuda" and done < len(images):
            torch.cuda.empty_cache()  # fragments of the larger batch
    own = np.concatenate(parts or [np.empty((0, 0), np.float32)])
    return processes.all_gather_rows(torch.from_numpy(own)).numpy()


def embed_pixels(
    method: Method, pixels: Tensor, is_photo: bool, device: torch.device, precision: str, *, mirror: bool
) -> Floats:
    """Embeddings of images, uint8 [images, 3, size, size], in one batch: float32 [images, width]."""
    with torch.inference_mode(), autocast(device, precision):
        vectors = embed_images(method, to_pixels(pixels, device), is_photo, mirror=mirror)
    numbers: Floats = vectors if isinstance(vectors, np.ndarray) else vectors.float().cpu().numpy()
    return numbers.astype(np.float32, copy=False)


def embed_images(method: Method, images: Tensor, is_photo: bool, *, mirror: bool) -> Tensor | Any:
    """As ``Method.embed``; with ``mirror`` the mean with the embedding of the mirror image."""
    vectors = method.embed(images, is_photo)
    return (vectors + method.embed(images.flip(-1), is_photo)) / 2 if mirror else vectors
