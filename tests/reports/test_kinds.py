"""Every kind of report in every format against committed text, and what tables say about what is missing.

When a change is meant, write the texts anew with ``BENCH_UPDATE_EXPECTED=1 python -m pytest tests/reports`` and read
the difference before committing it.
"""

from __future__ import annotations

import csv
import doctest
import importlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.comparison import Results, compare, holm
from bench.errors import IncompleteError, UsageError
from bench.protocols.base import PROTOCOLS
from bench.statistics import interval
from bench.store import Store
from reports import latex, published
from reports.ablation import METRIC, ablation_tables
from reports.base import FORMATS, KINDS, Options, Report, Section, Table
from reports.build import build
from reports.gallery import chosen
from reports.markdown import flush_right
from reports.source import Source
from reports.tables import labels_of, shown_rows
from tests.reports.filling import CLASSES, EACH, begin, everything, fill
from tests.test_reports import same_as_committed

CODES = {"codes": "itq-test", "bits": 64, "rerank": "none"}
ALL = ("main", "protocols", "ablation", "per-class", "gallery", "cost")


@pytest.fixture
def filled(store: Store) -> Store:
    everything(store)
    return store


def report(store: Store, *kinds: str, options: Options | None = None, **choices: bool) -> Report:
    source = Source(store, store.runs(), **choices)  # type: ignore[arg-type]
    return build(source, kinds, options or Options())


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_equals_its_committed_text(kind: str, filled: Store) -> None:
    text = FORMATS.get("md").write(report(filled, kind, options=Options(published=kind == "main")))
    same_as_committed(text, f"kind-{kind}.md")


def test_there_is_no_kind_that_is_not_tested(filled: Store) -> None:
    assert sorted(ALL) == KINDS.names()


@pytest.mark.parametrize("format", ["md", "csv", "json", "latex"])
def test_the_same_store_gives_the_same_bytes(format: str, filled: Store) -> None:
    write = FORMATS.get(format).write
    assert write(report(filled, "all")) == write(report(filled, "all"))


def test_csv_and_json_hold_every_cell(filled: Store) -> None:
    made = report(filled, "all")
    cells = sum(len(table.rows) * (len(table.columns) - 1) for table in made.tables)
    assert len(list(csv.reader(io.StringIO(FORMATS.get("csv").write(made))))) == cells + 1
    assert len(json.loads(FORMATS.get("json").write(made))["tables"]) == len(made.tables)


def test_intervals_from_sums_are_those_from_every_query(filled: Store) -> None:
    source = Source(filled, filled.runs())
    row = next(row for row in source.groups[0].rows if row.name == "ours")
    values = source.results(row, "mAP@all:plain")
    assert values is not None
    labels = np.repeat(np.arange(len(CLASSES)), EACH)
    expected = interval(values.values, labels, "queries", np.random.default_rng(0))
    cells = report(filled, "main").tables[0].rows[0]
    assert cells[3] == f"{expected.low:.3f} to {expected.high:.3f}"


def test_differences_to_a_baseline_are_those_of_the_paired_comparison(filled: Store) -> None:
    source = Source(filled, filled.runs())
    rows = {row.name: row for row in source.groups[0].rows}
    ours, other = (source.results(rows[name], "mAP@all:plain") for name in ("ours", "ours without quadruplet"))
    assert isinstance(ours, Results)
    assert isinstance(other, Results)
    expected = compare(ours, other, np.repeat(np.arange(len(CLASSES)), EACH), "queries", np.random.default_rng(0))
    table = report(filled, "main", options=Options(baseline="ours without quadruplet")).tables[0]
    assert table.columns[-1] == "difference to ours without quadruplet"
    assert table.rows[0][-1] == f"{expected.points:+.1f} ({expected.low:+.1f} to {expected.high:+.1f})"
    assert table.rows[1][-1] == ""


def test_a_baseline_that_is_not_stored_is_a_mistake(filled: Store) -> None:
    with pytest.raises(UsageError, match=r"No run of 'imagnet' is stored\. Did you mean 'imagenet'\?"):
        report(filled, "main", options=Options(baseline="imagnet"))


def test_missing_failed_and_running_cells_are_told_apart(filled: Store) -> None:
    emoji, sketchy = report(filled, "main", options=Options(published=False)).tables
    cells = {row[0]: row for row in emoji.rows}
    assert cells["sake"][1:3] == ("seed 1 failed", "failed")
    assert cells["ours"][1] == "0-2 (seed 3 running)"
    assert {row[0]: row for row in sketchy.rows}["imagenet"][1:] == ("-",) * (len(sketchy.columns) - 1)
    assert "bench run -m imagenet -d sketchy --split sketchy-21 --seed 0" in sketchy.commands
    assert "bench run -m sake -d emoji --split emoji-93 --seed 1" in emoji.commands
    assert not any("-m ours -d emoji" in command for command in emoji.commands)
    footer = report(filled, "main").footer
    assert any("(sake on emoji-93, seed 1) is failed: RuntimeError: NaN." in line for line in footer)


