"""Embed images in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch

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
    progress: Callable[[int, int], None],
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
            for vectors in _batches(method, images, range(done, len(images)), size, is_photo, device, precision):
                parts.append(vectors)
                done += len(vectors)
                progress(done, len(images))
        except Exception as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
            log.warning("Not enough memory for batches of %d images: continuing with %d.", 2 * size, size)
        if device.type == "cuda" and done < len(images):
            torch.cuda.empty_cache()  # fragments of the larger batch
    own = np.concatenate(parts or [np.empty((0, 0), np.float32)]).astype(np.float32, copy=False)
    return own if processes.size == 1 else processes.all_gather_rows(torch.from_numpy(own)).numpy()


def _batches(
    method: Method, images: Images, positions: range, size: int, is_photo: bool, device: torch.device, precision: str
) -> Iterator[Floats]:
    """Embeddings of the images at ``positions``, ``size`` at a time: float32 [size, width] each."""
    batches = [positions[start : start + size] for start in range(0, len(positions), size)]
    for pixels in images.stream(batches):
        with torch.inference_mode(), autocast(device, precision):
            vectors = method.embed(to_pixels(pixels, device), is_photo)
        yield vectors if isinstance(vectors, np.ndarray) else vectors.float().cpu().numpy()
