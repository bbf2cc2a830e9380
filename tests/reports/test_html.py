"""The HTML report in a real browser: no requests, no errors, sortable tables, readable on a phone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.reports import plots
from bench.reports.base import FORMATS, Options, RetrievalExamples
from bench.reports.build import build
from bench.reports.html import inline
from bench.reports.rows import Source
from bench.results.store import Store
from tests.browsing import chromium, problems, requests
from tests.reports.filling import everything, fill


def page_of(store: Store) -> str:
    source = Source(store, store.runs())
    return FORMATS.get("html").write(build(source, ["all"], Options(), pictures=True))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(str(tmp_path_factory.mktemp("store") / "bench.db"))
    everything(store)
    yield store
    store.close()


@pytest.fixture(scope="module")
def page(filled: Store) -> str:
    return page_of(filled)


def test_the_page_is_one_file_with_the_same_bytes_each_time(page: str, filled: Store) -> None:
    assert page == page_of(filled)
    addresses = re.findall(r"""(?:src|href|xlink:href)=["']([^"']*)""", page)
    assert addresses
    assert all(each.startswith(("data:", "#")) for each in addresses)
    assert "@import" not in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_the_page_has_every_kind_of_plot_with_alternative_text(page: str) -> None:
    titles = re.findall(r"<figcaption><strong>([^<:]+)", page)
    for wanted in (
        "Precision and recall",
        "Training",
        "Ablation of ours",
        "By class",
        "Confusion of ours",
        "Cost against quality",
    ):
        assert any(title.startswith(wanted) for title in titles), wanted
    drawn = re.findall(r"<svg [^>]*>", page)
    assert drawn
    assert all('role="img"' in each and re.search(r'aria-label="[^"]{20,}"', each) for each in drawn)


def test_text_from_a_store_cannot_become_an_element(store: Store) -> None:
    fill(store, level=0.5, method="<img src=x onerror=alert(1)>")
    assert "<img src=x" not in page_of(store)
    assert inline('<a>"&**b**`c`') == "&lt;a&gt;&quot;&amp;<strong>b</strong><code>c</code>"


def test_a_note_replaces_pictures_that_cannot_be_read(page: str) -> None:
    assert "No pictures: The images of dataset" in page or "No pictures:" in page


def test_colours_of_text_are_readable_in_light_and_dark() -> None:
    style = (Path(__file__).parents[2] / "reports/templates/page.css").read_text()
    for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        named = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
        for name in ("ink", "soft", "link", "right", "wrong"):
            for ground in ("paper", "shade"):
                assert contrast(named[name], named[ground]) >= 4.5, (name, ground)


def contrast(one: str, other: str) -> float:
    """WCAG 2: ratio of the relative luminances."""

    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_pictures_do_not_wait_for_being_scrolled_to(page: str) -> None:
    assert "loading=" not in page  # they are in the file: on paper, what was never scrolled to would be empty


def test_squares_of_confusion_take_the_ink_of_the_page() -> None:
    svg = plots.draw_heatmap("t", "alt", ("ant", "bee"), [[0.9, 0.1], [0.0, 1.0]]).svg
    squares = svg[svg.index("QuadMesh") :]
    styles = re.findall(r'style="(fill: [^"]+); stroke: var\(--rule\)', squares)[:4]
    ink = "fill: currentColor"
    assert styles == [f"{ink}; fill-opacity: 0.9", f"{ink}; fill-opacity: 0.1", "fill: none", ink]


def test_the_scale_of_a_tall_dot_plot_stands_above_it_too() -> None:
    def scales(rows: int) -> int:
        names, values = [f"class-{n}" for n in range(rows)], np.linspace(0, 1, rows)
        svg = plots.draw_dots("t", "alt", names, [("ours", values, values, values)], "mAP", [[0]]).svg
        return len(re.findall(r">0\.4<", svg))

    assert (scales(20), scales(60)) == (1, 2)


def test_in_a_browser(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page)
    with chromium(tmp_path) as browser:
        browser.get(file.as_uri())
        assert problems(browser) == []
        assert requests(browser) == [file.as_uri()]
        column = (
            "return [...document.querySelector('#main table').tBodies[0].rows].map(row => row.cells[2].textContent)"
        )
        press = "document.querySelectorAll('#main table')[0].tHead.rows[0].cells[2].firstElementChild.click()"
        browser.execute_script(press)
        falling = browser.execute_script(column)
        browser.execute_script(press)
        rising = browser.execute_script(column)
        figures = [float(cell.split()[0]) for cell in falling if cell[0].isdigit()]
        assert figures == sorted(figures, reverse=True)
        assert [cell for cell in rising if cell[0].isdigit()] == [cell for cell in falling if cell[0].isdigit()][::-1]
        head = "return document.querySelectorAll('#main table')[0].tHead.rows[0].cells[2].getAttribute('aria-sort')"
        assert browser.execute_script(head) == "ascending"
        keyed = sort_by_keyboard(browser)
        assert keyed == falling
        assert browser.execute_script(head) == "descending"
        without_name = (
            "return [...document.querySelectorAll('img, svg')]"
            ".filter(each => !each.getAttribute('alt') && !each.getAttribute('aria-label')).length"
        )
        assert browser.execute_script(without_name) == 0
        for width in (360, 1280):  # nothing but tables and drawings in their own frames is wider than the window
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert problems(browser) == []


def sort_by_keyboard(browser: Any) -> list[str]:
    """The first table's third column after its heading was reached with the tabulator and pressed with a key."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.querySelector('#main .scroll').focus()")
    keys = ActionChains(browser)
    for _ in range(3):
        keys = keys.send_keys(Keys.TAB)
    keys.send_keys(Keys.ENTER).perform()
    column = "return [...document.querySelector('#main table').tBodies[0].rows].map(row => row.cells[2].textContent)"
    found: list[str] = browser.execute_script(column)
    return found


def test_a_gallery_of_real_pictures(runner: object, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from bench.cli.main import app

    assert isinstance(runner, CliRunner)
    ran = runner.invoke(app, ["run", "-m", "imagenet", "--limit", "2", "--image-size", "32"])
    assert ran.exit_code == 0, ran.stderr
    store = Store("bench.db")
    report = build(Source(store, store.runs(), include_smoke=True), ["gallery"], Options(), pictures=True)
    table, (gallery,) = report.tables[0], report.sections[0].pictures
    store.close()
    assert isinstance(gallery, RetrievalExamples)
    assert [each.choice for each in gallery.queries] == [row[0] for row in table.rows]
    for shown, row in zip(gallery.queries, table.rows, strict=True):
        assert shown.picture.startswith("data:image/webp;base64,")
        assert ", ".join(f"{'✓' if each.right else '✗'} {each.class_name}" for each in shown.photos) == row[-1]
        assert all(each.path.split("/")[1] == each.class_name for each in shown.photos)
    text = FORMATS.get("html").write(report)
    assert text.count("<img src=") == sum(1 + len(each.photos) for each in gallery.queries)
