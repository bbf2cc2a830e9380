"""The page of promises names tests that exist, and every fault test stands on it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| ---"))]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("path", "test"), NAMED, ids=[test for _, test in NAMED])
def test_every_promise_has_a_test_that_exists(path: str, test: str) -> None:
    assert test in functions(path)


def test_every_row_names_one_test() -> None:
    assert len(ROWS) == len(NAMED) == len(set(NAMED)) > 40


@pytest.mark.parametrize("path", ["tests/bench/experiments/test_faults.py"])
def test_no_fault_test_is_missing(path: str) -> None:
    there = {name for name in functions(path) if name.startswith("test_")}
    assert there == {test for named, test in NAMED if named == path}