def test_the_command_of_a_run_with_another_backbone_says_how_much_of_it_was_frozen(store: Store) -> None:
    """How many blocks a dataset's recipe freezes goes for its own backbone."""
    for seed in range(2):
        fill(store, level=0.5, seed=seed)
    common = {"lr": 3e-4, "backbone": "resnet18", "frozen_blocks": 5}
    fill(store, level=0.6, configuration={"run": common, "method": {"margin": 0.3}, "caution": ""})
    (table,) = report(store, "main", options=Options(published=False)).tables
    (command,) = table.commands
    assert "--set backbone=resnet18" in command
    assert "--set frozen_blocks=5" in command


def test_rows_of_an_ablation_are_one_family_of_tests_whatever_seeds_they_have(store: Store) -> None:
    ablations = {"without quadruplet": (3, 0.585), "without preservation": (2, 0.58), "unbalanced": (1, 0.59)}
    for seed in range(3):
        fill(store, level=0.6, seed=seed)
    for name, (seeds, level) in ablations.items():
        for seed in range(seeds):
            fill(store, level=level, seed=seed, ablation=name)
    source = Source(store, store.runs())
    (table,) = ablation_tables(source, Options())
    rows = {row.name: row for row in source.groups[0].rows}
    labels = labels_of(source, rows["ours"])
    full = source.results(rows["ours"], METRIC)
    assert full is not None
    raw = []
    for name, (seeds, _) in ablations.items():
        mine = source.results(rows[f"ours {name}"], METRIC)
        assert mine is not None
        its = Results(full.values[:seeds], full.seeds[:seeds])
        raw.append(compare(mine, its, labels, "queries", np.random.default_rng(0)).p)
    printed = {row[0].removeprefix("ours "): float(row[5]) for row in table.rows[1:]}
    expected = dict(zip(ablations, holm(raw), strict=True))
    assert printed == {name: pytest.approx(p, abs=6e-4) for name, p in expected.items()}
    assert max(printed[name] - p for name, p in zip(ablations, raw, strict=True)) > 0.05  # one family, not three
    assert "adjusted after Holm for the 3 rows" in table.notes[1]


def test_an_ablation_is_held_against_the_method_with_its_own_settings_or_none(store: Store) -> None:
    def of(margin: float, weight: float, **rest: Any) -> dict[str, Any]:
        own = {"margin": margin, "weight_quadruplet": weight}
        return {"configuration": {"run": {"lr": 3e-4}, "method": own, "caution": "", **rest}}

    fill(store, level=0.6, **of(0.3, 1.0))
    fill(store, level=0.5, ablation="without quadruplet", **of(0.3, 0.0, ablated=["weight_quadruplet"]))
    fill(store, level=0.4, ablation="without quadruplet", **of(0.9, 0.0, ablated=["weight_quadruplet"]))
    fill(store, level=0.4, ablation="without quadruplet", **of(0.8, 0.0))  # of before ablations noted their settings
    other = {"precision": "bf16", "ablated": ["weight_quadruplet"]}
    fill(store, level=0.4, ablation="without quadruplet", **of(0.3, 0.0, **other))
    (table,) = ablation_tables(Source(store, store.runs()), Options())
    assert len(table.rows) == 2
    assert table.rows[1][2] == "0.511"


def test_the_command_of_a_missing_seed_asks_for_what_the_row_is(store: Store) -> None:
    for seed in range(2):
        fill(store, level=0.5, seed=seed)
    usual: dict[str, Any] = {"run": {"lr": 3e-4}, "method": {"margin": 0.3}, "caution": ""}
    fill(store, level=0.6, configuration={**usual, "run": {"lr": 2e-4}, "method": {"margin": 1.0}})
    fill(store, level=0.4, ablation="unbalanced")
    fill(store, level=0.4, ablation="without quadruplet and without classification")
    fill(store, level=0.4, configuration={**usual, "post": CODES})
    (table,) = report(store, "main", options=Options(published=False)).tables
    assert "ours (lr 0.0002, margin 1)" in {row[0] for row in table.rows}
    assert set(table.commands) == {
        "bench run -m ours -d emoji --split emoji-93 --seed 1 --set lr=0.0002 --set margin=1",
        "bench ablate -m ours -d emoji --split emoji-93 --structural --seed 1",
        "bench run -m ours -d emoji --split emoji-93 --seed 1 --without quadruplet --without classification",
        "bench run -m ours -d emoji --split emoji-93 --seed 1 --set codes=itq-test --set bits=64",
    }


