"""The ways in which a documented command is tried: within this process, as a process, or by reading its words alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from typer.testing import CliRunner, Result

from bench.cli.main import app
from tests.documented import ROOT
from tests.documented_folder import Documented

Way = Callable[[Documented, list[str]], Result | subprocess.CompletedProcess[str]]
PROGRAMS = Path(sys.executable).parent
READS_ALONE = """
import argparse, runpy, sys
read = argparse.ArgumentParser.parse_args
argparse.ArgumentParser.parse_args = lambda *words, **more: (read(*words, **more), sys.exit(0))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


def inside(folder: Documented, words: list[str]) -> Result:
    """A command of ours, within this process."""
    return CliRunner().invoke(app, words[1:])


def parsed(folder: Documented, words: list[str]) -> Result:
    """The words of a command of ours are read and nothing is done: help comes after an unknown option is refused."""
    return inside(folder, [*words, "--help"])


def process(
    folder: Documented, words: list[str], *, cwd: str = "", own: bool = False
) -> subprocess.CompletedProcess[str]:
    """A program of this environment in the folder, or with ``own`` of the environment that the folder has."""
    python = folder.python() if own else PROGRAMS / "python"
    name = words[0].removeprefix(".venv/bin/")
    program = [python] if name == "python" else [python, "-m", name] if name in ("pip", "bench") else [PROGRAMS / name]
    return _run([*program, *words[1:]], folder.path / cwd)


def shell(folder: Documented, words: list[str]) -> subprocess.CompletedProcess[str]:
    """A line that changes the reader's shell, which finds the program by its name then."""
    line = " ".join(words).replace(".venv", sys.prefix)
    return _run(["sh", "-c", f"{line} && test $(command -v bench) = {PROGRAMS}/bench"], folder.path)


def makefile(folder: Documented, words: list[str]) -> subprocess.CompletedProcess[str]:
    """What make would do."""
    return _run([*words, "--dry-run"], ROOT)


def arguments(folder: Documented, words: list[str]) -> subprocess.CompletedProcess[str]:
    """The words of a script of ours (``python -m NAME ...``) are read by it and nothing is done."""
    return _run([PROGRAMS / "python", "-c", READS_ALONE, *words[2:]], ROOT)


def _run(words: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    quiet = {"OMP_NUM_THREADS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(words, cwd=cwd, env={**os.environ, **quiet}, capture_output=True, text=True, check=False)
