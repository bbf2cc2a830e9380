"""Commands that read a results database change no byte of it, also where nothing can be written."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.results.reading import existing
from bench.results.store import Store
from tests.bench.results.test_migrations import FIXTURES
from tests.bench.results.test_store import IDENTITY, SCORES, finish
from tests.processes import start

ROOT = Path(__file__).parents[3]
FACTS = {**IDENTITY, "configuration": {"run": {}, "method": {}}}
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # prctl(2), capabilities(7)


def write_store(path: Path) -> Path:
    store = Store(str(path))
    finish(store, store.begin(FACTS), SCORES, {})
    store.close()
    return path


def kill_writer(path: Path) -> Path:
    """A database whose writer was killed: its run is in the write-ahead log alone."""
    process = start(_write_and_die, path)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-wal").stat().st_size
    return path


def _write_and_die(path: Path) -> None:
    store = Store(str(path))
    finish(store, store.begin(FACTS), SCORES, {})
    os.kill(os.getpid(), signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the index of the log, which readers share."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.endswith("-shm")}


def obey_permissions() -> None:
    """Root may write anywhere, until it drops this capability."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def call(*commands: Sequence[str]) -> list[str]:
    """The outputs of some commands of ``bench``, which must succeed."""
    results = [CliRunner().invoke(app, words) for words in commands]
    assert [each.exit_code for each in results] == [0] * len(results), [each.output for each in results]
    return [each.stdout for each in results]


COMMANDS = """
import json, sys
from typer.testing import CliRunner
from bench.cli.main import app
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    print(done.stdout)
"""


@pytest.mark.parametrize("kind", ["closed", "older", "with a killed writer"])
def test_a_store_in_a_read_only_folder_is_listed_reported_merged_and_copied(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    path = folder / "a?b.db"
    if kind == "older":
        shutil.copy(FIXTURES / "store-v2.db", path)
    else:
        (write_store if kind == "closed" else kill_writer)(path)
    before = contents(folder)
    for each in (*folder.iterdir(), folder):
        each.chmod(0o555 if each.is_dir() else 0o444)
    commands = [["list", "runs"], ["report", "--include-smoke"], ["store", "backup", "copy.db"]]
    commands = [[*words, "--store", str(path)] for words in commands]
    commands += [["store", "merge", str(path), "--store", "all.db"]]
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=tmp_path,
        env={**os.environ, "BENCH_CACHE_DIR": str(tmp_path / "cache")},
        preexec_fn=obey_permissions,
        capture_output=True,
        text=True,
        check=False,
    )
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert ("theirs" if kind == "older" else "ours") in done.stdout
    assert contents(folder) == before


@pytest.mark.parametrize("write", [write_store, kill_writer])
def test_a_command_that_reads_changes_no_byte(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path / "bench.db")
    before = contents(tmp_path)
    for words in (["list", "runs"], ["show", "1"], ["report"], ["doctor"]):
        call([*words, "--store", str(path)])
        assert contents(tmp_path) == before
    store = existing(str(path))
    assert store is not None
    assert [run.status for run in store.runs()] == ["done"]
    store.close()


def test_the_committed_results_stay_as_they_are() -> None:
    path = ROOT / "docs/results/emoji.db"
    before = path.read_bytes()
    call(["list", "runs", "--store", str(path)])
    assert path.read_bytes() == before
