"""Open image files with Pillow, scale pixels to 8 bits, turn images upright, and report decoder errors. No torch.

A damaged file can make Pillow raise almost any exception: OSError, but also struct.error, TypeError or IndexError.
So the context managers catch every exception except MemoryError. Use them around decoder calls only.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from bench.errors import DataError

MAX_PIXELS = 80_000_000  # larger files are refused as decompression bombs; Pillow warns from 89 million on
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")  # that a PNG holds with 8 bits or less
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # a TIFF tag, and its value for inverted grey
SAMPLE_FORMAT, UNSIGNED = 339, 1
RANGES = (1, 255, 32_767, 65_535, 2**31 - 1, 2**32 - 1)  # largest values of pixel types
OVERSHOOT = 1.5  # floating-point values may exceed their range so much, as resampled images do


def open_image(content: bytes) -> Image.Image:
    """The image in a file, its pixels not decoded yet; passes on any exception of Pillow.

    Pillow does not verify the checksums of a PNG's pixels, so this function does. HEIC needs the package pillow-heif.
    """
    _register_plugins()
    image = Image.open(io.BytesIO(content))
    if image.format == "PNG":
        _check_png(content)
    return image


@cache
def _register_plugins() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return
    register_heif_opener()


def scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Grey pixels of 16 and 32 bits as 8-bit grey, where Pillow would clip; other images are unchanged.

    Unsigned 16-bit values are divided by 65535. Files do not state the range of other types, so it is the first of
    ``RANGES`` that holds the largest value.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "I" and tags.get(SAMPLE_FORMAT, (0,))[0] == UNSIGNED:
        values = values.view(np.uint32)  # Pillow reads them as signed
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16") or image.format == "PPM":
        top = 65_535
    else:
        largest = values.max() / (OVERSHOOT if image.mode.startswith("F") else 1)
        top = next((each for each in RANGES if largest <= each), largest)
    grey = np.clip(values * (255 / top), 0, 255).astype(np.uint8)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts those of 8 bits only
        grey = 255 - grey
    return Image.fromarray(grey)


def _check_png(content: bytes) -> None:
    """Raise OSError when a complete chunk of pixels has a wrong checksum."""
    start = 8  # behind the signature; a chunk is length, name, body and checksum
    while (body := start + 8) <= len(content) and (name := content[start + 4 : body]) != b"IEND":
        end = body + int.from_bytes(content[start : start + 4], "big")
        checksum = content[end : end + 4]
        if name == b"IDAT" and len(checksum) == 4:
            found = zlib.crc32(memoryview(content)[start + 4 : end])
            if found != int.from_bytes(checksum, "big"):
                raise OSError("wrong checksum of its pixels")
        start = end + 4


def turn_upright(content: bytes) -> bytes:
    """An image file with its pixels turned by its EXIF orientation; upright, broken and huge files are unchanged.

    Unusable EXIF data count as upright. Dataset images are never turned, because published networks used the pixels
    as stored.
    """
    with skip_broken_image(), open_image(content) as image:
        # ImageOps.exif_transpose writes all tags again, and fails if one has a wrong type. Pillow turns TIFFs itself.
        method = TRANSPOSITIONS.get(image.getexif().get(ORIENTATION, 1))
        if method is not None and image.format != "TIFF" and image.width * image.height <= MAX_PIXELS:
            plain = scale_to_8_bits(image)
            turned = (plain if plain.mode in PNG_MODES else plain.convert("RGB")).transpose(method)
            file = io.BytesIO()
            if turned.mode in ("L", "RGB"):
                turned.save(file, "JPEG", quality=95)
            else:
                turned.save(file, "PNG", compress_level=1)
            return file.getvalue()
    return content


@contextmanager
def raise_data_error(name: str) -> Iterator[None]:
    """Turn every exception of a decoder in the block into a DataError with ``name``; MemoryError passes."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except TOO_LARGE as error:
        raise DataError(f"Image {name} has too many pixels, more than {MAX_PIXELS}: reduce or remove it.") from error
    except Exception as error:
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image file"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"Image {name} cannot be decoded ({reason}): replace or remove it.") from error


@contextmanager
def skip_broken_image() -> Iterator[None]:
    """Leave the block without an error when a decoder in it raises; MemoryError passes."""
    try:
        yield
    except MemoryError:
        raise
    except Exception:  # the file is decoded again later, and that reports the error
        return
