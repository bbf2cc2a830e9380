"""What tests of queries begin with."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bench.cli.main import app

SMOKE = ["--limit", "3", "--image-size", "32"]


@pytest.fixture
def stored(runner: CliRunner) -> CliRunner:
    """A database with one run of an untrained network, number 1."""
    ran = runner.invoke(app, ["run", "-m", "imagenet", *SMOKE])
    assert ran.exit_code == 0, ran.stderr
    return runner
