"""Image files to pixels: decoding whatever a picture file may be, the box of a sketch's ink, resizing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from bench.datasets.images.picture_files import MAX_PIXELS, open_picture, raise_data_error
from bench.errors import DataError

RGB = 3  # torchvision.io.ImageReadMode.RGB
INK = 300  # a pixel is ink up to this sum of red, green and blue: ZSE-SBIR 88f87f7 data_utils/utils.py line 226
INK_MARGIN = 10  # pixels of paper around the ink: the same file, "preprocess"


def decode(data: bytes, name: str) -> Tensor:
    """The picture in ``data`` as RGB on white: uint8 [3, height, width].

    torchvision decodes grey and RGB JPEG. It gives Pillow's pixels in less time, also for damaged files. Pillow decodes
    everything else. That includes PNG: torchvision's decoder crashes the process when the data are damaged. Whether a
    file is broken is Pillow's verdict, except that a PNG's checksums are compared as well. Raises DataError with
    ``name`` when it is empty, truncated, no picture, or has more than ``MAX_PIXELS`` pixels.
    """
    if not data:
        raise DataError(f"Image {name} is an empty file: replace or remove it.")
    with raise_data_error(name):
        picture = open_picture(data)  # reads the header alone
        if picture.width * picture.height > MAX_PIXELS:
            raise DataError(
                f"Image {name} has {picture.width}x{picture.height} pixels, more than {MAX_PIXELS}: "
                "reduce or remove it."
            )
        pixels = _decode_fast(data, picture)
        return _decode_with_pillow(picture) if pixels is None else pixels


def _decode_fast(data: bytes, picture: Image.Image) -> Tensor | None:
    """uint8 [3, height, width] by torchvision where it is known to agree with Pillow, else None."""
    if picture.format != "JPEG" or picture.mode not in ("RGB", "L") or (decoder := _jpeg_decoder()) is None:
        return None
    content = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy: torch refuses read-only memory
    try:
        return decoder(content, RGB)
    except RuntimeError:  # stricter than Pillow about what a whole file is
        return None


@cache
def _jpeg_decoder() -> Callable[[Tensor, int], Tensor] | None:
    """torchvision's, or None in one that has lost it.

    torchvision 0.29 warns at every call of its Python wrapper that a later release drops it, so the operator behind it
    is called; without it everything goes to Pillow, which gives the same pixels.
    """
    import torchvision.io  # noqa: F401  (registers the operator)

    try:
        return torch.ops.image.decode_jpeg
    except AttributeError:
        return None


def _decode_with_pillow(picture: Image.Image) -> Tensor:
    values = np.array(_on_white(picture))  # a copy, so that torch may own it
    return torch.from_numpy(values).permute(2, 0, 1)


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):  # 16 and 32 bits: Pillow's own conversion to RGB clips instead of scaling
        values = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if picture.mode.startswith("I") else 1.0
        return Image.fromarray(np.clip(values * (255 / top), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def to_square(pixels: Tensor, size: int) -> Tensor:
    """uint8 [3, height, width] to [3, size, size], whatever the shape, antialiased."""
    if pixels.shape[1:] == (size, size):
        return pixels
    resized: Tensor = transforms.resize(pixels, [size, size], antialias=True)
    return resized


def ink_to_square(pixels: Tensor, size: int) -> Tensor:
    """A sketch cut to the box of its ink and scaled to the square in proportion: uint8 [3, size, size].

    The box has ``INK_MARGIN`` pixels of paper around it, the long side becomes ``size``, the other is filled on both
    sides with the brightest value of the box. A sketch without ink as dark as ``INK`` is taken whole. Source: ZSE-SBIR
    88f87f7 data_utils/utils.py, "preprocess", which fails on such a sketch and does not antialias.
    """
    _, height, width = pixels.shape
    ink = pixels.to(torch.int32).sum(dim=0) <= INK  # [height, width]
    rows, columns = ink.any(dim=1).nonzero().flatten(), ink.any(dim=0).nonzero().flatten()
    if len(rows) == 0:
        return to_square(pixels, size)
    top, bottom = _with_margin(int(rows[0]), int(rows[-1]), height)
    left, right = _with_margin(int(columns[0]), int(columns[-1]), width)
    box = pixels[:, top:bottom, left:right]
    height, width = bottom - top, right - left
    scale = size / max(height, width)
    inner: Tensor = transforms.resize(box, [max(1, int(height * scale)), max(1, int(width * scale))], antialias=True)
    square = torch.full((3, size, size), int(box.max()), dtype=torch.uint8)
    above, before = (size - inner.shape[1]) // 2, (size - inner.shape[2]) // 2
    square[:, above : above + inner.shape[1], before : before + inner.shape[2]] = inner
    return square


def _with_margin(first: int, last: int, length: int) -> tuple[int, int]:
    # The end is exclusive in the source too, so that the lower and right margin is one pixel narrower.
    return max(0, first - INK_MARGIN), max(min(length, last + INK_MARGIN), first + 1)
