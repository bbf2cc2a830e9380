"""Real processes of the program for fault tests, forked from one server that has imported it: they start at once.

A fault is planted in the child alone: at the n-th call of a function the process sends itself a signal, so that it dies
(or is stopped) at exactly that point.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import resource
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from torch.distributed import TCPStore

SECONDS = 600.0  # a child that takes longer hangs

ROOT = Path(__file__).resolve().parents[1]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


@dataclass(frozen=True)
class Fault:
    """At the ``call``-th call of ``at`` (``module:name.name``), before it runs, the process gets ``number``."""

    at: str
    call: int
    number: int = signal.SIGKILL


@dataclass(frozen=True)
class Changed:
    """Calls of ``at`` (``module:name``) give ``result``."""

    at: str
    result: Any


@dataclass(frozen=True)
class Constant:
    """The name ``at`` (``module:name``) is ``value``."""

    at: str
    value: Any


@dataclass(frozen=True)
class Busy:
    """The ``call``-th call of ``at`` (``module:name.name``) takes ``seconds`` more, or until a file holds something."""

    at: str
    call: int
    seconds: float
    file: Path = Path(os.devnull)


@dataclass(frozen=True)
class Fails:
    """The ``call``-th call of ``at`` (``module:name.name``) raises ``error``."""

    at: str
    call: int
    error: Exception


Planted = Fault | Changed | Constant | Busy | Fails


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal that killed it) and what it printed."""

    code: int | None
    output: str


def start(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process of ``target``, running."""
    with contextlib.chdir(ROOT):  # the server imports ``tests`` from where it starts
        forkserver.ensure_running()
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def bench(folder: Path, *words: str, faults: Sequence[Planted] = (), file_limit: int | None = None) -> Ended:
    """``bench WORDS`` in ``folder``, with its cache there; a dead process's claim is stale at once.

    ``file_limit`` is the size in bytes beyond which no file grows, as on a full disk.
    """
    return ended(start(program, folder, words, tuple(faults), file_limit), folder)


def start_bench(folder: Path, *words: str) -> BaseProcess:
    """``bench WORDS`` as ``bench`` runs it, still running; ``ended`` waits for it."""
    return start(program, folder, words)


def team(
    folder: Path, *words: Sequence[str], faults: Mapping[int, Sequence[Planted]] | None = None, agent: bool = False
) -> list[Ended]:
    """``bench WORDS`` as the processes of one run, the words of each by rank, each in a folder of its own.

    They find each other as those that torchrun starts. With ``agent`` this process does what torchrun's agent does: it
    keeps the store by which they meet, and once one of them fails the others get SIGTERM.
    """
    board = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if agent else None
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1] if board is None else board.port
    processes, folders = [], []
    for rank, own in enumerate(words):
        folders.append(folder / f"rank{rank}")
        folders[-1].mkdir(exist_ok=True)
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(len(words))}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        place |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"} if agent else {}
        processes.append(start(program, folders[-1], own, tuple((faults or {}).get(rank, ())), None, place))
    if agent:
        while any(each.is_alive() for each in processes) and not any(each.exitcode for each in processes):
            time.sleep(0.1)
        for each in processes:
            if each.is_alive():
                each.terminate()
    return [ended(process, own) for process, own in zip(processes, folders, strict=True)]


def run_python(folder: Path, *words: str, environment: Mapping[str, str]) -> Ended:
    """``python WORDS`` in ``folder``; errors are in its ``error.txt``."""
    return ended(start(_python, folder, words, environment), folder)


def become_python(words: Sequence[str]) -> None:
    """What ``python WORDS`` does after its imports: a module or a file, as the program."""
    first, *rest = (word for word in words if word != "-P")
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def run_pytest(folder: Path, packages: Path | None = None) -> Ended:
    """Run the tests in ``folder`` with warnings as errors; ``packages`` is a folder of installed packages."""
    return ended(start(_pytest, folder, packages), folder)


def ended(process: BaseProcess, folder: Path) -> Ended:
    """Wait for a process of ``program``."""
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return Ended(process.exitcode, (folder / "output.txt").read_text())


def program(
    folder: Path,
    words: Sequence[str],
    faults: Sequence[Planted] = (),
    file_limit: int | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """``bench WORDS`` in this process, with its output in ``output.txt``."""
    os.chdir(folder)
    os.environ.update({"NO_COLOR": "1", "COLUMNS": "200", "BENCH_CACHE_DIR": str(folder / "cache"), **environment})
    importlib.import_module("bench.results.store").STALE_SECONDS = 0.0  # type: ignore[attr-defined]
    for fault in faults:
        module, _, name = fault.at.partition(":")
        if isinstance(fault, Changed):
            setattr(importlib.import_module(module), name, lambda found=fault.result: found)
        elif isinstance(fault, Constant):
            setattr(importlib.import_module(module), name, fault.value)
        else:
            _plant(fault)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path("output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        if file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            importlib.import_module("bench.cli.main").main(words)


def _python(folder: Path, words: Sequence[str], environment: Mapping[str, str]) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    for number, name in ((1, "output.txt"), (2, "error.txt")):
        with Path(name).open("w") as file:
            os.dup2(file.fileno(), number)
    become_python(words)


def _pytest(folder: Path, packages: Path | None) -> None:
    gc.unfreeze()  # Hypothesis looks for references
    os.chdir(folder)
    sys.path[:0] = [str(folder), *([str(packages)] if packages else [])]
    os.environ["BENCH_CACHE_DIR"] = str(folder / "cache")
    with Path("output.txt").open("w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.exit(pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", "--assert=plain"]))


def _plant(fault: Fault | Busy | Fails) -> None:
    module, _, path = fault.at.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = getattr(owner, name)
    calls = 0

    def planted(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == fault.call:
            if isinstance(fault, Fails):
                raise fault.error
            if isinstance(fault, Busy):
                end = time.monotonic() + fault.seconds
                while time.monotonic() < end and not (fault.file.exists() and fault.file.stat().st_size):
                    time.sleep(0.05)
            else:
                os.kill(os.getpid(), fault.number)
        return original(*arguments, **keywords)

    setattr(owner, name, planted)
