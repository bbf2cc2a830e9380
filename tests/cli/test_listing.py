from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bench.cli.main import app


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("methods", "ours"),
        ("datasets", "emoji"),
        ("splits", "emoji-93"),
        ("protocols", "standard"),
        ("metrics", "mAP@K:min"),
    ],
)
def test_lists_name_what_there_is(what: str, name: str, runner: CliRunner) -> None:
    table = runner.invoke(app, ["list", what])
    assert table.exit_code == 0
    assert name in table.stdout
    rows = json.loads(runner.invoke(app, ["list", what, "--format", "json"]).stdout)
    assert name in [next(iter(row.values())) for row in rows]
