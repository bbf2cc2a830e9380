"""The generated parts of docs/protocols.md are up to date."""

from __future__ import annotations

import tomllib

import pytest

from bench.evaluation.metrics.base import definitions
from bench.evaluation.protocols.base import PROTOCOLS
from tests.bench.evaluation import oracle
from tools import protocols_page

TEXT = protocols_page.PAGE.read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    written = protocols_page.render(TEXT)
    assert written == TEXT, "docs/protocols.md is out of date: write it again with `python -m tools.protocols_page`"


def test_a_stale_page_is_noticed() -> None:
    stale = TEXT.replace("| `mAP@K:hits` | 0.583 |", "| `mAP@K:hits` | 0.584 |")
    assert stale != TEXT
    assert protocols_page.render(stale) == TEXT


def test_every_declaration_is_on_the_page() -> None:
    assert len(protocols_page.BLOCK.findall(TEXT)) == 8
    assert all(f"| `{each.name}` |" in TEXT for each in definitions())
    assert all(f"- **`{name}`**: " in TEXT for name in PROTOCOLS.names())


def test_every_protocol_belongs_to_a_repository() -> None:
    repositories = tomllib.loads(protocols_page.REPOSITORIES.read_text(encoding="utf-8"))["repository"]
    ours = {name for name, each in PROTOCOLS.items() if each.used_by.startswith("this project")}
    assert {name for each in repositories for name in each["protocols"]} == {*PROTOCOLS.names()} - ours
    assert all(each["protocols"] or each["computes"] for each in repositories)


def test_the_worked_ranking_agrees_with_the_oracle() -> None:
    """The figures beside one another come from the engine; here from the definitions alone."""
    order = sorted(range(12), key=lambda photo: (protocols_page.DISTANCES[photo], photo))
    flags = [protocols_page.RELEVANT[photo] == "o" for photo in order]
    for definition in definitions():
        for k in protocols_page.KS:
            if "tied" not in definition.name:
                expected = oracle.value(definition.at(k), flags)
                assert protocols_page.value(definition.at(k)) == pytest.approx(expected, abs=1e-12)


def test_the_worked_ranking_tells_the_definitions_apart() -> None:
    values = [protocols_page.value(each.at(protocols_page.KS[1])) for each in definitions() if "mAP" in each.name]
    # With K above R, min and all are one; everything else differs.
    assert len({round(each, 3) for each in values}) == len(values) - 1
    assert protocols_page.value("mAP@4:min") <= protocols_page.value("P@4:k") < protocols_page.value("mAP@4:hits")


def test_an_unknown_mark_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        protocols_page.render("<!-- generated: nonsense -->\n<!-- end -->")
