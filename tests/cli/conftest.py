"""Fixtures of query tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app

SMOKE = ["--limit", "3", "--image-size", "32"]


@pytest.fixture(scope="session")
def database(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with one run of an untrained network, number 1."""
    path = tmp_path_factory.mktemp("stored") / "bench.db"
    places = ["--store", str(path), "--cache-dir", str(shared_cache)]
    ran = CliRunner().invoke(app, [*places, "run", "-m", "imagenet", *SMOKE])
    assert ran.exit_code == 0, ran.stderr
    return path


@pytest.fixture
def stored(runner: CliRunner, database: Path) -> CliRunner:
    """The command line in a folder with a copy of ``database``."""
    shutil.copy(database, "bench.db")
    return runner
