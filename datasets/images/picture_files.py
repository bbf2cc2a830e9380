"""Opening picture files, and the errors of their decoders as one sentence.

A damaged file can make Pillow raise almost any exception: OSError, but also struct.error, TypeError or IndexError. So
the context managers catch every exception except MemoryError. Use them around calls of a decoder only.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from bench.errors import DataError

MAX_PIXELS = 80_000_000  # above this a file is taken for a decompression bomb; Pillow warns from 89 million on
# What Pillow raises, or warns of, for a file with more pixels than anyone draws.
TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def open_picture(content: bytes) -> Image.Image:
    """The picture in a file, its pixels not decoded yet; raises whatever Pillow raises.

    Pillow does not compare the checksums of a PNG's pixels. This function does, since a flipped bit may give a picture.
    """
    picture = Image.open(io.BytesIO(content))
    if picture.format == "PNG":
        _check_png(content)
    return picture


def _check_png(content: bytes) -> None:
    """Raise OSError when a whole chunk of pixels has a wrong checksum."""
    start = 8  # behind the signature; a chunk is length, name, body and checksum
    while (body := start + 8) <= len(content) and (name := content[start + 4 : body]) != b"IEND":
        end = body + int.from_bytes(content[start : start + 4], "big")
        checksum = content[end : end + 4]
        if name == b"IDAT" and len(checksum) == 4:
            found = zlib.crc32(memoryview(content)[start + 4 : end])
            if found != int.from_bytes(checksum, "big"):
                raise OSError("wrong checksum of its pixels")
        start = end + 4


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
            reason = "it is no picture"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"Image {name} cannot be decoded ({reason}): replace or remove it.") from error


@contextmanager
def skip_broken_picture() -> Iterator[None]:
    """Leave the block without an error when a decoder in it raises; MemoryError passes."""
    try:
        yield
    except MemoryError:
        raise
    except Exception:  # the file is decoded again later, and that reports the error
        return
