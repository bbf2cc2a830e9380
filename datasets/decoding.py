"""Image files to pixels: decoding whatever a picture file may be, the box of a sketch's ink, resizing."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from bench.errors import DataError

MAX_PIXELS = 80_000_000  # above this a file is taken for a decompression bomb; Pillow warns from 89 million on
RGB = 3  # torchvision.io.ImageReadMode.RGB
# What Pillow raises, or warns of, for a file with more pixels than anyone draws.
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
# What Pillow raises for files that are no picture or broken.
BROKEN = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, OverflowError)
INK = 300  # a pixel is ink up to this sum of red, green and blue: ZSE-SBIR 88f87f7 data_utils/utils.py line 226
INK_MARGIN = 10  # pixels of paper around the ink: the same file, "preprocess"


def decode(data: bytes, name: str) -> Tensor:
    """The picture in ``data`` as RGB on white: uint8 [3, height, width].

    8-bit grey and RGB of JPEG and PNG are decoded by torchvision, which gives Pillow's pixels in less time; all else
    by Pillow: palette, 16-bit, CMYK, animated (first frame), transparent, other formats. Whether a file is broken is
    Pillow's verdict. Raises DataError with ``name`` when it is empty, truncated, no picture, or has more than
    ``MAX_PIXELS`` pixels.
    """
    if not data:
        raise DataError(f"Image {name} is an empty file: replace or remove it.")
    try:
        picture = Image.open(io.BytesIO(data))  # reads the header alone
        if picture.width * picture.height > MAX_PIXELS:
            raise DataError(
                f"Image {name} has {picture.width}x{picture.height} pixels, more than {MAX_PIXELS}: "
                "reduce or remove it."
            )
        pixels = _decode_fast(data, picture)
        return _decode_with_pillow(picture) if pixels is None else pixels
    except TOO_LARGE as error:
        raise DataError(f"Image {name} has too many pixels, more than {MAX_PIXELS}: reduce or remove it.") from error
    except BROKEN as error:
        reason = "it is no picture" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"Image {name} cannot be decoded ({reason}): replace or remove it.") from error


def _decode_fast(data: bytes, picture: Image.Image) -> Tensor | None:
    """uint8 [3, height, width] by torchvision where it is known to agree with Pillow, else None."""
    decoder = _fast_decoders().get(str(picture.format))
    if decoder is None or picture.mode not in ("RGB", "L") or "transparency" in picture.info:
        return None
    if picture.format == "PNG" and data[24] != 8:  # byte 24 of a PNG: bits of a channel
        return None
    content = torch.frombuffer(bytearray(data), dtype=torch.uint8)  # a copy: torch refuses read-only memory
    try:
        return decoder(content, RGB)
    except RuntimeError:  # stricter than Pillow about what a whole file is
        return None


@cache
def _fast_decoders() -> Mapping[str, Callable[[Tensor, int], Tensor]]:
    """Decoders by Pillow's name of the format; none in a torchvision that has lost them.

    torchvision 0.29 warns at every call of their Python wrappers that a later release drops them, so the operators
    behind these are called; without them everything goes to Pillow, which gives the same pixels.
    """
    import torchvision.io  # noqa: F401  (registers the operators)

    try:
        return {"JPEG": torch.ops.image.decode_jpeg, "PNG": torch.ops.image.decode_png}
    except AttributeError:
        return {}


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
