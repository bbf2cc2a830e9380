"""Every kind of report in every format against committed text, and notes on what is missing.

After an intended change, update the texts with ``BENCH_UPDATE_EXPECTED=1 python -m pytest tests/reports`` and read
the difference before committing it.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import IncompleteError, UsageError
from bench.evaluation.protocols.base import PROTOCOLS
from bench.reports import published
from bench.reports.base import FORMATS, KINDS, Options
from bench.reports.gallery import choose_queries
from bench.reports.rows import Source
from bench.results.store import Store
from bench.statistics.intervals import class_sums, interval
from bench.statistics.significance import compare
from tests.bench.results.test_store import finish
from tests.reports.filling import CLASSES, EACH, begin, everything, fill, report
from tests.test_reports import same_as_committed

ALL = ("main", "protocols", "ablation", "per-class", "gallery", "cost")


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_equals_its_committed_text(kind: str, filled: Store) -> None:
    text = FORMATS.get("md").write(report(filled, kind, options=Options(published=kind == "main")))
    same_as_committed(text, f"kind-{kind}.md")


def test_there_is_no_kind_that_is_not_tested(filled: Store) -> None:
    elsewhere = ("fine-grained", "cross-dataset")  # test_other_tasks.py
    assert sorted((*ALL, *elsewhere)) == KINDS.names()


def test_intervals_from_sums_are_those_from_every_query(filled: Store) -> None:
    source = Source(filled, filled.runs())
    row = next(row for row in source.groups[0].rows if row.name == "ours")
    values = source.values(row, "mAP@all:plain")
    assert values is not None
    labels = np.repeat(np.arange(len(CLASSES)), EACH)
    expected = interval(class_sums(values, labels, "queries"), np.random.default_rng(0))
    cells = report(filled, "main").tables[0].rows[0]
    assert cells[3] == f"{expected.low:.3f} to {expected.high:.3f}"


def test_differences_to_a_baseline_are_those_of_the_paired_comparison(filled: Store) -> None:
    source = Source(filled, filled.runs())
    rows = {row.name: row for row in source.groups[0].rows}
    labels, sums = np.repeat(np.arange(len(CLASSES)), EACH), []
    for name in ("ours", "ours without quadruplet"):
        values = source.values(rows[name], "mAP@all:plain")
        assert values is not None
        sums.append(class_sums(values, labels, "queries", tuple(run.seed for run in rows[name].runs)))
    expected = compare(*sums, np.random.default_rng(0))
    made = report(filled, "main", options=Options(baseline="ours without quadruplet"))
    for row in json.loads(FORMATS.get("json").write(made))["tables"][0]["rows"]:
        low, high, significant = (
            row[f"difference_to_ours_without_quadruplet_{n}"] for n in ("low", "high", "significant")
        )
        assert significant == (None if low is None else low > 0 or high < 0)
    table = made.tables[0]
    assert table.columns[-1] == "difference to ours without quadruplet"
    assert table.rows[0][-1] == f"{expected.points:+.1f} ({expected.low:+.1f} to {expected.high:+.1f})"
    assert table.rows[1][-1] == ""


def test_a_method_that_was_filtered_out_is_not_called_missing(runner: CliRunner) -> None:
    store = Store("bench.db")
    everything(store)
    store.close()
    filtered = runner.invoke(app, ["report", "-m", "ours"])
    assert "lacks the untrained baseline" not in filtered.stdout
    assert "missing" not in filtered.stderr
    compared = runner.invoke(app, ["report", "-m", "ours", "--baseline", "imagenet"])
    assert compared.exit_code == 0, compared.stderr
    assert "difference to imagenet" in compared.stdout
    assert "Where it excludes 0, the difference is significant at 5 %." in compared.stdout


def test_a_baseline_that_is_not_stored_is_a_mistake(filled: Store) -> None:
    with pytest.raises(UsageError, match=r"No run of 'imagnet' is stored\. Did you mean 'imagenet'\?"):
        report(filled, "main", options=Options(baseline="imagnet"))


def test_the_cost_table_shows_device_memory_where_there_is_any(store: Store) -> None:
    fill(store, level=0.5)
    assert "device memory, GB" not in report(store, "cost").tables[0].columns
    run = begin(store, method="sake")
    finish(store, run, [], {"training": 1.0}, cost={"peak_device_memory": 2.5e9})
    (table,) = report(store, "cost").tables
    assert {row[0]: row[-1] for row in table.rows} == {"ours": "-", "sake": "2.5"}
    assert table.columns[-1] == "device memory, GB"


def test_the_note_on_the_interval_of_one_seed(filled: Store, store: Store) -> None:
    mixed, single = report(filled, "main", options=Options(published=False)).tables
    assert (
        "The interval covers other classes and other trainings; in a row of one seed other classes only." in mixed.notes
    )
    assert "The interval covers other classes, not other trainings, because there is one seed." in single.notes


def test_a_protocol_is_a_table_of_its_own_with_its_metrics_and_its_rule_for_empty_queries(filled: Store) -> None:
    tables = report(
        filled, "main", options=Options(protocols=("zse-sbir", "icfrr", "sem-pcyc"), published=False)
    ).tables
    assert [table.title.rpartition("protocol ")[2] for table in tables] == ["zse-sbir", "icfrr", "sem-pcyc"] * 2
    zse, icfrr, pcyc = tables[3:]
    assert zse.columns[2:] == ("mAP@all:voc", "95 % interval", "mAP@200:voc-min", "P@100:min", "P@200:min")
    assert float(zse.rows[0][2]) == pytest.approx(0.5)
    run = filled.runs(split="sketchy-21")[0]
    assert float(icfrr.rows[0][2]) == pytest.approx(run.value("mAP@all:plain") * 27 / 30, abs=5e-4)  # 3 of 30 count 0
    assert set(pcyc.rows[0][2:]) == {"-"}  # ranks by another distance than the run did


def test_the_same_ranking_has_a_number_for_every_formula(filled: Store) -> None:
    (table, _) = report(filled, "protocols").tables
    named = {row[0] for row in table.rows}
    every = [PROTOCOLS.get(name) for name in PROTOCOLS.names()]
    shown = [each for each in every if each.codes == "none" and each.gallery == "full" and each.relevance == "class"]
    assert named == {each.name for each in shown}


def test_published_rows_are_marked_and_never_bold(filled: Store) -> None:
    (_, table, unplaced) = report(filled, "main").tables
    reported = [row for row in table.rows if "(reported)" in row[0]]
    assert any(row[0].startswith("SAKE") and row[4] == "0.497" for row in reported)
    assert not any("**" in cell for row in reported for cell in row)
    assert any("protocol unknown" in row[-1] for row in reported)
    assert any("ZS-GCN (reported): mAP@200 0.568 above P@200 0.487 cannot be" in note for note in table.notes)
    assert "whose classes are not stated" in unplaced.title
    assert any("ClipPrompt" in note and "0.719 above P@200 0.681" in note for note in unplaced.notes)
    assert not any("SAKE (reported): " in note for note in table.notes)
    without = report(filled, "main", options=Options(published=False)).tables
    assert not any("(reported)" in row[0] for each in without for row in each.rows)


def test_every_published_figure_has_a_source_a_known_protocol_and_a_fraction() -> None:
    assert len(published.read_figures()) == 475
    for each in published.read_figures():
        assert each.source
        assert 0 <= float(each.value) <= 1
        assert each.protocol in ("", *PROTOCOLS.names())
        assert each.metric in (*published.NAMES, "acc@1", "acc@5")
        assert each.setting in ("zero-shot", "generalized", "fine-grained", "cross-dataset")


def test_kinds_without_details_say_how_to_get_them(store: Store) -> None:
    run = store.begin({"key": "k"} | {**_identity(store)})
    finish(store, run, [], {})
    for kind in ("per-class", "gallery", "ablation"):
        with pytest.raises(IncompleteError, match=r"run it again with --force|run `bench ablate` first"):
            report(store, kind)


def _identity(store: Store) -> dict[str, object]:
    from tests.bench.results.test_store import IDENTITY

    return {**IDENTITY, "configuration": {"run": {}, "method": {}}}


def test_shown_queries_are_the_best_the_median_the_worst_and_others() -> None:
    values = np.array([0.5, 0.9, np.nan, 0.1, 0.7, 0.3, 0.2, 0.8, 0.6, 0.4, 0.55, 0.45])
    shown = choose_queries(values)
    assert [query for what, query in shown if what == "best"] == [1, 7, 4]
    assert [query for what, query in shown if what == "worst"] == [3, 6, 5]
    assert [query for what, query in shown if what == "median"] == [10, 0, 11]
    assert len({query for _, query in shown}) == len(shown) == 11
    assert 2 not in {query for _, query in shown}


def test_a_gallery_shows_ten_photos_however_many_are_stored(store: Store) -> None:
    fill(store, level=0.5, kept=25)
    (table,) = report(store, "gallery").tables
    assert {len(row[-1].split(", ")) for row in table.rows} == {10}


def test_a_table_without_intervals_has_a_note(filled: Store) -> None:
    standard, voc = (
        report(filled, "main", options=Options(protocols=protocols, published=False)).tables[0].notes
        for protocols in ((), ("sake",))
    )
    assert any("The interval covers" in note for note in standard)
    assert "No interval: these runs were stored without the mAP@all:voc of every query." in voc
    assert not any("The interval covers" in note for note in voc)
