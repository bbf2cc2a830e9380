"""Finds the drawing of an emoji in an unpacked package and loads it with its transparency."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from bench.errors import DataError, LoadingError
from tools.emoji.classes import Definitions, Emoji, slug
from tools.emoji.sources import Form, Source

SVG_PIXELS = 320
GLYPH_PIXELS = 280


def build_module(name: str) -> ModuleType:
    """Import a package that only the build needs; tests run without it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise LoadingError(f"{name} is missing: install the extra `build-data`.") from error


@dataclass(frozen=True)
class Drawing:
    """Where one drawing is: a file, and within it the name of an icon or the code point of a glyph."""

    file: Path
    icon: str = ""
    code_point: int = 0


@dataclass(frozen=True)
class Package:
    """A source together with the folder that its package was unpacked to."""

    source: Source
    folder: Path

    @property
    def path(self) -> Path:
        """The file of the drawings, or the folder of their files."""
        return self.folder / self.source.path

    def check(self) -> None:
        """Raise DataError if the package is missing."""
        if not self.path.exists():
            raise DataError(
                f"The source {self.source.name} has no {self.source.path} in {self.folder}: "
                "fetch it with `python -m tools.emoji.fetch`."
            )

    def find(self, emoji: Emoji, definitions: Definitions) -> Drawing | None:
        """The drawing of this emoji, or None where the design has none."""
        form = self.source.form
        if form is Form.SVG_FILES:
            file = self.path / f"{emoji.code}.svg"
            return Drawing(file) if file.exists() else None
        if form is Form.WEBP_FILES:
            files = (self.path / f"{name}.webp" for name in file_names(emoji))
            return next((Drawing(file) for file in files if file.exists()), None)
        if form is Form.FONT:
            points = emoji.drawn_code_points
            has_glyph = len(points) == 1 and points[0] in glyphs(self.path)
            return Drawing(self.path, code_point=points[0]) if has_glyph else None
        if self.source.name in definitions.not_by_name.get(emoji.annotation, ()):
            return None
        known = icon_names(self.path)
        names = icon_candidates(self.source, emoji, definitions)
        return next((Drawing(self.path, icon=name) for name in names if name in known), None)

    def load(self, drawing: Drawing) -> Image.Image:
        """The drawing in RGBA, in black where it has no colour of its own."""
        form = self.source.form
        if form is Form.WEBP_FILES:
            return Image.open(drawing.file).convert("RGBA")
        if form is Form.FONT:
            return draw_glyph(drawing.file, drawing.code_point)
        if form is Form.SVG_FILES:
            return draw_svg(drawing.file.read_text(encoding="utf-8"))
        return draw_svg(icon_svg(drawing.file, drawing.icon))


def file_names(emoji: Emoji) -> Iterator[str]:
    """The spellings of a code in file names: as given, without and with the variation selector."""
    drawn = "-".join(f"{point:x}" for point in emoji.drawn_code_points)
    yield "-".join(f"{point:x}" for point in emoji.code_points)
    yield drawn
    yield f"{drawn}-fe0f"


def icon_candidates(source: Source, emoji: Emoji, definitions: Definitions) -> Iterator[str]:
    """The names that an icon set may use for this emoji, the likeliest first."""
    usual = slug(emoji.annotation)
    if source.name != "fxemoji":
        yield usual
        return
    if emoji.annotation in definitions.fxemoji_names:
        yield definitions.fxemoji_names[emoji.annotation]
    yield usual
    yield usual.replace("-", "")


@cache
def icon_set(path: Path) -> dict[str, Any]:
    """The content of a JSON file of icons, read once in every process."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@cache
def icon_names(path: Path) -> frozenset[str]:
    """The names of the icons and their aliases."""
    content = icon_set(path)
    return frozenset(content["icons"]) | frozenset(content.get("aliases", {}))


def icon_svg(path: Path, name: str) -> str:
    """The icon as a whole SVG document; a size missing at the icon is the set's, and 16 where the set has none."""
    content = icon_set(path)
    while name not in content["icons"]:
        alias = content["aliases"][name]
        if set(alias) != {"parent"}:
            raise DataError(f"The icon {name!r} of {path} is a turned alias: leave it out in tools/emoji/classes.toml.")
        name = alias["parent"]
    icon = content["icons"][name]
    left, top = (icon.get(key, content.get(key, 0)) for key in ("left", "top"))
    width, height = (icon.get(key, content.get(key, 16)) for key in ("width", "height"))
    body = icon["body"].replace("currentColor", "#000")
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} color="#000" viewBox="{left} {top} {width} {height}">{body}</svg>'


def draw_svg(svg: str) -> Image.Image:
    """Rasterises large, so that scaling down afterwards smooths all designs alike."""
    png = build_module("cairosvg").svg2png(bytestring=svg.encode(), output_width=SVG_PIXELS, output_height=SVG_PIXELS)
    return Image.open(io.BytesIO(png)).convert("RGBA")


@cache
def glyphs(font: Path) -> frozenset[int]:
    """The code points that a font draws."""
    return frozenset(build_module("fontTools.ttLib").TTFont(font).getBestCmap())


@cache
def opened_font(font: Path) -> ImageFont.FreeTypeFont:
    """The font at the size of drawing, opened once in every process."""
    return ImageFont.truetype(font, GLYPH_PIXELS)


def draw_glyph(font: Path, code_point: int) -> Image.Image:
    """One glyph in black, with room on all sides because some glyphs reach far beyond their box."""
    ink = Image.new("L", (3 * GLYPH_PIXELS, 3 * GLYPH_PIXELS), 0)
    ImageDraw.Draw(ink).text((GLYPH_PIXELS, GLYPH_PIXELS), chr(code_point), font=opened_font(font), fill=255)
    drawing = Image.new("RGBA", ink.size, (0, 0, 0, 0))
    drawing.putalpha(ink)
    return drawing
