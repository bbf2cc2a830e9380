"""SVG sketches as pictures, by resvg. A file is refused if it has more than lines and shapes."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

from bench.errors import missing_extra

SIDE = 1111  # pixels, as TU-Berlin's own PNG files
LARGEST = 4 * 2**20  # bytes; TU-Berlin's largest has 0.3 MB
DEEPEST = 64  # elements in one another; some hundreds overflow the stack of resvg, which ends the process
SHAPES = {"svg", "g", "path", "line", "polyline", "polygon", "rect", "circle", "ellipse", "title", "desc", "metadata"}


def check_renderer() -> None:
    """Raise LoadingError unless the extra ``svg`` is installed."""
    try:
        import resvg_py  # noqa: F401
    except ImportError as error:
        raise missing_extra("An SVG sketch", "svg") from error


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
    names, depth, deepest = list[str](), 0, 0
    try:
        for event, element in ElementTree.iterparse(io.StringIO(text), ("start", "end")):
            depth += 1 if event == "start" else -1
            deepest = max(deepest, depth)
            names.append(element.tag.rpartition("}")[2])
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError("is not XML") from error
    if deepest > DEEPEST:
        raise ValueError(f"has elements nested more than {DEEPEST} deep")
    if names[0] != "svg" or not SHAPES.issuperset(names):
        raise ValueError(f"holds <{min({*names} - SHAPES, default=names[0])}>, which is not drawn")
    try:
        return resvg_py.svg_to_bytes(
            svg_string=text, width=SIDE, height=SIDE, background="white", skip_system_fonts=True
        )
    except Exception as error:
        raise ValueError("cannot be drawn") from error