def test_the_command_repeats_what_no_default_gives_though_all_rows_share_it(store: Store) -> None:
    shared: dict[str, Any] = {
        "run": {"lr": 3e-4, "image_size": 64, "weights": "sha256:ab"},
        "method": {"margin": 1.0, "dim": 64},
        "precision": "bf16",
    }
    call = {"command": "bench --store .../a.db run -m ours -m sake --set margin=1 --image-size 64 --weights .../w"}
    fill(store, level=0.5, configuration=shared, environment=call)
    fill(store, level=0.5, configuration=shared, environment=call, seed=1, method="sake")
    (table,) = report(store, "main", options=Options(published=False)).tables
    rest = "--set image_size=64 --set weights=FILE --set margin=1 --precision bf16"
    assert set(table.commands) == {
        f"bench run -m ours -d emoji --split emoji-93 --seed 1 {rest}",
        f"bench run -m sake -d emoji --split emoji-93 --seed 0 {rest}",
    }


def test_the_command_names_the_settings_of_a_dataset_and_the_place_of_a_folder_of_ones_own(store: Store) -> None:
    fill(store, level=0.5, method="sake")
    for split in ("all-1a", "unseen-1a", "draw2-seed7-1a"):
        own = {"run": {}, "method": {}, "dataset": {"name": "mine", "ink_crop": True}}
        fill(store, level=0.5, dataset="mine", split=split, configuration=own, gallery="all", per_class_limit=None)
    full = {"run": {}, "method": {}, "dataset": {"photos": "full", "files": "auto"}}
    fill(store, level=0.5, dataset="sketchy", split="sketchy-21", configuration=full)
    tables = report(store, "main", options=Options(published=False)).tables
    folder = "--seed 0 --set root=PATH {} --set name=mine --set ink_crop=true --gallery all"
    assert [table.commands for table in tables[1:]] == [
        (f"bench run -m sake -d folder --split all-1a {folder.format('--set unseen=all')}",),
        (f"bench run -m sake -d folder --split draw2-seed7-1a {folder.format('--set draw=2 --set seed=7')}",),
        (f"bench run -m sake -d folder --split unseen-1a {folder.format('--set unseen=@FILE')}",),
        ("bench run -m sake -d sketchy --split sketchy-21 --seed 0 --set photos=full",),
    ]
    assert "`bench run -m imagenet -d sketchy --split sketchy-21 --set photos=full` adds it." in tables[-1].notes[-2]


def test_nobody_is_asked_to_select_epochs_on_the_test(filled: Store) -> None:
    tables = report(filled, "main", include_oracle=True).tables
    (oracle,) = (table for table in tables if "oracle" in table.title)
    assert [row[0] for row in oracle.rows] == ["ours [oracle: selected on the test]"]
    assert oracle.commands == ()
    assert not any("yardstick" in note for note in oracle.notes)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"precision": "bf16"}, "precision bf16"),
        ({"method_version": 2}, "method_version 2"),
        ({"post": {"rerank": "icfrr", "rerank_passes": 9}}, "rerank_passes 9"),
        ({"dataset": {"ink_crop": True}}, "ink_crop true"),
    ],
)
def test_runs_that_were_computed_otherwise_are_no_seeds_of_one_row(
    other: dict[str, Any], told: str, store: Store
) -> None:
    plain: dict[str, Any] = {"run": {}, "method": {}, "dataset": {"ink_crop": False}}
    if "post" in other:
        plain["post"] = {"rerank": "icfrr"}
    fill(store, level=0.5, configuration=plain)
    fill(store, level=0.6, configuration={**plain, **other})
    (group,) = Source(store, store.runs()).groups
    assert [len(row.runs) for row in group.rows] == [1, 1]
    assert any(row.name.endswith(f"({told})") for row in group.rows)


def test_what_is_shown_of_many_rows_are_methods_before_ablations(store: Store) -> None:
    for place, method in enumerate(("imagenet", "sake", "softmax", "ours")):
        fill(store, level=0.3 + 0.1 * place, method=method)
    for part in ("quadruplet", "classification", "preservation"):
        fill(store, level=0.7, ablation=f"without {part}")
    (group,) = Source(store, store.runs()).groups
    assert [row.name for row in shown_rows(group.rows, 4)] == ["ours", "softmax", "sake", "imagenet"]
    five = [row.name for row in shown_rows(group.rows, 5)]
    assert five[0].startswith("ours without")
    assert five[1:] == ["ours", "softmax", "sake", "imagenet"]
    assert [row.name for row in shown_rows(group.rows, 2)] == ["ours", "imagenet"]


