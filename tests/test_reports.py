"""Whole reports against committed text.

After an intended change, update the texts with ``BENCH_UPDATE_EXPECTED=1 python -m pytest
tests/test_reports.py`` and read the difference before committing it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import bench.experiments.execute
from bench.cli.main import app
from bench.errors import IncompleteError
from bench.reports.base import FORMATS, Options, Report
from bench.reports.build import build
from bench.reports.rows import Source
from bench.results.store import Store
from bench.types import Score
from tests.bench.results.test_store import IDENTITY, finish

EXPECTED = Path(__file__).parent / "expected"


def same_as_committed(text: str, name: str) -> None:
    path = EXPECTED / name
    text = re.sub(r"Computed from [^\s\"]+ to [^\s\"]+", "Computed from then to then.", text)
    if os.environ.get("BENCH_UPDATE_EXPECTED"):
        path.write_text(text)
    assert text == path.read_text(), f"{name} differs; the head of this file has the command that updates it"


def main_report(store: Store, *, include_smoke: bool = False) -> Report:
    return build(Source(store, store.runs(), include_smoke=include_smoke), ["main"], Options())


def fill(store: Store, **identity: Any) -> None:
    """A stored run whose figures follow from its place in the store."""
    values = identity.pop("values")
    configuration = {"run": {"lr": 1e-4}, "method": {"margin": 0.3}, "caution": "Icons, not photographs."}
    run = store.begin({**IDENTITY, "configuration": configuration, **identity})
    metrics = ("mAP@all:plain", "mAP@200:min", "P@5:k", "P@100:k", "P@200:k")
    scores = [Score(metric, "queries", value, 431, 0) for metric, value in zip(metrics, values, strict=True)]
    finish(store, run, scores, {"training": 60.0})


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store, key="a", method="imagenet", values=(0.224, 0.220, 0.226, 0.046, 0.029))
    for seed, value in enumerate((0.55, 0.53, 0.57)):
        fill(store, key=f"b{seed}", seed=seed, values=(value, value - 0.01, 0.5, 0.06, 0.03))
    fill(store, key="c", ablation="without quadruplet", values=(0.51, 0.50, 0.48, 0.06, 0.03))
    fill(store, key="d", per_class_limit=1, values=(0.9, 0.9, 0.9, 0.9, 0.9))
    fill(store, key="e", dataset="other", split="other|30", values=(0.4, 0.4, 0.4, float("nan"), 0.4))
    store.fail(store.begin({**IDENTITY, "key": "f", "method": "broken"}), "failed", "NaN")
    return store


@pytest.mark.parametrize("name", FORMATS.names())
def test_every_format_equals_its_committed_text(name: str, filled: Store) -> None:
    form = FORMATS.get(name)
    same_as_committed(form.write(main_report(filled)), f"main{form.ending}")


def test_smoke_runs_stand_in_tables_of_their_own(filled: Store) -> None:
    tables = main_report(filled, include_smoke=True).tables
    assert [len(table.rows) for table in tables] == [4, 1, 2]  # with a failed run, and a method that only emoji has
    assert "smoke: 1 images a class" in tables[1].title


def test_smoke_and_oracle_runs_that_failed_are_left_out_as_others_of_theirs(filled: Store) -> None:
    before = build(Source(filled, filled.runs()), ["all"], Options())
    for key, kind in (("g", {"per_class_limit": 1}), ("h", {"selection": "oracle"})):
        filled.fail(filled.begin({**IDENTITY, "key": key, "method": "hopeless", **kind}), "failed", "NaN")
    assert build(Source(filled, filled.runs()), ["all"], Options()) == before
    shown = build(Source(filled, filled.runs(), include_smoke=True, include_oracle=True), ["all"], Options())
    assert "hopeless" in str(shown)


def test_a_kind_without_runs_names_the_options_of_runs_that_are_left_out(filled: Store) -> None:
    with pytest.raises(IncompleteError, match="--include-smoke"):
        build(Source(filled, filled.runs()), ["fine-grained"], Options())
    with pytest.raises(IncompleteError) as error:
        build(Source(filled, filled.runs(), include_smoke=True, include_oracle=True), ["fine-grained"], Options())
    assert "--include-smoke" not in str(error.value)


def test_the_same_store_gives_the_same_bytes(filled: Store) -> None:
    runs = filled.runs()
    sources = [Source(filled, each) for each in (runs, runs[::-1])]
    texts = {FORMATS.get("md").write(build(source, ["all"], Options())) for source in sources}
    assert len(texts) == 1


def test_an_empty_report_is_an_error_with_the_cure(store: Store) -> None:
    with pytest.raises(IncompleteError, match="run one first"):
        main_report(store)
    fill(store, per_class_limit=1, values=(0.9,) * 5)
    with pytest.raises(IncompleteError, match="--include-smoke"):
        main_report(store)


def test_a_real_run_lands_in_the_database_and_in_the_report(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        bench.experiments.execute.provenance, "collect", lambda device: {"bench": "of the test", "device": device}
    )
    ran = runner.invoke(app, ["run", "-m", "imagenet", "--limit", "2", "--image-size", "64"])
    assert ran.exit_code == 0, ran.stderr
    report = runner.invoke(app, ["report", "--include-smoke"])
    assert report.exit_code == 0, report.stderr
    same_as_committed(report.stdout, "real-run.md")


def test_check_compares_with_a_file(runner: CliRunner) -> None:
    store = Store("bench.db")
    fill(store, method="imagenet", values=(0.224, 0.220, 0.226, 0.046, 0.029))
    store.close()
    assert runner.invoke(app, ["report", "-o", "report.md"]).exit_code == 0
    assert runner.invoke(app, ["report", "--check", "report.md"]).exit_code == 0
    Path("report.md").write_text(Path("report.md").read_text().replace("0.224", "0.999"))
    differing = runner.invoke(app, ["report", "--check", "report.md"])
    assert differing.exit_code == 4
    assert "0.999" in differing.stderr
    assert "The report differs from report.md" in differing.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["report"], 4, "There is no results database ./bench.db"),
        (["report", "--format", "markdown"], 2, "There is no report format 'markdown'."),
        (["report", "-o", "bench.db/report.md"], 2, "bench.db/report.md cannot be written"),
        (["report", "--check", "none.md"], 2, "The file to check, none.md, cannot be read"),
    ],
)
def test_mistakes(arguments: list[str], code: int, message: str, runner: CliRunner) -> None:
    if "no results database" not in message:
        store = Store("bench.db")
        fill(store, values=(0.9,) * 5)
        store.close()
    result = runner.invoke(app, arguments)
    assert result.exit_code == code
    assert message in result.stderr
