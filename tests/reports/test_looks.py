"""Every method looks the same in all drawings of a page, and no two alike: by eyes of every sort, on light and dark."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bench.reports import pictures, plots
from bench.reports.base import FORMATS, Options
from bench.reports.build import build
from bench.reports.rows import Source
from bench.results.store import Store
from tests.reports.filling import fill
from tests.reports.test_html import contrast

TEMPLATES = Path(__file__).parents[2] / "reports" / "templates"
# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0: linear RGB as seen without one sort of cones.
VISION: dict[str, list[list[float]]] = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def palettes() -> list[tuple[str, list[str]]]:
    """The paper and the colours of series: on light pages, on dark ones."""
    paper = re.findall(r"--paper: (#[0-9a-f]{6})", (TEMPLATES / "page.css").read_text())
    colours = re.findall(r"--series-\d: (#[0-9a-f]{6})", (TEMPLATES / "report.css").read_text())
    return [(paper[0], colours[:6]), (paper[1], colours[6:])]


def lab(colour: str, seen: list[list[float]]) -> npt.NDArray[np.float64]:
    """CIE L*a*b* of a colour as it is seen."""
    values = np.array([int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(np.array(seen) @ linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize(("paper", "colours"), palettes(), ids=("light", "dark"))
def test_colours_stay_apart_for_every_sort_of_eyes(paper: str, colours: list[str]) -> None:
    assert len(colours) == len(plots.COLOURS) == 6
    for each in colours:
        assert contrast(each, paper) >= 3  # WCAG 2.1, 1.4.11: drawings
    for name, seen in VISION.items():
        for one, other in itertools.combinations(colours, 2):
            assert np.linalg.norm(lab(one, seen) - lab(other, seen)) > 30, (name, one, other)


def test_no_two_of_thirty_six_look_alike_and_six_in_nothing() -> None:
    seen = [tuple(map(str, plots.style(number).values())) for number in range(36)]
    assert len(set(seen)) == 36
    for part in zip(*seen[:6], strict=True):
        assert len(set(part)) == 6


def test_a_method_looks_the_same_in_all_drawings(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = [f"method-{number}" for number in range(9)]
    for place, method in enumerate(methods):  # the best on one dataset are the worst on the other
        history = [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0}]
        fill(store, level=0.3 + 0.05 * place, method=method, history=history)
        fill(store, level=0.7 - 0.05 * place, method=method, dataset="sketchy", split="sketchy-21", history=history)
    drawn: list[tuple[str, dict[str, int]]] = []

    def watched(kind: str) -> Any:
        original = getattr(plots, kind)

        def drawing(*given: Any, **named: Any) -> Any:
            if kind == "draw_dots":
                names, numbers = [each[0] for each in given[3]], [each[0] for each in given[5]]
                drawn.append((given[0], dict(zip(names, numbers, strict=True))))
            else:
                drawn.append((given[0], dict(given[5 if kind == "draw_scatter" else 3])))
            return original(*given, **named)

        return drawing

    for kind in ("draw_lines", "draw_dots", "draw_scatter"):
        monkeypatch.setattr(plots, kind, watched(kind))
    source = Source(store, store.runs())
    page = FORMATS.get("html").write(
        build(source, ["main", "per-class", "cost"], Options(published=False), pictures=True)
    )
    assert {title.split(":")[0] for title, _ in drawn} >= {"Training", "By class", "Cost against quality"}
    number_of = pictures.assign_styles(source)
    assert sorted(number_of.values()) == list(range(9))
    for title, numbers in drawn:
        assert numbers.items() <= number_of.items(), title
    assert "var(--series-5)" in page
    assert not any(colour in page for colour in plots.COLOURS)


def test_every_series_has_its_own_colour_in_the_drawing() -> None:
    numbers = {"a": 4, "b": 0}
    svg = plots.draw_scatter("t", "alt", [("a", 1.0, 0.5), ("b", 2.0, 0.6)], "x", "y", numbers).svg
    assert set(re.findall(r"var\(--series-\d\)", svg)) == {"var(--series-4)", "var(--series-0)"}
    rows = plots.draw_dots("t", "alt", ["p", "q"], [("mean", [1, 2], [0, 1], [2, 3])], "x", [[1, 3]]).svg
    assert set(re.findall(r"var\(--series-\d\)", rows)) == {"var(--series-1)", "var(--series-3)"}
