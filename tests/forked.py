"""Calls of the program in an environment of their own, each a process that is forked from one with its imports done."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

SERVER = """
import gc, json, os, runpy, sys, tempfile
gc.disable()
runpy.run_path(sys.argv[1])  # loads what takes seconds, once for all
import bench.cli.machine_check
from bench.cli.main import main
gc.enable()
gc.freeze()
for line in sys.stdin:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as error:
        words, folder = json.loads(line)
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            os.dup2(out.fileno(), 1), os.dup2(error.fileno(), 2)
            sys.exit(main(words))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), error.seek(0)
        print(json.dumps([code, out.read(), error.read()]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """How a call of the program ended."""

    returncode: int
    stdout: str
    stderr: str


class Bench(Protocol):
    """``bench(*words)``, in another folder where that is named."""

    def __call__(self, *words: str, cwd: Path | None = None) -> Done: ...


@contextmanager
def forked(environment: Mapping[str, str], folder: Path) -> Iterator[Bench]:
    """Calls with these variables in this folder; the process behind them ends with the block."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(Path(__file__).with_name("preloaded.py"))],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    to, back = server.stdin, server.stdout

    def call(*words: str, cwd: Path | None = None) -> Done:
        print(json.dumps([words, str(cwd or folder)]), file=to, flush=True)
        return Done(*json.loads(back.readline()))

    try:
        yield call
    finally:
        to.close()
        back.close()
        server.wait(60)
