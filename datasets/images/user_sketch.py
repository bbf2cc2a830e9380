"""Normalise a user's sketch to the look of dataset sketches: dark ink on white that fills a square.

Dark ink on white, white on black and transparent drawings of any shape give the same result. A square sketch in dark
ink that fills its sheet is unchanged, so a dataset's own sketch gives the same pixels as in a run.
"""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bench.datasets.images.decode import decode, to_square
from bench.datasets.images.image_files import (
    MAX_PIXELS,
    open_image,
    raise_data_error,
    scale_to_8_bits,
    skip_broken_image,
    turn_upright,
)
from bench.errors import DataError

DARK = 128  # brightness, 0..255: paper or ink below it is dark
INK_CONTRAST = 40  # brightness: a pixel that much darker than the paper is ink
SPARSE = 0.6  # of the sheet's side: a sheet with less ink is cropped to it
LARGE = 2048  # pixels of the longer side: larger files, such as photos of a sheet, are reduced first
MARGIN = 0.08  # of the ink's longer side: white space around it


def decode_sketch(content: bytes, name: str, size: int) -> Tensor:
    """The sketch in an image file: uint8 [3, size, size].

    Raises DataError with ``name`` when the file is broken, too large or not an image, or when the sketch is empty.
    """
    pixels = _decode_on_paper(content, name)
    if float(_brightness(_edge(pixels)).median()) < DARK:
        pixels = 255 - pixels
    return to_square(_crop_to_ink(pixels, name), size)


def render_sketch(content: bytes, name: str, side: int) -> bytes:
    """The same as a WebP file of ``side`` pixels, in which white ink on a transparent ground is visible."""
    file = io.BytesIO()
    Image.fromarray(decode_sketch(content, name, side).permute(1, 2, 0).numpy()).save(
        file, "WEBP", quality=90, method=4
    )
    return file.getvalue()


def _decode_on_paper(content: bytes, name: str) -> Tensor:
    """RGB uint8 [3, height, width]; a transparent drawing is put on white, or on black if its ink is light."""
    content = _reduce(turn_upright(content))
    pixels = decode(content, name)  # on white
    with raise_data_error(name), open_image(content) as image:
        if not image.has_transparency_data:
            return pixels
        layers = torch.frombuffer(bytearray(image.convert("RGBA").tobytes()), dtype=torch.uint8)
        layers = layers.reshape(image.height, image.width, 4).permute(2, 0, 1)
    colour, cover = layers[:3], layers[3].float() / 255
    if float(cover.sum()) == 0:
        raise DataError(f"Sketch {name} is empty: every pixel is transparent.")
    ink = float((_brightness(colour) * cover).sum() / cover.sum())
    # Light ink is invisible on white, so it is put on black; the caller inverts dark sheets.
    return pixels if ink < DARK or float(cover.min()) == 1 else (colour.float() * cover).round().to(torch.uint8)


def _reduce(content: bytes) -> bytes:
    """A larger image as PNG with a longer side of ``LARGE`` pixels and its transparency; other files unchanged."""
    file = io.BytesIO()
    with skip_broken_image(), open_image(content) as image:
        if max(image.size) > LARGE and image.width * image.height <= MAX_PIXELS:
            plain = image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info
            small: Image.Image = image if plain else scale_to_8_bits(image).convert("RGBA")
            small.thumbnail((LARGE, LARGE), reducing_gap=2.0)
            small.save(file, "PNG", compress_level=1)
            return file.getvalue()
    return content


def _brightness(pixels: Tensor) -> Tensor:
    """uint8 [3, ...] to float32 [...], 0..255."""
    return pixels.float().mean(dim=0)


def _edge(pixels: Tensor) -> Tensor:
    """The outermost pixels: [3, pixels]."""
    return torch.cat((pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]), dim=1)


def _crop_to_ink(pixels: Tensor, name: str) -> Tensor:
    """A square [3, side, side]: unchanged if its ink fills it, else cropped to the ink, with a white margin."""
    _, height, width = pixels.shape
    shade = _brightness(pixels)
    ink = shade < float(shade.max()) - INK_CONTRAST
    rows, columns = ink.any(dim=1).nonzero().flatten(), ink.any(dim=0).nonzero().flatten()
    if len(rows) == 0:
        raise DataError(f"Sketch {name} is empty: no pixel is darker than the paper.")
    box = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    longer = max(box[1] - box[0], box[3] - box[2])
    if height == width and longer >= SPARSE * height:
        return pixels
    cut = pixels[:, box[0] : box[1], box[2] : box[3]]
    side = longer + 2 * max(1, round(MARGIN * longer))
    above, before = (side - cut.shape[1]) // 2, (side - cut.shape[2]) // 2
    around = (before, side - cut.shape[2] - before, above, side - cut.shape[1] - above)
    return F.pad(cut, around, value=int(shade.max()))
