"""Images to embeddings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from bench.devices import autocast, to_pixels
from bench.types import Floats
from datasets.images import Images
from methods.base import Method

BATCH = 128  # images at a time; does not change a result


@torch.inference_mode()
def embed(
    method: Method,
    images: Images,
    *,
    is_photo: bool,
    device: torch.device,
    precision: str,
    progress: Callable[[int, int], None],
) -> Floats:
    """Embeddings of all images in their order: float32 [images, width]; ``progress`` is told (done, all)."""
    method.eval()
    starts = range(0, len(images), BATCH)
    batches = [range(start, min(start + BATCH, len(images))) for start in starts]
    parts = []
    done = 0
    for pixels in images.stream(batches):
        with autocast(device, precision):
            vectors = method.embed(to_pixels(pixels, device), is_photo)
        parts.append(vectors if isinstance(vectors, np.ndarray) else vectors.float().cpu().numpy())
        done += len(pixels)
        progress(done, len(images))
    return np.concatenate(parts).astype(np.float32, copy=False)
