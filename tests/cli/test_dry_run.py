"""The command that --dry-run prints does the same in any folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.dry_run import store_option
from bench.cli.main import app
from bench.results.store import Store
from tests.pictures import write_folder

SMALL = ["--image-size", "32", "--device", "cpu"]


@pytest.mark.parametrize("where", ["here/bench.db", "sqlite:///here/bench.db"])
def test_a_printed_command_does_the_same_in_another_folder(
    where: str, runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    classes = sorted(each.name for each in (write_folder(tmp_path / "here" / "pictures", 4, 2) / "photo").iterdir())
    (tmp_path / "here" / "unseen.txt").write_text("\n".join(classes[:2]))
    settings = ["--set", "root=here/pictures", "--set", "unseen=@here/unseen.txt"]
    places = ["--store", where, "--data-root", "here", "--cache-dir", "here/cache"]
    call = [*places, "run", "-m", "imagenet", "-d", "folder", *settings, *SMALL]
    printed = runner.invoke(app, [*call, "--dry-run", "--format", "json"])
    assert printed.exit_code == 0, printed.output
    (row,) = json.loads(printed.stdout)["runs"]
    program, *words = row["command"]
    assert program == "bench"
    monkeypatch.setenv("BENCH_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.chdir("elsewhere")
    found = runner.invoke(app, words)
    assert found.exit_code == 0, found.output
    assert not list(Path().iterdir())
    assert not (tmp_path / "other").exists()
    assert (tmp_path / "here" / "cache").exists()
    store = Store(str(tmp_path / "here" / "bench.db"))
    assert [(run.status, run.key[:16]) for run in store.runs()] == [("done", row["key"])]
    store.close()


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("/somewhere/bench.db", True),
        ("postgresql://me@host/base", True),
        ("postgresql://me:secret@host/base", False),
        ("postgresql://host/base?password=secret", False),
        ("postgresql://me:sec@ret@host/base", False),
        ("postgresql://me:secret@host:port/base", False),
    ],
)
def test_a_password_is_left_out(where: str, kept: bool) -> None:
    assert store_option(where) == (["--store", where] if kept else [])
