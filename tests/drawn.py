"""A drawing as users send them: ink on paper, of every sort."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw


def sketch(side: int = 200, ink: str = "black", paper: str | None = "white", *, box: float = 0.9) -> Image.Image:
    """A circle with a stem; on nothing without ``paper``."""
    image = Image.new("RGBA", (side, side), paper or (0, 0, 0, 0))
    low, high = side * (1 - box) / 2, side * (1 + box) / 2
    pen = ImageDraw.Draw(image)
    pen.ellipse((low, side / 3, high, high), outline=ink, width=8)
    pen.line((side / 2, low, side / 2, side / 3), fill=ink, width=8)
    return image


def png(image: Image.Image) -> bytes:
    """Its file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
