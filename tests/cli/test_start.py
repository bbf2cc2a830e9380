"""The program as a process: how it starts, what it imports, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import __version__
from bench.results.store import Store
from tests.processes import Fault, bench, ended, start_bench

BENCH = [sys.executable, "-m", "bench"]


def test_help_needs_no_slow_package() -> None:
    slow = ("torch", "numpy", "sqlalchemy", "matplotlib", "timm", "numba")
    code = f"""
import sys
from bench.cli.main import main
try:
    main(["--help"])
finally:
    loaded = [name for name in {slow} if name in sys.modules]
    assert not loaded, loaded
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "bench run" in result.stdout


def test_version() -> None:
    result = subprocess.run([*BENCH, "--version"], capture_output=True, text=True, check=True)
    assert result.stdout == f"bench {__version__}\n"


def test_packages_of_the_users_own_with_our_old_names_are_left_alone(tmp_path: Path) -> None:
    for name in ("datasets", "methods", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    result = subprocess.run(
        [*BENCH, "list", "methods"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,  # python -m puts the current folder first on the path
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr
    assert "ours" in result.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_with_its_code_and_keeps_what_was_finished(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    call = ["run", "-m", "imagenet", "-m", "ours", "--limit", "1", "--image-size", "32", "--epochs", "5000"]
    process, output = start_bench(tmp_path, *call), tmp_path / "output.txt"
    while "preparing" not in (output.read_text() if output.exists() else ""):  # the second run's training begins
        assert process.is_alive()
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(process.pid, number)
    done = ended(process, tmp_path)
    assert done.code == code, done.output
    assert "Interrupted; what was finished is stored." in done.output
    store = Store(str(tmp_path / "bench.db"))
    runs = store.runs()
    store.close()
    assert [(run.method, run.status) for run in runs] == [("imagenet", "done"), ("ours", "interrupted")]


@pytest.mark.parametrize("moment", ["spare_imports", "ignore_signals"])
def test_a_signal_before_or_after_the_command_is_no_traceback(moment: str, tmp_path: Path) -> None:
    done = bench(tmp_path, "list", "splits", faults=[Fault(f"bench.cli.main:{moment}", 1, signal.SIGTERM)])
    assert done.code == 143
    assert "Traceback" not in done.output
