"""Figures of papers up to 2026: counts, rows by hand, marks, and the table that each setting belongs to."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from bench.reports.published import PublishedRow, find_contradictions, read_figures, select_published_rows

METRICS = ("mAP@all:plain", "mAP@200:min", "P@100:k", "P@200:k")


def rows(dataset: str, split: str, gallery: str = "unseen", limit: int | None = None) -> dict[str, PublishedRow]:
    run: Any = SimpleNamespace(dataset=dataset, split=split, gallery=gallery, per_class_limit=limit)
    return {row.name: row for row in select_published_rows(run, METRICS)}


def test_counts_of_settings_and_splits() -> None:
    found = Counter(each.setting for each in read_figures())
    assert found == {"zero-shot": 391, "generalized": 30, "fine-grained": 46, "cross-dataset": 8}
    assert Counter(each.split for each in read_figures() if each.setting == "generalized") == {
        "tuberlin-30": 20,
        "sketchy-21": 10,
    }
    assert max(each.year for each in read_figures()) == "2026"


def test_rows_by_hand() -> None:
    sketchy = rows("sketchy", "sketchy-21")
    assert sketchy["SketchFusion (SD 2.1 + CLIP), 2025"].figures == ("-", "0.761", "-", "0.763")
    assert sketchy["SpLIP, 2024"].definition.startswith("protocol unknown; read by eye [")
    assert "; secondary; not mAP@200:min [" in sketchy["C-DisAmb (CLIP prompts), 2026"].definition
    tuberlin = rows("tuberlin", "tuberlin-30")
    assert tuberlin["SpLIP, 2024"].figures == ("0.731", "-", "0.782", "-")
    assert tuberlin["MATHM, 2021"].figures[0] == "0.508"
    values = [float(row.figures[0]) for row in tuberlin.values() if row.figures[0] != "-"]
    assert values == sorted(values, reverse=True)
    assert len(values) > 50


def test_two_values_in_print_stay_with_their_sources() -> None:
    tuberlin = rows("tuberlin", "tuberlin-30")
    names = ("BDA-SketRet", "BDA, 2022", "DOODLE, 2019", "Doodle, 2019")
    assert [tuberlin[name].figures[0] for name in names] == ["0.375", "0.374", "0.109", "0.110"]
    numbers = {name: tuberlin[name].definition.rpartition("[")[2] for name in names}
    assert numbers["BDA-SketRet"] != numbers["BDA, 2022"]


def test_figures_stand_in_tables_of_their_setting() -> None:
    generalized = rows("sketchy", "sketchy-21", gallery="all")
    assert generalized["SpLIP, 2024"].figures == ("-", "0.682", "-", "0.745")
    assert rows("sketchy", "sketchy-21")["SpLIP, 2024"].figures == ("-", "0.764", "-", "0.773")
    assert rows("sketchy", "sketchy-21", limit=3) == {}


def test_every_row_above_its_precision_is_flagged() -> None:
    found = [each for each in read_figures() if (each.split, each.setting) == ("sketchy-21", "zero-shot")]
    flagged = [row for row in rows("sketchy", "sketchy-21").values() if "not mAP@200:min" in row.definition]
    assert len(flagged) == len(find_contradictions(found)) == 11
    for row in flagged:
        assert float(row.figures[1]) > float(row.figures[3])