def test_programs_read_figures_without_signs_of_type_and_rows_by_number(filled: Store) -> None:
    made = report(filled, "protocols")
    rows = list(csv.DictReader(io.StringIO(FORMATS.get("csv").write(made))))
    by_number = {(row["table"], row["number"], row["column"]): row["value"] for row in rows}
    assert len(by_number) == len(rows)  # a protocol has several rows, which its name does not tell apart
    bold = Report((Section("main", (Table("t", ("method", "mAP"), (("ours", "**0.550 ± 0.020**"),)),)),))
    assert FORMATS.get("csv").write(bold).splitlines()[1] == "t,1,ours,mAP,0.550 ± 0.020"
    assert json.loads(FORMATS.get("json").write(bold))["tables"][0]["rows"] == [
        {"method": "ours", "mAP": "0.550 ± 0.020"}
    ]


def test_figures_stand_right_and_names_left() -> None:
    columns = ("class", "seeds", "runs", "score", "difference", "note", "state")
    rows = (
        ("4", "0", "3", "**0.5 ± 0.1**", "-1.2 (-2 to 0)", "0 or more", "0.5"),
        ("5", "0-2", "", "-", "+0.1", "", "failed"),
    )
    assert flush_right(Table("t", columns, rows)) == [False, False, True, True, True, False, True]


def test_the_cost_table_shows_device_memory_where_there_is_any(store: Store) -> None:
    fill(store, level=0.5)
    assert "device memory, GB" not in report(store, "cost").tables[0].columns
    run = begin(store, method="sake")
    store.finish(run, [], {"training": 1.0}, cost={"peak_device_memory": 2.5e9})
    (table,) = report(store, "cost").tables
    assert {row[0]: row[-1] for row in table.rows} == {"ours": "-", "sake": "2.5"}
    assert table.columns[-1] == "device memory, GB"


def test_the_note_says_what_the_interval_of_one_seed_covers(filled: Store, store: Store) -> None:
    mixed, single = report(filled, "main", options=Options(published=False)).tables
    assert (
        "The interval covers other classes and other trainings; in a row of one seed other classes only." in mixed.notes
    )
    assert "The interval covers other classes, not other trainings: of those one seed says nothing." in single.notes


def test_a_failure_that_was_mended_is_not_told(filled: Store) -> None:
    fill(filled, level=0.4, method="sake", seed=1)
    lines = report(filled, "main").footer
    assert any("failed" in line for line in lines) == any("sake" in line and "failed" in line for line in lines)
    assert not any("sake on emoji-93, seed 1" in line for line in lines)


def test_commands_for_missing_cells_go_to_stderr_alone(runner: CliRunner) -> None:
    store = Store("bench.db")
    everything(store)
    store.close()
    result = runner.invoke(app, ["report"])
    assert result.exit_code == 0, result.stderr
    assert "missing: bench run -m imagenet -d sketchy --split sketchy-21 --seed 0" in result.stderr
    assert "missing:" not in result.stdout


def test_smoke_and_oracle_runs_stand_apart(filled: Store) -> None:
    titles = [table.title for table in report(filled, "main", include_smoke=True, include_oracle=True).tables]
    assert sum("smoke" in title for title in titles) == 1
    assert sum("oracle" in title for title in titles) == 1


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
    assert named | {"sketch-lvm"} == {name for name in PROTOCOLS.names() if PROTOCOLS.get(name).codes == "none"}


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
    assert len(published.figures()) == 248
    for each in published.figures():
        assert each.source
        assert 0 <= float(each.value) <= 1
        assert each.protocol in ("", *PROTOCOLS.names())
        assert each.metric in published.NAMES


def test_kinds_without_details_say_how_to_get_them(store: Store) -> None:
    run = store.begin({"key": "k"} | {**_identity(store)})
    store.finish(run, [], {})
    for kind in ("per-class", "gallery", "ablation"):
        with pytest.raises(IncompleteError, match=r"run it again with --force|run `bench ablate` first"):
            report(store, kind)


def _identity(store: Store) -> dict[str, object]:
    from tests.bench.test_store import IDENTITY

    return {**IDENTITY, "configuration": {"run": {}, "method": {}}}


