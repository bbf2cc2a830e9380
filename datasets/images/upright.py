"""Photos as they were seen: a camera that was held sideways notes so in the file instead of turning its picture."""

from __future__ import annotations

import io

from PIL import ImageOps

from bench.datasets.images.picture_files import MAX_PIXELS, open_picture, skip_broken_picture

ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 2 to 8 are turned or mirrored


def upright(content: bytes) -> bytes:
    """A picture file with its pixels turned as its EXIF data say; what is upright, broken or huge stays as it is.

    Images of a dataset are never turned: the networks in print saw them as they lie in their files.
    """
    with skip_broken_picture(), open_picture(content) as picture:
        small_enough = picture.width * picture.height <= MAX_PIXELS
        if small_enough and picture.getexif().get(ORIENTATION, 1) in range(2, 9):
            turned = ImageOps.exif_transpose(picture)
            file = io.BytesIO()
            if turned.mode in ("L", "RGB"):
                turned.save(file, "JPEG", quality=95)
            else:
                turned.save(file, "PNG", compress_level=1)
            return file.getvalue()
    return content
