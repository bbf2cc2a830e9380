"""Drawings of Quick, Draw! as pictures: strokes of its .ndjson files, and rows of its .npy bitmaps.

Strokes are drawn as Google drew the published bitmaps: on a square of 256 units, centred, with lines of 16 units and
round ends, and a margin of 24 units (its answer in issue 19 of googlecreativelab/quickdraw-dataset).
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CANVAS, LINE, MARGIN = 256.0, 16.0, 24.0  # units; the margin is the padding and half a line
SIDE = 256  # pixels of a picture
BITMAP = 28  # pixels of a published bitmap
POINTS = 100_000  # of a drawing; the longest have some thousands

Stroke = NDArray[np.float64]  # [2, points]: x and y, which grows downwards


def parse_drawing(line: bytes) -> list[Stroke]:
    """The strokes of one line of a raw or simplified file; raises ValueError with a few words if it is damaged."""
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("is not JSON") from error
    drawing = facts.get("drawing") if isinstance(facts, dict) else None
    if not isinstance(drawing, list) or not drawing:
        raise ValueError("has no drawing")
    strokes = [_stroke(each) for each in drawing]
    if sum(each.shape[1] for each in strokes) > POINTS:
        raise ValueError(f"has more than {POINTS:,} points")
    return strokes


def _stroke(stroke: Any) -> Stroke:
    try:
        found = np.array(stroke[:2], dtype=np.float64)  # a raw stroke has times, too
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError("has a stroke without equally many x and y") from error
    if found.ndim != 2 or len(found) != 2 or not found.shape[1]:
        raise ValueError("has a stroke without equally many x and y")
    if not np.isfinite(found).all() or np.abs(found).max() > 1e6:
        raise ValueError("has a coordinate that is no finite number")
    return found


def draw_strokes(strokes: Sequence[Stroke]) -> bytes:
    """A PNG of ``SIDE`` x ``SIDE`` pixels, black on white and anti-aliased."""
    from matplotlib.path import Path
    from matplotlib.transforms import IdentityTransform

    points = np.concatenate(strokes, axis=1)  # [2, points]
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    scale = (CANVAS - 1) / max(float((high - low).max()), 1e-9)
    scale = scale if (high - low).max() > 0 else 1.0  # a dot
    offset = CANVAS / 2 - scale * (low + high) / 2
    pixels = SIDE / (CANVAS + 2 * MARGIN)
    renderer, context = _renderer()
    renderer.clear()
    context.set_linewidth(LINE * pixels)
    for stroke in strokes:
        x, y = (scale * stroke + offset + MARGIN) * pixels
        if len(x) == 1:  # a line of no length would have no ends
            x, y = np.append(x, x + 1e-3), np.append(y, y)
        path = Path(np.stack([x, SIDE - y], axis=1))
        path.should_simplify = False
        renderer.draw_path(context, path, IdentityTransform())
    ink = np.asarray(renderer.buffer_rgba())[..., 3]
    return _png(255 - ink)


@cache
def _renderer() -> tuple[Any, Any]:
    """A canvas of matplotlib and a pen with round ends; 72 points an inch make a point a pixel."""
    from matplotlib.backends.backend_agg import RendererAgg

    renderer = RendererAgg(SIDE, SIDE, 72)  # type: ignore[no-untyped-call]
    context = renderer.new_gc()
    context.set_capstyle("round")
    context.set_joinstyle("round")
    context.set_antialiased(True)
    context.set_snap(False)
    return renderer, context


def draw_bitmap(row: NDArray[np.uint8]) -> bytes:
    """A PNG of 28 x 28 pixels, black on white, from a row [784] of white on black."""
    return _png(255 - np.asarray(row, dtype=np.uint8).reshape(BITMAP, BITMAP))


def _png(grey: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()
