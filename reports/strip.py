"""The photos that a sketch retrieves, as one picture or as one HTML page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from string import Template

from bench.reports.html import template

SIDE, GAP, COLUMNS = 128, 8, 10

Result = tuple[bytes, str]  # an image file and its caption


def draw_strip(sketch: bytes, results: Sequence[Result]) -> bytes:
    """The sketch and its results, ten per row, as PNG."""
    from PIL import Image, ImageDraw

    rows = -(-len(results) // COLUMNS)
    line = SIDE + 24
    sheet = Image.new("RGB", (SIDE + 3 * GAP + COLUMNS * (SIDE + GAP), rows * (line + GAP) + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    places = [
        (SIDE + 3 * GAP + (n % COLUMNS) * (SIDE + GAP), GAP + n // COLUMNS * (line + GAP)) for n in range(len(results))
    ]
    for (content, text), (x, y) in zip([(sketch, "sketch"), *results], [(GAP, GAP), *places], strict=True):
        with Image.open(io.BytesIO(content)) as picture:
            small = picture.convert("RGBA")
        small.thumbnail((SIDE, SIDE))
        sheet.paste(small, (x + (SIDE - small.width) // 2, y + (SIDE - small.height) // 2), small)
        pen.text((x, y + SIDE + 4), _shorten(pen, text), fill="black")
    pen.rectangle((GAP - 2, GAP - 2, GAP + SIDE + 1, GAP + SIDE + 1), outline="black")
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _shorten(pen: object, text: str) -> str:
    measure = pen.textlength  # type: ignore[attr-defined]
    while text and measure(text) > SIDE:
        text = text[:-2] + "…" if len(text) > 2 else ""
    return text


def render_page(title: str, note: str, sketch: bytes, results: Sequence[Result]) -> str:
    """The same as one self-contained HTML file; pictures are WebP files."""
    cells = "".join(
        f'<li><figure><img src="{_uri(content)}" alt="Place {place}: {escape(text)}">'
        f"<figcaption>{place}. {escape(text)}</figcaption></figure></li>"
        for place, (content, text) in enumerate(results, start=1)
    )
    return Template(template("query.html")).substitute(
        title=escape(title),
        note=escape(note),
        sketch=_uri(sketch),
        results=cells,
        style=template("page.css") + template("results.css"),
    )


def _uri(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
