"""Decode image files of any format, crop sketches to their ink, and resize."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from bench.datasets.images.image_files import MAX_PIXELS, open_image, raise_data_error, scale_to_8_bits
from bench.errors import DataError

RGB = 3  # torchvision.io.ImageReadMode.RGB
INK = 300  # a pixel is ink up to this sum of red, green and blue: ZSE-SBIR 88f87f7 data_utils/utils.py line 226
INK_MARGIN = 10  # pixels of paper around the ink: the same file, "preprocess"


def decode(data: bytes, name: str) -> Tensor:
    """The image in ``data`` as RGB on white: uint8 [3, height, width].

    torchvision decodes grey and RGB JPEG: the same pixels as Pillow in less time, also for damaged files. Pillow
    decodes everything else, PNG included, because damaged PNG data crash torchvision's decoder. Raises DataError with
    ``name`` when the file is empty, damaged, not an image, or has more than ``MAX_PIXELS`` pixels.
    """
    if not data:
        raise DataError(f"Image {name} is an empty file: replace or remove it.")
    with raise_data_error(name):
        image = open_image(data)  # reads only the header
        if image.width * image.height > MAX_PIXELS:
            raise DataError(
                f"Image {name} has {image.width}x{image.height} pixels, more than {MAX_PIXELS}: reduce or remove it."
            )
        pixels = _decode_fast(data, image)
        return pixels_of(image) if pixels is None else pixels


def _decode_fast(data: bytes, image: Image.Image) -> Tensor | None:
    """uint8 [3, height, width] by torchvision for files where it agrees with Pillow, else None."""
    if image.format != "JPEG" or image.mode not in ("RGB", "L") or (decoder := _jpeg_decoder()) is None:
        return None
    content = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy: torch refuses read-only memory
    try:
        return decoder(content, RGB)
    except RuntimeError:  # stricter than Pillow about damaged files
        return None


@cache
def _jpeg_decoder() -> Callable[[Tensor, int], Tensor] | None:
    """torchvision's JPEG operator; None in a release without it, where Pillow gives the same pixels.

    torchvision 0.29 warns at every call of its Python wrapper, so the operator is called directly.
    """
    import torchvision.io  # noqa: F401  (registers the operator)

    try:
        return torch.ops.image.decode_jpeg
    except AttributeError:
        return None


def pixels_of(image: Image.Image) -> Tensor:
    """A picture of Pillow as RGB on white: uint8 [3, height, width]."""
    values = np.array(_to_rgb_on_white(image))  # a copy, so that torch may own it
    return torch.from_numpy(values).permute(2, 0, 1)


def _to_rgb_on_white(image: Image.Image) -> Image.Image:
    image = scale_to_8_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def to_square(pixels: Tensor, size: int) -> Tensor:
    """Resize uint8 [3, height, width] to [3, size, size] with antialiasing, ignoring the aspect ratio."""
    if pixels.shape[1:] == (size, size):
        return pixels
    resized: Tensor = transforms.resize(pixels, [size, size], antialias=True)
    return resized


def ink_to_square(pixels: Tensor, size: int) -> Tensor:
    """Crop a sketch to the bounding box of its ink, and scale it in proportion: uint8 [3, size, size].

    ``INK_MARGIN`` pixels around the ink stay. The long side becomes ``size``. The short side is padded on both ends
    with the brightest value of the box. A sketch without ink is not cropped. Source: ZSE-SBIR 88f87f7
    data_utils/utils.py, "preprocess", which fails on such a sketch and does not antialias.
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
    # The end is exclusive in the source too: the lower and right margins are one pixel narrower.
    return max(0, first - INK_MARGIN), max(min(length, last + INK_MARGIN), first + 1)
