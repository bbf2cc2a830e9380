"""SVG sketches as pictures, by resvg. A file is refused if it has more than lines and shapes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.errors import LoadingError

SIDE = 1111  # pixels, as TU-Berlin's own PNG files
LARGEST = 4 * 2**20  # bytes; TU-Berlin's largest has 0.3 MB
SHAPES = {"svg", "g", "path", "line", "polyline", "polygon", "rect", "circle", "ellipse", "title", "desc", "metadata"}


def check_renderer() -> None:
    """Raise LoadingError unless the extra ``svg`` is installed."""
    try:
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise LoadingError(
            "SVG sketches need the package resvg_py: run `pip install zs-sbir-bench[svg]`, or add the PNG files."
        ) from error


def draw_svg(content: bytes) -> bytes:
    """A PNG of ``SIDE`` x ``SIDE`` pixels on white; raises ValueError with a few words for a file that is refused.

    Entities, images, links, scripts and styles are refused: nothing but the file itself is read, and nothing in it is
    repeated by reference.
    """
    import resvg_py

    if len(content) > LARGEST:
        raise ValueError(f"has more than {LARGEST:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8") from error
    if re.search(r"<!ENTITY", text, re.IGNORECASE):
        raise ValueError("declares an entity")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError("is not XML") from error
    names = {str(each.tag).rpartition("}")[2] for each in root.iter()}
    if root.tag.rpartition("}")[2] != "svg" or names - SHAPES:
        raise ValueError(f"holds <{min(names - SHAPES, default=root.tag)}>, which is not drawn")
    try:
        return resvg_py.svg_to_bytes(
            svg_string=text, width=SIDE, height=SIDE, background="white", skip_system_fonts=True
        )
    except Exception as error:
        raise ValueError("cannot be drawn") from error
