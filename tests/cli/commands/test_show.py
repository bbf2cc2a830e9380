"""What there is to look at: stored runs in a list and in full, and what works on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.cli.run_table import duration
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES, finish


@pytest.fixture
def filled(runner: CliRunner) -> CliRunner:
    store = Store("bench.db")
    finish(store, store.begin(IDENTITY), SCORES, {"training": 1.5}, cost={"flops": 2.0}, environment={"weights": "abc"})
    store.fail(store.begin({**IDENTITY, "key": "k2", "seed": 1}), "failed", "IncompleteError: Loss term")
    store.begin({**IDENTITY, "key": "k3", "seed": 2, "per_class_limit": 1, "gallery": "all", "selection": "oracle"})
    store.close()
    return runner


def test_runs_as_a_table(filled: CliRunner) -> None:
    shown = filled.invoke(app, ["list", "runs"])
    assert shown.exit_code == 0, shown.stderr
    lines = [line.split("\t") for line in shown.stdout.splitlines() if "\temoji-93\t" in line]
    marked = "ours [oracle: selected on the test] (generalized) (smoke)"
    assert lines == [
        ["1", "done", "ours", "emoji-93", "0", "0.5000", "-"],
        ["2", "failed", "ours", "emoji-93", "1", "-", "IncompleteError: Loss term"],
        ["3", "running", marked, "emoji-93", "2", "-", "its process has ended"],
    ]


def test_runs_as_json_and_by_status(filled: CliRunner) -> None:
    rows = json.loads(filled.invoke(app, ["list", "runs", "--format", "json"]).stdout)["runs"]
    assert [(row["run"], row["status"], row["map_all"]) for row in rows] == [
        (1, "done", 0.5),
        (2, "failed", None),
        (3, "running", None),
    ]
    some = filled.invoke(app, ["list", "runs", "--status", "failed", "--status", "done", "--format", "json"])
    assert [row["run"] for row in json.loads(some.stdout)["runs"]] == [1, 2]
    wrong = filled.invoke(app, ["list", "runs", "--status", "finished"])
    assert wrong.exit_code == 2
    assert "There is no status 'finished'." in wrong.stderr


def test_one_run_in_full(filled: CliRunner) -> None:
    shown = filled.invoke(app, ["show", "1"])
    assert shown.exit_code == 0, shown.stderr
    for text in ("f" * 64, "lr", "0.0001", "torch", "weights", "abc", "mAP@all:plain", "0.5000", "flops"):
        assert text in shown.stdout
    told = json.loads(filled.invoke(app, ["show", "1", "--format", "json"]).stdout)
    assert told["configuration"] == IDENTITY["configuration"]
    assert told["environment"] == {"torch": "2", "weights": "abc"}
    assert told["scores"][2] == {"metric": "P@5:k", "average": "queries", "value": None, "queries": 431, "skipped": 431}
    assert filled.invoke(app, ["show", "run", "1"]).stdout == shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["show", "9"], 4, "There is no run 9: "),
        (["show", "one"], 2, "Invalid value for 'RUN'"),
        (["show", "1", "--store", "none.db"], 4, "There is no results database none.db"),
        (["list", "runs", "--store", "none.db"], 4, "There is no results database none.db"),
    ],
)
def test_mistakes(words: list[str], code: int, message: str, filled: CliRunner) -> None:
    result = filled.invoke(app, words)
    assert result.exit_code == code
    assert message in result.stderr
    assert not Path("none.db").exists()


def test_looking_at_runs_needs_no_torch(filled: CliRunner) -> None:
    code = """
import sys
from bench.cli.main import main
for words in (["list", "runs"], ["show", "1"], ["store", "backup", "copy.db"]):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, words
assert not {"torch", "timm", "torchvision"} & sys.modules.keys()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_what_works_here(filled: CliRunner, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    found = filled.invoke(app, ["doctor", "--format", "json"])
    assert found.exit_code == 0, found.stderr
    rows = {(row["part"], row["name"]): row for row in json.loads(found.stdout)["findings"]}
    assert rows["device", "cpu"]["usable"] is True
    assert rows["weights", "tf_efficientnet_lite0"]["usable"] is True
    assert "sha256 57934424" in rows["weights", "tf_efficientnet_lite0"]["found"]
    assert rows["weights", "resnet50"]["usable"] is False
    assert "put torchvision's resnet50-0676ba61.pth" in rows["weights", "resnet50"]["found"]
    assert rows["dataset", "emoji"]["usable"] is True
    assert rows["dataset", "sketchy"]["usable"] is False
    assert "bench data path sketchy" in rows["dataset", "sketchy"]["found"]
    assert rows["store", "./bench.db"]["found"] == "schema version 4; 1 done, 1 failed, 1 running"
    assert "GB free" in rows["disk", "cache"]["found"]
    assert rows["package", "torch"]["found"]
    assert sorted(tmp_path.rglob("*")) == before
    table = filled.invoke(app, ["doctor"]).stdout
    assert "tf_efficientnet_lite0" in table


def test_the_doctor_raises_nothing(runner: CliRunner) -> None:
    Path("bench.db").write_text("no database, but long enough to be read as one: " * 40)
    found = runner.invoke(app, ["doctor", "--data-root", "none", "--cache-dir", "no/such/cache", "--format", "json"])
    assert found.exit_code == 0, found.stderr
    store = next(row for row in json.loads(found.stdout)["findings"] if row["part"] == "store")
    assert store["usable"] is False
    assert "is not a database file" in store["found"]
    empty = runner.invoke(app, ["doctor", "--store", "none.db", "--format", "json"])
    assert next(row for row in json.loads(empty.stdout)["findings"] if row["part"] == "store")["usable"] is None
    assert not Path("none.db").exists()


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (90, "90 s"), (150, "2 min"), (7200, "2 h"), (86_400 * 3, "3 days")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told
