"""What formats make of a report, whatever its kind: the same cells, as bytes that do not change."""

from __future__ import annotations

import csv
import doctest
import importlib
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.reports.base import FORMATS, Cell, Options, Report, Section, Table
from bench.reports.markdown import flush_right
from bench.results.store import Store
from tests.reports.filling import everything, fill, report


@pytest.mark.parametrize("format", ["md", "csv", "json", "latex"])
def test_the_same_store_gives_the_same_bytes(format: str, filled: Store) -> None:
    write = FORMATS.get(format).write
    assert write(report(filled, "all")) == write(report(filled, "all"))


def test_csv_and_json_hold_every_cell(filled: Store) -> None:
    made = report(filled, "all")
    tables = json.loads(FORMATS.get("json").write(made))["tables"]
    assert [len(table["rows"]) for table in tables] == [len(table.rows) for table in made.tables]
    values = sum(len(row) - 1 for table in tables for row in table["rows"])
    assert len(list(csv.reader(io.StringIO(FORMATS.get("csv").write(made))))) == values + 1


def test_programs_read_numbers_and_rows_by_number(filled: Store) -> None:
    made = report(filled, "protocols")
    rows = list(csv.DictReader(io.StringIO(FORMATS.get("csv").write(made))))
    by_number = {(row["table"], row["number"], row["key"]): row["value"] for row in rows}
    assert len(by_number) == len(rows)  # a protocol has several rows, which its name does not tell apart
    cell = Cell("**0.550 ± 0.020**", value=0.5501, sd=0.0201, low=math.nan)
    columns = ("method", "seeds", "mAP@all", "95 % interval", "mAP all")
    row = ("ours", Cell("0-2", value=[0, 1, 2]), cell, Cell("-", low=None, high=None), "**text**")
    made = Report((Section("main", (Table("t", columns, (row, ("hog", "-", "-", "-", ""))),)),))
    (table,) = json.loads(FORMATS.get("json").write(made))["tables"]
    values = {"map_all": 0.5501, "map_all_sd": 0.0201, "map_all_low": None, "map_all_2": "text"}
    first = {"method": "ours", "seeds": [0, 1, 2], **values, "interval_95_low": None, "interval_95_high": None}
    assert table["rows"] == [first, {**dict.fromkeys(first), "method": "hog"}]
    assert [each["key"] for each in table["columns"]] == ["method", "seeds", "map_all", "interval_95", "map_all_2"]
    assert FORMATS.get("csv").write(made).splitlines()[1:3] == [
        "1,main,t,1,ours,seeds,0 1 2",
        "1,main,t,1,ours,map_all,0.5501",
    ]


def test_figures_stand_right_and_names_left() -> None:
    columns = ("class", "seeds", "runs", "score", "difference", "note", "state")
    rows = (
        ("4", "0", "3", "**0.5 ± 0.1**", "-1.2 (-2 to 0)", "0 or more", "0.5"),
        ("5", "0-2", "", "-", "+0.1", "", "failed"),
    )
    assert flush_right(Table("t", columns, rows)) == [False, False, True, True, True, False, True]


@pytest.mark.parametrize(
    "module",
    [
        "bench.reports.base",
        "bench.reports.html",
        "bench.reports.latex",
        "bench.settings.request",
    ],
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
    for folder in ("out", "tables/", "deep/er/"):
        assert runner.invoke(app, ["report", "-o", folder, "--format", "latex"]).exit_code == 0
        assert r"\toprule" in (Path(folder) / "report.tex").read_text()
    assert runner.invoke(app, ["report", "-o", "by-name.json"]).exit_code == 0
    assert json.loads(Path("by-name.json").read_text())["tables"]
    assert runner.invoke(app, ["report", "--check", "by-name.json"]).exit_code == 0


def test_a_terminal_shows_the_same_cells(runner: CliRunner, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.cli.commands.report import show_tables

    store = Store("bench.db")
    everything(store)
    made = report(store, "main", options=Options(published=False))
    store.close()
    show_tables(made.tables)
    printed = capsys.readouterr().out
    for table in made.tables:
        assert table.title in printed
        for row in table.rows:
            assert all(cell.replace("**", "") in printed for cell in row)


def test_no_kind_nor_format_needs_torch(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "bench.db"))
    everything(store)
    # with a missing seed, whose command asks for the dataset's defaults
    fill(store, level=0.5, dataset="of-a-plug-in", split="its-own")
    fill(store, level=0.5, dataset="of-a-plug-in", split="its-own", method="sake", seed=1)
    store.close()
    code = """
import sys
from bench.cli.main import main
try:
    main(["report", "--kind", "all", "--format", "html"])
finally:
    assert not {"torch", "timm", "torchvision"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
