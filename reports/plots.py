"""Plots as SVG in the colours of the page: light, dark or print. matplotlib is imported late."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.reports.base import Plot

INK, RULE = "#010203", "#040506"  # placeholders for the colours of the page's style sheet
# Placeholders too. Markers and dashes differ as well, for readers who do not see colours.
COLOURS = tuple(f"#0708{number:02x}" for number in range(6))
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
SHADES = 20  # of a square
TALL = 30  # rows; a longer dot plot has its scale above, too
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    **{f"{part}.color": RULE for part in ("grid",)},
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


@contextmanager
def open_canvas(width: float, height: float, columns: int = 1, rows: int = 1) -> Iterator[tuple[Any, Any]]:
    """A matplotlib figure of this size in inches and its axes [rows, columns]."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(width, height), layout="constrained")
        yield drawing, drawing.subplots(rows, columns, squeeze=False)


def to_svg(drawing: Any, title: str, alt: str, caption: str = "") -> Plot:
    """The figure as an SVG element; equal figures give equal bytes."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": title}):
        drawing.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    for number, colour in enumerate(COLOURS):
        text = text.replace(colour, f"var(--series-{number})")
    mark = f"f{zlib.crc32(title.encode()):x}-"  # ids must be unique on a page
    text = re.sub(r'\bid="', f'id="{mark}', text)
    text = re.sub(r"url\(#", f"url(#{mark}", text)
    text = re.sub(r'xlink:href="#', f'xlink:href="#{mark}', text)
    # Its own width at most, and less on a narrow page.
    width = float(re.search(r'width="([\d.]+)pt"', text)[1]) * 4 / 3  # type: ignore[index]
    text = re.sub(r'\b(width|height)="[^"]*pt" ?', "", text, count=2)
    text = text.replace("<svg ", f'<svg style="--width: {width:.0f}px" ', 1)
    return Plot(title, alt, text.strip(), caption)


def style(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of a series; numbers 0 to 35 differ from each other, 0 to 5 in all three."""
    turn = (number + number // 6) % 6  # each round of colours gets other markers
    return {"color": COLOURS[number % 6], "marker": MARKERS[turn], "linestyle": DASHES[turn]}


def label_powers(axis: Any) -> None:
    """A logarithmic x axis with labels such as 100, not powers of ten."""
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, place: f"{value:,.10g}")
    axis.xaxis.set_minor_formatter(lambda value, place: "")


