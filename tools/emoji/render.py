"""From a drawing with transparency to the bytes of an archive member."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from bench.errors import DataError
from tools.emoji.sources import Modality

PIXELS = 128
MARGIN = 6
WEBP_QUALITY = 78
GREY_LEVELS = 16
FAINTEST_ALPHA = 8  # fainter pixels do not count as ink when cropping

CONTOUR_PIXELS = 512
CONTOUR_MARGIN = 24
CONTOUR_WIDTH = 7

# A drawing with less ink than this share of pixels counts as broken.
LEAST_SKETCH_INK = 0.012
LEAST_PHOTO_INK = 0.01


def fit(drawing: Image.Image, pixels: int = PIXELS, margin: int = MARGIN) -> Image.Image:
    """Crops to the ink, scales it into a square with a margin, and puts it on white."""
    box = drawing.getchannel("A").point(lambda alpha: 255 if alpha > FAINTEST_ALPHA else 0).getbbox()
    if box is None:
        raise DataError("A drawing is blank: leave it out in tools/emoji/classes.toml.")
    cropped = drawing.crop(box)
    scale = (pixels - 2 * margin) / max(cropped.size)
    size = (max(1, round(cropped.width * scale)), max(1, round(cropped.height * scale)))
    # Premultiplied alpha, so that the invisible colour of transparent pixels does not bleed into the border.
    scaled = cropped.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    canvas = Image.new("RGBA", (pixels, pixels), (255, 255, 255, 255))
    canvas.alpha_composite(scaled, ((pixels - scaled.width) // 2, (pixels - scaled.height) // 2))
    return canvas.convert("RGB")


def contour(drawing: Image.Image) -> Image.Image:
    """The outline of filled shapes: where the widest and the narrowest version of the shape differ."""
    grey = fit(drawing, CONTOUR_PIXELS, CONTOUR_MARGIN).convert("L")
    shape = grey.point(lambda value: 255 if value > 127 else 0).filter(ImageFilter.MedianFilter(5))
    widest = np.asarray(shape.filter(ImageFilter.MaxFilter(CONTOUR_WIDTH)), np.int16)
    narrowest = np.asarray(shape.filter(ImageFilter.MinFilter(CONTOUR_WIDTH)), np.int16)
    lines = Image.fromarray((255 - (widest - narrowest)).astype(np.uint8))
    return lines.filter(ImageFilter.GaussianBlur(1.2)).resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)


def encode_sketch(sketch: Image.Image) -> bytes:
    """A PNG of four bits a pixel: more grey than a line drawing needs, half the bytes."""
    levels = (np.asarray(sketch, np.int32) * (GREY_LEVELS - 1) + 127) // 255
    indexed = Image.fromarray(levels.astype(np.uint8))
    indexed.putpalette([level * 17 for level in range(GREY_LEVELS) for _channel in "RGB"])
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG", optimize=True, bits=4)
    return buffer.getvalue()


def encode_photo(photo: Image.Image) -> bytes:
    """A lossy WebP, the smallest that the encoder can make at this quality."""
    buffer = io.BytesIO()
    photo.save(buffer, "WEBP", quality=WEBP_QUALITY, method=6)
    return buffer.getvalue()


def render(drawing: Image.Image, modality: Modality, take_contour: bool) -> bytes:
    """The archive member that this drawing becomes."""
    if modality is Modality.PHOTO:
        photo = fit(drawing)
        check_ink(float((np.asarray(photo).min(axis=2) < 245).mean()), LEAST_PHOTO_INK)
        return encode_photo(photo)
    sketch = (contour(drawing) if take_contour else fit(drawing)).convert("L")
    check_ink(float((np.asarray(sketch) < 128).mean()), LEAST_SKETCH_INK)
    return encode_sketch(sketch)


def check_ink(share: float, least: float) -> None:
    """Raise DataError for a drawing with almost no ink."""
    if share < least:
        raise DataError(f"A drawing has ink on {share:.1%} of its pixels only: leave it out in classes.toml.")
