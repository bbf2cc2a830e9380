"""`bench cache`: sizes by kind, and cleaning by age that keeps what cannot be computed again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app

DAY = 86_400


@pytest.fixture
def cache(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An old and a new network, old shards of embeddings, an old outcome."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("BENCH_CACHE_DIR", str(folder))
    for name, days in (("networks/old", 40), ("networks/new", 1), ("embeddings/k/a.npy", 40), ("outcomes/s/run", 40)):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(500_000))
        os.utime(file, (time.time() - days * DAY,) * 2)
    return folder


def test_sizes_by_kind(cache: Path, runner: CliRunner) -> None:
    for words in (["cache", "--format", "json"], ["cache", "size", "--format", "json"]):
        found = runner.invoke(app, words)
        assert found.exit_code == 0, found.stderr
        assert [list(row.values()) for row in json.loads(found.stdout)["kinds"]] == [
            ["embeddings", 1, 0.5, True],
            ["networks", 2, 1.0, True],
            ["outcomes", 1, 0.5, False],
        ]
    assert "networks\t2\t1.0\tyes" in runner.invoke(app, ["cache"]).stdout


@pytest.mark.parametrize("words", [["cache"], ["cache", "size"]])
def test_the_format_may_come_from_the_environment_or_a_file(
    cache: Path, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[cache.size]\nformat = "json"\n')
    assert len(json.loads(runner.invoke(app, [*words, "--config", str(file)]).stdout)["kinds"]) == 3
    monkeypatch.setenv("BENCH_CACHE_SIZE_FORMAT", "json")
    assert len(json.loads(runner.invoke(app, words).stdout)["kinds"]) == 3


def test_old_entries_are_deleted_but_for_results(cache: Path, runner: CliRunner) -> None:
    found = runner.invoke(app, ["cache", "clean", "--older-than", "30"])
    assert (found.exit_code, found.stdout) == (0, "deleted 2 entries, 1.0 MB\n"), found.stderr
    assert sorted(str(each.relative_to(cache)) for each in cache.rglob("*") if each.is_file()) == [
        "networks/new",
        "outcomes/s/run",
    ]
    assert not list((cache / "embeddings").iterdir())


def test_without_a_cache_there_is_nothing(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE_DIR", "none")
    assert json.loads(runner.invoke(app, ["cache", "--format", "json"]).stdout)["kinds"] == []
    assert runner.invoke(app, ["cache", "clean", "--older-than", "1"]).stdout == "deleted 0 entries, 0.0 MB\n"
    assert runner.invoke(app, ["cache", "clean"]).exit_code == 2
    assert not Path("none").exists()
