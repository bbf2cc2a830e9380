"""Values from options, environment and files: `~` is the home folder, and nothing is given twice unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.results.store import Store
from tests.pictures import write_folder

RUN = ["run", "-m", "hog", "-d", "folder", "--image-size", "32", "--format", "json"]


@pytest.fixture
def home(runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a dataset of the user's own."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write_folder(tmp_path / "home" / "pictures", classes=2, images=1)
    return tmp_path / "home"


def given_by(way: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A call that names ``~`` as store, cache and root in one way."""
    if way == "file":
        text = 'store = "~/runs.db"\ncache-dir = "~/cache"\n[run]\nset = ["root=~/pictures", "unseen=all"]\n'
        Path("bench.toml").write_text(text, encoding="utf-8-sig")  # with a byte-order mark, as some editors write it
        return RUN
    if way == "environment":
        monkeypatch.setenv("BENCH_STORE", "~/runs.db")
        monkeypatch.setenv("BENCH_CACHE_DIR", "~/cache")
        return [*RUN, "--set", "root=~/pictures", "--set", "unseen=all"]
    places = ["--store=~/runs.db", "--cache-dir", "~/cache"]  # a shell expands neither
    return [*places, *RUN, "--set", "root=~/pictures", "--set", "unseen=all"]


@pytest.mark.parametrize("way", ["file", "environment", "options"])
def test_a_tilde_is_the_home_folder(
    way: str, home: Path, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "file":
        monkeypatch.delenv("BENCH_CACHE_DIR")
    found = runner.invoke(app, given_by(way, monkeypatch))
    assert found.exit_code == 0, found.stderr
    assert sorted(each.name for each in home.iterdir()) == ["cache", "pictures", "runs.db"]
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["--set", "lr=1", "--set", "lr=1"], "Setting 'lr'"),
        (["--lr", "1", "--set", "lr=2"], "Setting 'lr'"),
        (["--image-size", "32", "--set", "image-size=64"], "Setting 'image_size'"),
        (["--epochs", "1", "--epochs=2"], "Option --epochs"),
        (["--store", "a.db", "--store", "b.db"], "Option --store"),
        (["--device", "cpu", "--device", "cpu"], "Option --device"),
    ],
)
def test_what_is_given_twice_is_refused(words: list[str], key: str, runner: CliRunner) -> None:
    found = runner.invoke(app, ["run", "-m", "softmax", "--dry-run", *words])
    assert (found.exit_code, key in found.stderr) == (2, True), found.output
    assert "given" in found.stderr


def test_a_setting_of_a_dataset_or_a_file_is_refused_twice_too(home: Path, runner: CliRunner) -> None:
    call = ["data", "path", "folder", "--set", "root=~/pictures", "--set", "root=~"]
    assert "Setting 'root' is given twice" in runner.invoke(app, call).stderr
    Path("bench.toml").write_text("[run]\nimage-size = 32\nimage_size = 64\n")
    twice = runner.invoke(app, RUN)
    assert (twice.exit_code, "sets 'image_size' twice" in twice.stderr) == (2, True)


def test_a_run_keeps_what_a_file_and_the_environment_gave(
    home: Path, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("bench.toml").write_text(f'[run]\nset = ["root={home}/pictures", "unseen=all"]\nworkers = 1\n')
    monkeypatch.setenv("BENCH_RUN_SEED", "7")
    assert runner.invoke(app, RUN).exit_code == 0
    store = Store("bench.db")
    (run,) = store.runs()
    store.close()
    command, _, given = run.environment["command"].partition(" # and by file or environment: ")
    assert command
    assert sorted(given.split()) == ["--seed=7", "--set=root=.../pictures", "--set=unseen=all", "--workers=1"]


def test_what_may_be_repeated_still_may(runner: CliRunner) -> None:
    call = ["run", "-m", "hog", "-m", "imagenet", "--seed", "1", "--seed", "2", "--limit", "1", "--dry-run"]
    runs: list[Any] = json.loads(runner.invoke(app, [*call, "--format", "json"]).stdout)["runs"]
    assert len(runs) == 4


def test_a_file_may_set_the_database_or_options_of_the_command_store(runner: CliRunner) -> None:
    assert runner.invoke(app, ["run", "-m", "hog", "--limit", "1", "--store", "a.db"]).exit_code == 0
    Path("bench.toml").write_text('store = "all.db"\n')
    merged = runner.invoke(app, ["store", "merge", "a.db"])
    assert (merged.exit_code, merged.stdout.startswith("{")) == (0, False), merged.output
    assert runner.invoke(app, ["store", "backup", "copy.db"]).exit_code == 0
    Path("bench.toml").write_text('[store.merge]\nformat = "json"\n')
    merged = runner.invoke(app, ["store", "merge", "a.db"])
    assert (merged.exit_code, merged.stdout.startswith("{")) == (0, True), merged.output
    assert {each.name for each in Path().glob("*.db")} == {"a.db", "all.db", "bench.db", "copy.db"}