def draw_lines(
    title: str,
    alt: str,
    panels: Sequence[tuple[str, str, str, Sequence[tuple[str, Sequence[float], Sequence[float]]]]],
    numbers: Mapping[str, int],
    *,
    logarithmic: bool = False,
    caption: str = "",
) -> Plot:
    """Panels of lines: (heading, x label, y label, series of (name, xs, ys)).

    ``numbers`` gives the ``style`` of each name.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    names = list(dict.fromkeys(name for *_, series in panels for name, _, _ in series))
    with open_canvas(3.4 * columns, 2.9 * rows + 0.22 * len(names), columns, rows) as (drawing, axes):
        for axis in axes.flat[len(panels) :]:
            axis.set_visible(False)
        for axis, (heading, across, up, series) in zip(axes.flat, panels, strict=False):
            for name, xs, ys in series:
                every = max(1, len(xs) // 8)
                axis.plot(xs, ys, label=name, markersize=4.5, markevery=every, **style(numbers[name]))
            axis.set(title=heading, xlabel=across, ylabel=up)
            if logarithmic and across.startswith("K"):
                label_powers(axis)
        handles = {
            text: handle for axis in axes.flat for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        drawing.legend([handles[name] for name in names], names, loc="outside lower left", ncols=1)
        return to_svg(drawing, title, alt, caption)


def draw_dots(
    title: str,
    alt: str,
    rows: Sequence[str],
    series: Sequence[tuple[str, npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]],
    across: str,
    numbers: Sequence[Sequence[int]],
    *,
    caption: str = "",
    zero: bool = False,
    points: Sequence[Sequence[float]] = (),
) -> Plot:
    """A dot and an interval per row; a series is (name, middles, lows, highs). ``points`` are single values.

    ``numbers`` gives the ``style`` of each series: one for all of its rows, or one per row.
    """
    with open_canvas(5.6, 0.9 + 0.19 * len(rows) * max(1, len(series)) ** 0.3 + 0.25 * len(series)) as (drawing, axes):
        axis = axes[0, 0]
        places = np.arange(len(rows))[::-1].astype(float)
        for number, (name, middle, low, high) in enumerate(series):
            at = places + (0.0 if len(series) == 1 else 0.18 - 0.36 * number / (len(series) - 1))
            styles = [style(each) for each in numbers[number]]
            axis.hlines(at, low, high, color=[each["color"] for each in styles], linewidth=1.4)
            for part, own_style in enumerate(styles):
                own = slice(None) if len(styles) == 1 else slice(part, part + 1)
                label = name if part == 0 else None
                dotted = {**own_style, "linestyle": "none"}
                axis.plot(np.asarray(middle)[own], at[own], markersize=5.5, label=label, **dotted)
        for place, each in zip(places, points, strict=False):
            axis.plot(each, [place] * len(each), linestyle="none", marker="|", markersize=9, color=INK)
        if zero:
            axis.axvline(0, color=INK, linewidth=0.8)
        axis.set_yticks(places, rows)
        axis.set_ylim(-0.8, len(rows) - 0.2)
        axis.set_xlabel(across)
        if len(rows) > TALL:
            axis.tick_params(top=True, labeltop=True)
        if len(series) > 1:
            drawing.legend(loc="outside upper left", ncols=1)  # above: the plot may be long
        return to_svg(drawing, title, alt, caption)


def draw_scatter(
    title: str,
    alt: str,
    points: Sequence[tuple[str, float, float]],
    across: str,
    up: str,
    numbers: Mapping[str, int],
    *,
    caption: str = "",
) -> Plot:
    """One mark per (name, x, y); ``numbers`` gives the ``style`` of each name."""
    columns = 1 + (len(points) > 6)
    with open_canvas(7, 3.4 + 0.2 * -(-len(points) // columns)) as (drawing, axes):
        axis = axes[0, 0]
        for name, x, y in points:
            axis.plot([x], [y], label=name, markersize=7, **{**style(numbers[name]), "linestyle": "none"})
        if all(x > 0 for _, x, _ in points):
            label_powers(axis)
        axis.set(xlabel=across, ylabel=up)
        drawing.legend(loc="outside lower left", ncols=columns)
        return to_svg(drawing, title, alt, caption)


def draw_heatmap(title: str, alt: str, names: Sequence[str], shares: Any, *, caption: str = "") -> Plot:
    """Shares [rows, columns] of the same ``names`` as squares; larger shares are darker."""
    from matplotlib.colors import ListedColormap, to_rgba

    inks = ListedColormap([to_rgba(INK, level / SHADES) for level in range(SHADES + 1)])
    side = 1.6 + 0.2 * len(names)
    with open_canvas(side + 0.8, side) as (drawing, axes):
        axis = axes[0, 0]
        drawn = axis.pcolormesh(np.asarray(shares), cmap=inks, vmin=0, vmax=1, edgecolors=RULE, linewidth=0.3)
        axis.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90)
        axis.set_yticks(np.arange(len(names)) + 0.5, names)
        axis.invert_yaxis()
        axis.grid(visible=False)
        axis.set(xlabel="class of the photos", ylabel="class of the sketches")
        bar = drawing.colorbar(drawn, ax=axis, shrink=0.6, label="share of the best photos")
        bar.solids.set(rasterized=False, edgecolor="none")  # edges would show as lines
        return to_svg(drawing, title, alt, caption)
