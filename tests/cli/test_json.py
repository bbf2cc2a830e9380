"""JSON of all commands: one object with a version, snake_case keys, each key on docs/json.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.cli.output import SCHEMA
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES, finish
from tests.fenced import ROOT

PAGE = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
LISTS = ("methods", "datasets", "splits", "protocols", "metrics", "settings", "reports", "runs")
SMALL = ("-m", "hog", "-d", "emoji", "--limit", "1", "--image-size", "32")
CALLS: dict[str, tuple[str, ...]] = {
    **{f"list {name}": (name,) for name in LISTS},
    "list backbones *lite0": ("backbones",),
    "doctor": ("findings",),
    "cache": (),
    "data path sketchy": (),
    "data where": ("datasets",),
    "weights list": ("weights",),
    "data list emoji": ("train", "validation", "queries", "gallery"),
    "show 1": ("scores",),
    "compare e.npz e.npz": (),
    f"run {' '.join(SMALL)}": ("runs",),
    f"run {' '.join(SMALL)} --dry-run": ("runs",),
}
STORED = (
    "request",
    "configuration",
    "environment",
    "cost",
    "seconds_by_part",
    "post",
    "expected",
)  # as they were stored


def entries(facts: Any) -> Iterator[dict[str, Any]]:
    """An object and all objects below it, but for those that are stored as they are."""
    if isinstance(facts, dict):
        yield facts
        for name, value in facts.items():
            if name not in STORED:
                yield from entries(value)
    elif isinstance(facts, list):
        for each in facts:
            yield from entries(each)


@pytest.mark.parametrize("call", CALLS)
def test_json_is_one_object_of_documented_snake_case_keys(call: str, runner: CliRunner) -> None:
    store = Store("bench.db")
    finish(store, store.begin(IDENTITY), SCORES, {"training": 1.5}, environment={"trained by": "abc"})
    store.close()
    labels = np.arange(8) % 2
    np.savez("e.npz", query=np.eye(8), gallery=np.eye(8), query_labels=labels, gallery_labels=labels)
    found = runner.invoke(app, [*call.split(), "--format", "json"])
    assert found.exit_code == 0, found.stderr
    facts = json.loads(found.stdout)
    assert facts["schema"] == SCHEMA == int(re.findall(r"the version of this page: (\d+)", PAGE)[0])
    assert all(isinstance(facts[name], list) and facts[name] for name in CALLS[call] if name != "validation")
    words = set(re.findall(r"`(\w+)`", PAGE))
    for entry in entries(facts):
        for key in entry:
            assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", key), key
            assert key in words, key


def test_a_table_in_a_pipe_is_lines_of_cells_between_tabs(runner: CliRunner) -> None:
    shown = runner.invoke(app, ["list", "splits"])
    rows = json.loads(runner.invoke(app, ["list", "splits", "--format", "json"]).stdout)["splits"]
    head, *lines = (line.split("\t") for line in shown.stdout.splitlines())
    assert head == ["split", "dataset", "default"]
    assert lines == [[row["split"], row["dataset"], "yes" if row["default"] else "no"] for row in rows]