def test_shown_queries_are_the_best_the_median_the_worst_and_others() -> None:
    values = np.array([0.5, 0.9, np.nan, 0.1, 0.7, 0.3, 0.2, 0.8, 0.6, 0.4, 0.55, 0.45])
    shown = chosen(values)
    assert [query for what, query in shown if what == "best"] == [1, 7, 4]
    assert [query for what, query in shown if what == "worst"] == [3, 6, 5]
    assert [query for what, query in shown if what == "median"] == [10, 0, 11]
    assert len({query for _, query in shown}) == len(shown) == 11
    assert 2 not in {query for _, query in shown}


def test_a_gallery_shows_ten_photos_however_many_are_stored(store: Store) -> None:
    fill(store, level=0.5, kept=25)
    (table,) = report(store, "gallery").tables
    assert {len(row[-1].split(", ")) for row in table.rows} == {10}


def test_latex_has_booktabs_and_nothing_that_tex_would_stumble_over(filled: Store) -> None:
    text = latex.write(report(filled, "all"))
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule")
    body = re.sub(r"(?m)^%.*$", "", text)
    assert not re.search(r"(?<!\\)[#_]", body)
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert r"\textbf{" in body


def test_a_long_table_is_several_of_latex() -> None:
    rows = tuple((f"class-{n}", f"{n / 100:.2f}") for n in range(93))
    text = latex.write(Report((Section("per-class", (Table("By class", ("class", "ours"), rows, ("Note.",)),)),)))
    parts = text.split(r"\begin{table}")[1:]
    assert [part.count("class-") for part in parts] == [31, 31, 31]
    assert [f"By class (part {n} of 3)" in part for n, part in enumerate(parts, start=1)] == [True] * 3
    assert ["Note." in part for part in parts] == [False, False, True]


def test_a_table_without_intervals_says_why(filled: Store) -> None:
    standard, voc = (
        report(filled, "main", options=Options(protocols=protocols, published=False)).tables[0].notes
        for protocols in ((), ("sake",))
    )
    assert any("The interval covers" in note for note in standard)
    assert "No interval: these runs were stored without the mAP@all:voc of every query." in voc
    assert not any("The interval covers" in note for note in voc)


def test_latex_escapes_every_special_character() -> None:
    table = Table("a_b & 100 % of #1 $x^2$ ~{}\\", ("x|y", "z"), (("<0.1", "**0.5 ± 0.1**"),))
    text = latex.write(Report((), ())) + latex.formatted(table.title)
    assert r"a\_b \& 100 \% of \#1 \$x\textasciicircum{}2\$ \textasciitilde{}\{\}\textbackslash{}" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed")
def test_latex_compiles(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "tables.tex").write_text(latex.write(report(filled, "all")))
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs,graphicx}\n"
        "\\begin{document}\\input{tables}\\end{document}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000


@pytest.mark.parametrize(
    "module", ["reports.base", "reports.html", "reports.latex", "reports.source", "datasets.reopening"]
)
def test_examples_in_docstrings_hold(module: str) -> None:
    done = doctest.testmod(importlib.import_module(module))
    assert done.attempted > 0
    assert done.failed == 0


def test_a_folder_takes_a_file_named_after_the_format(runner: CliRunner) -> None:
    store = Store("bench.db")
    everything(store)
    store.close()
    Path("out").mkdir()
    assert runner.invoke(app, ["report", "-o", "out", "--format", "latex"]).exit_code == 0
    assert r"\toprule" in Path("out/report.tex").read_text()
    assert runner.invoke(app, ["report", "-o", "by-name.json"]).exit_code == 0
    assert json.loads(Path("by-name.json").read_text())["tables"]
    assert runner.invoke(app, ["report", "--check", "by-name.json"]).exit_code == 0


def test_a_terminal_shows_the_same_cells(runner: CliRunner, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.cli.report import show

    store = Store("bench.db")
    everything(store)
    made = report(store, "main", options=Options(published=False))
    store.close()
    show(made)
    printed = capsys.readouterr().out
    for table in made.tables:
        assert table.title in printed
        for row in table.rows:
            assert all(cell.replace("**", "") in printed for cell in row)


@pytest.mark.parametrize(("kind", "unknown"), [("all", False), ("main", True)])
def test_no_kind_nor_format_needs_torch(kind: str, unknown: bool, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "bench.db"))
    everything(store)
    if unknown:  # with a missing seed, whose command asks for the dataset's defaults
        fill(store, level=0.5, dataset="of-a-plug-in", split="its-own")
        fill(store, level=0.5, dataset="of-a-plug-in", split="its-own", method="sake", seed=1)
    store.close()
    code = f"""
import sys
from bench.cli.main import main
try:
    main(["report", "--kind", "{kind}", "--format", "html"])
finally:
    assert not {{"torch", "timm", "torchvision"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
