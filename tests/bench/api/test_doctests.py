from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["evaluation", "comparison", "splits"])
def test_the_examples_of_docstrings(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"bench.api.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
