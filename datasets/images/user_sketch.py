"""A sketch of one's own as networks know sketches: dark ink on white, filling its square.

Ink on white, white on black and transparent drawings, whatever their shape, come out alike. A square drawing in dark
ink on white that fills its sheet is left as it is, so that a dataset's own sketch gives what its run gave.
"""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from bench.datasets.images.decode import decode, to_square
from bench.datasets.images.picture_files import MAX_PIXELS, open_picture, raise_data_error, skip_broken_picture
from bench.datasets.images.upright import upright
from bench.errors import DataError

DARK = 128  # brightness, 0..255, below which a sheet or an ink counts as dark
INK_CONTRAST = 40  # how much darker than its white sheet a pixel of ink is
SPARSE = 0.6  # part of the sheet's side that the ink takes at least, or the sheet is cut to it
LARGE = 2048  # pixels of the longer side beyond which a drawing is made smaller first: a phone's photo of a sheet
MARGIN = 0.08  # of the ink's longer side, left white around it


def drawing(content: bytes, name: str, size: int) -> Tensor:
    """The sketch in a picture file: uint8 [3, size, size].

    Raises DataError with ``name`` when it is no picture, broken or too large, and when nothing is drawn on it.
    """
    pixels = _on_paper(content, name)
    if float(_brightness(_edge(pixels)).median()) < DARK:
        pixels = 255 - pixels
    return to_square(_framed(pixels, name), size)


def drawing_file(content: bytes, name: str, side: int) -> bytes:
    """The same as a WebP file of ``side`` pixels, to be shown: ink that is white on nothing shows on no page."""
    file = io.BytesIO()
    Image.fromarray(drawing(content, name, side).permute(1, 2, 0).numpy()).save(file, "WEBP", quality=90, method=4)
    return file.getvalue()


def _on_paper(content: bytes, name: str) -> Tensor:
    """RGB uint8 [3, height, width]; a transparent drawing lies on whatever its ink shows on."""
    content = _smaller(upright(content))
    pixels = decode(content, name)  # on white; tells what is broken
    with raise_data_error(name), open_picture(content) as picture:
        if not picture.has_transparency_data:
            return pixels
        layers = torch.frombuffer(bytearray(picture.convert("RGBA").tobytes()), dtype=torch.uint8)
        layers = layers.reshape(picture.height, picture.width, 4).permute(2, 0, 1)
    colour, cover = layers[:3], layers[3].float() / 255
    if float(cover.sum()) == 0:
        raise DataError(f"Sketch {name} is empty: every pixel is transparent.")
    ink = float((_brightness(colour) * cover).sum() / cover.sum())
    # Light ink would vanish on white: it is laid on black, which is then turned round as any dark sheet is.
    return pixels if ink < DARK or float(cover.min()) == 1 else (colour.float() * cover).round().to(torch.uint8)


def _smaller(content: bytes) -> bytes:
    """A picture that is larger as PNG with a longer side of ``LARGE`` pixels; what is transparent stays so.

    Whatever else there is, and what is broken, is given back as it is.
    """
    file = io.BytesIO()
    with skip_broken_picture(), open_picture(content) as picture:
        if max(picture.size) > LARGE and picture.width * picture.height <= MAX_PIXELS:
            as_it_is = picture.mode in ("L", "RGB", "RGBA") and "transparency" not in picture.info
            small: Image.Image = picture if as_it_is else picture.convert("RGBA")
            small.thumbnail((LARGE, LARGE), reducing_gap=2.0)
            small.save(file, "PNG", compress_level=1)
            return file.getvalue()
    return content


def _brightness(pixels: Tensor) -> Tensor:
    """float32 [3, ...] to [...], 0..255."""
    return pixels.float().mean(dim=0)


def _edge(pixels: Tensor) -> Tensor:
    """The outermost pixels: [3, pixels]."""
    return torch.cat((pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]), dim=1)


def _framed(pixels: Tensor, name: str) -> Tensor:
    """A square [3, side, side]: the sheet as it is if its ink fills it, else cut to the ink, on white."""
    _, height, width = pixels.shape
    shade = _brightness(pixels)
    ink = shade < float(shade.max()) - INK_CONTRAST
    rows, columns = ink.any(dim=1).nonzero().flatten(), ink.any(dim=0).nonzero().flatten()
    if len(rows) == 0:
        raise DataError(f"Sketch {name} is empty: nothing on it is darker than its paper.")
    box = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    longer = max(box[1] - box[0], box[3] - box[2])
    if height == width and longer >= SPARSE * height:
        return pixels
    cut = pixels[:, box[0] : box[1], box[2] : box[3]]
    side = longer + 2 * max(1, round(MARGIN * longer))
    above, before = (side - cut.shape[1]) // 2, (side - cut.shape[2]) // 2
    around = (before, side - cut.shape[2] - before, above, side - cut.shape[1] - above)
    return F.pad(cut, around, value=int(shade.max()))
